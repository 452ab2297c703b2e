// The quantizers on odd shapes and hostile rows, under the sanitizers: everything finite, rows of zeros exactly zero, constants kept, codes in range.
#include <algorithm>

#include "common/thread_pool.h"
#include "numerics/dequantize.h"
#include "numerics/inverse_cholesky.h"
#include "numerics/layer_errors.h"
#include "numerics/structured_binarization.h"
#include "numerics/uniform_grid.h"
#include "numerics_inputs.h"

using namespace dbell::numerics;
using namespace dbell::numerics_test;

namespace {

constexpr Compensation compensations[] = {Compensation::none, Compensation::reference, Compensation::block,
                                          Compensation::column};

struct Shape {
  std::size_t rows, columns;
};

void check_error_falls(const std::vector<float>& weight, const std::vector<float>& quantized,
                       const std::vector<double>& hessian, Shape shape) {
  const LayerErrors errors =
      layer_errors(weight.data(), quantized.data(), hessian.data(), shape.rows, shape.columns);
  CHECK(std::isfinite(errors.weighted_error) && errors.weighted_error >= 0);
  CHECK(errors.squared_error < errors.squared_norm);
}

void random_weights(Shape shape, std::size_t block_size) {
  const std::vector<float> weight = random_weight(shape.rows, shape.columns, shape.columns);
  const std::vector<double> hessian = random_hessian(shape.columns, 2 * shape.columns, 3);
  const InverseCholesky inverse = inverse_cholesky(hessian.data(), shape.columns, 0.01, 1);
  std::vector<float> quantized(weight.size());
  for (const Compensation compensation : compensations) {
    for (const int bits : {1, 2, 3, 8}) {
      const UniformGrid grid = quantize_uniform(weight.data(), shape.rows, shape.columns, inverse.factor.data(), bits,
                                                compensation, block_size);
      CHECK(*std::max_element(grid.codes.begin(), grid.codes.end()) < (1 << bits));
      dequantize_grid(grid.codes.data(), grid.scales.data(), grid.offsets.data(), 1 << bits, shape.rows, shape.columns,
                      block_size, quantized.data());
      check_error_falls(weight, quantized, hessian, shape);
    }
    for (const SearchOn search_on : {SearchOn::importance, SearchOn::weight, SearchOn::weighted_weight})
      for (const bool over_zeros : {false, true}) {
        StructuredOptions options;
        options.search_on = search_on;
        options.percentiles_over_zeros = over_zeros;
        options.compensation = compensation;
        options.block_size = block_size;
        const StructuredBinarization result =
            quantize_structured(weight.data(), shape.rows, shape.columns, inverse.factor.data(), options);
        CHECK(*std::max_element(result.codes.begin(), result.codes.end()) < 4);
        dequantize_structured(result.codes.data(), result.levels.data(), result.salient_columns.data(), shape.rows,
                              shape.columns, block_size, quantized.data());
        check_error_falls(weight, quantized, hessian, shape);
      }
  }
}

void hostile(std::size_t width) {
  const std::vector<float> weight = hostile_rows(width);
  const std::size_t rows = weight.size() / width;
  std::vector<float> quantized(weight.size());
  const auto check = [&] {
    for (const float value : quantized) CHECK(std::isfinite(value));
    for (std::size_t k = 0; k < 2 * width; ++k) CHECK(quantized[k] == 0);
    for (std::size_t k = 2 * width; k < 3 * width; ++k) CHECK(std::fabs(quantized[k] - 5) < 0.005f);
  };
  for (const int bits : {1, 2, 3, 4, 8}) {
    const UniformGrid grid =
        quantize_uniform(weight.data(), rows, width, nullptr, bits, Compensation::column, 128);
    dequantize_grid(grid.codes.data(), grid.scales.data(), grid.offsets.data(), 1 << bits, rows, width, 128,
                    quantized.data());
    check();
    CHECK(grid.saturated > 0);
  }
  for (const SearchOn search_on : {SearchOn::importance, SearchOn::weight, SearchOn::weighted_weight}) {
    StructuredOptions options;
    options.search_on = search_on;
    const StructuredBinarization result = quantize_structured(weight.data(), rows, width, nullptr, options);
    dequantize_structured(result.codes.data(), result.levels.data(), result.salient_columns.data(), rows, width, 128,
                          quantized.data());
    check();
  }
}

}  // namespace

int main() {
  for (const int threads : {1, 3}) {
    dbell::set_thread_count(threads);
    for (const Shape shape : {Shape{3, 43}, Shape{17, 129}, Shape{1, 130}, Shape{33, 200}}) random_weights(shape, 128);
    random_weights({5, 70}, 16);
    random_weights({5, 70}, 300);
    for (const std::size_t width : {1u, 2u, 43u, 128u, 130u}) hostile(width);
  }
  return 0;
}
