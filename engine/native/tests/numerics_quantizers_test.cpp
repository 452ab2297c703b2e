// The quantizers on odd shapes and hostile rows, under the sanitizers: everything finite, rows of zeros exactly zero, constants kept, codes in range.
#include <algorithm>

#include "common/table_packing.h"
#include "common/thread_pool.h"
#include "numerics/dequantize.h"
#include "numerics/inverse_cholesky.h"
#include "numerics/layer_errors.h"
#include "numerics/structured_binarization.h"
#include "numerics/table_quantization.h"
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

/// Tables of 6 and 4 bits: fitted ones are no worse than rounded ones, and pack and unpack to what the codes say.
void tables(Shape shape) {
  const std::vector<float> weight = random_weight(shape.rows, shape.columns, 7 + shape.columns);
  std::vector<double> hessian = random_hessian(shape.columns, 2 * shape.columns, 3);
  double trace = 0;
  for (std::size_t j = 0; j < shape.columns; ++j) trace += hessian[j * shape.columns + j];
  for (double& value : hessian) value *= static_cast<double>(shape.columns) / trace;
  for (std::size_t j = 0; j < shape.columns; ++j) hessian[j * shape.columns + j] += 0.1;
  const InverseCholesky inverse = inverse_cholesky(hessian.data(), shape.columns, 0, 1);
  const std::vector<float> metric(hessian.begin(), hessian.end());
  const std::size_t groups = (shape.columns + 31) / 32;
  for (const int bits : {4, 6}) {
    const QuantizedTable rounded =
        quantize_table(weight.data(), shape.rows, shape.columns, bits, metric.data(), nullptr, 0);
    const QuantizedTable fitted =
        quantize_table(weight.data(), shape.rows, shape.columns, bits, metric.data(), inverse.factor.data(), 3);
    CHECK(fitted.first_overflow == weight.size() && fitted.saturated == 0);
    CHECK(std::isfinite(fitted.errors.metric_error) && fitted.errors.metric_norm > 0);
    CHECK(fitted.errors.metric_error <= rounded.errors.metric_error * 1.0001);
    CHECK(*std::max_element(fitted.fields.begin(), fitted.fields.end()) < (1 << bits));
    std::vector<std::uint8_t> lines(dbell::packed_table_bytes(shape.rows, shape.columns, bits));
    std::vector<std::uint16_t> scales((shape.rows + 15) / 16 * groups * 16);
    dbell::pack_table(fitted.fields.data(), shape.rows, shape.columns, bits, lines.data());
    dbell::pack_table_scales(fitted.scales.data(), shape.rows, groups, scales.data());
    std::size_t row = 0, column = 0;
    CHECK(!dbell::find_table_padding(lines.data(), shape.rows, shape.columns, bits, &row, &column));
    for (std::size_t i = 0; i < shape.rows; ++i)
      for (std::size_t j = 0; j < shape.columns; ++j)
        CHECK(dbell::table_field(lines.data(), groups, bits, i, j) == fitted.fields[i * shape.columns + j]);
    std::vector<float> values(weight.size());
    dbell::dequantize_packed_table(lines.data(), scales.data(), shape.rows, shape.columns, bits, values.data());
    check_error_falls(weight, values, hessian, shape);
  }
}

void hostile_table(std::size_t width) {
  const std::vector<float> weight = hostile_rows(width);
  for (const int bits : {4, 6}) {
    const QuantizedTable table =
        quantize_table(weight.data(), weight.size() / width, width, bits, nullptr, nullptr, 0);
    CHECK(table.first_overflow < weight.size() && table.fields.empty());
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
    for (const Shape shape : {Shape{3, 43}, Shape{70, 129}, Shape{1, 1}, Shape{17, 64}}) tables(shape);
    for (const std::size_t width : {1u, 43u, 130u}) hostile_table(width);
  }
  return 0;
}
