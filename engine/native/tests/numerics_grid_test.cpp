// Grid fits on odd shapes, hostile rows and broken Hessians, under the sanitizers: everything finite and in range, losses fall, rows of zeros exactly zero.
#include <algorithm>
#include <stdexcept>

#include "common/half.h"
#include "common/thread_pool.h"
#include "numerics/grid_fit.h"
#include "numerics/solve.h"
#include "numerics_inputs.h"

using namespace dbell::numerics;
using namespace dbell::numerics_test;

namespace {

void check_fit(const GridFit& fit, const GridFitOptions& options, std::size_t rows, std::size_t columns) {
  const std::size_t blocks = (columns + options.block_size - 1) / options.block_size;
  CHECK(fit.codes.size() == rows * columns && fit.scales.size() == rows * blocks);
  CHECK(fit.column_scale.size() == columns);
  CHECK(*std::max_element(fit.codes.begin(), fit.codes.end()) < options.levels);
  for (const float scale : fit.column_scale) CHECK(std::isfinite(scale) && scale >= 0);
  for (const std::uint16_t scale : fit.scales) {
    const float value = dbell::half_to_float(scale);
    CHECK(std::isfinite(value) && value >= 0);
  }
  CHECK(fit.residual_columns.size() == options.residual_columns);
  CHECK(fit.residual_codes.size() == rows * options.residual_columns);
  for (std::size_t k = 0; k < fit.residual_columns.size(); ++k) {
    CHECK(fit.residual_columns[k] >= 0 && static_cast<std::size_t>(fit.residual_columns[k]) < columns);
    CHECK(k == 0 || fit.residual_columns[k - 1] < fit.residual_columns[k]);
  }
  for (const std::uint8_t code : fit.residual_codes) CHECK(code < 2);
  CHECK(std::isfinite(fit.loss) && fit.losses.size() == static_cast<std::size_t>(options.rounds));
}

void random_layers(std::size_t rows, std::size_t columns, std::size_t block_size) {
  const std::vector<float> target = random_weight(rows, columns, columns);
  const std::vector<double> hessian = random_hessian(columns, 2 * columns, 3);
  const std::vector<float> inputs = random_weight(40, columns, 5), weights(40, 0.5f);
  for (const int levels : {2, 3, 4, 8, 16})
    for (const bool column_scale : {false, true})
      for (const std::size_t residual_columns : {std::size_t{0}, (columns + 4) / 5}) {
        GridFitOptions options;
        options.levels = levels;
        options.rounds = 2;
        options.block_size = block_size;
        options.column_scale = column_scale;
        options.residual_columns = residual_columns;
        const GridFit fit = fit_grid(target.data(), hessian.data(), rows, columns, options);
        check_fit(fit, options, rows, columns);
          CHECK(fit.losses[0] <= fit.start_loss * 1.0001 && fit.losses[1] <= fit.losses[0] * 1.0001);
        options.activations = {inputs.data(), weights.data(), 40, 6, 0};
        for (const std::size_t columns_per_step : {std::size_t{0}, block_size, std::size_t{20}}) {
          options.activations.columns_per_step = columns_per_step;
          check_fit(fit_grid(target.data(), hessian.data(), rows, columns, options), options, rows, columns);
        }
      }
}

void hostile(std::size_t width) {
  std::vector<float> target = hostile_rows(width);
  // The edge of float32 is refused (below).
  target.resize(target.size() - width);
  const std::size_t rows = target.size() / width;
  std::vector<double> dead = random_hessian(width, 3, 11);
  for (std::size_t j = 0; j < width; ++j) dead[j] = dead[j * width] = 0;
  for (const std::vector<double>& hessian : {dead, std::vector<double>(width * width)})
    for (const int levels : {2, 3, 16})
      for (const double damping : {0.0, 0.01}) {
        GridFitOptions options;
        options.levels = levels;
        options.damping = damping;
        options.residual_columns = width / 2;
        const GridFit fit = fit_grid(target.data(), hessian.data(), rows, width, options);
        check_fit(fit, options, rows, width);
        const std::size_t blocks = fit.scales.size() / rows;
        for (std::size_t k = 0; k < 2 * blocks; ++k) CHECK(fit.scales[k] == 0);
      }
}

template <class Body>
void refused(Body body) {
  bool thrown = false;
  try {
    body();
  } catch (const std::invalid_argument&) {
    thrown = true;
  }
  CHECK(thrown);
}

void broken() {
  const std::vector<float> target = random_weight(3, 4, 1);
  const std::vector<double> hessian = random_hessian(4, 9, 2);
  GridFitOptions options;
  options.levels = 5;
  refused([&] { fit_grid(target.data(), hessian.data(), 3, 4, options); });
  options.levels = 4;
  for (const float bad : {3e38f, std::nanf("")}) {
    std::vector<float> other = target;
    other[7] = bad;
    refused([&] { fit_grid(other.data(), hessian.data(), 3, 4, options); });
  }
  std::vector<double> negative = hessian;
  negative[5] = -1;
  refused([&] { fit_grid(target.data(), negative.data(), 3, 4, options); });
  const std::vector<float> inputs(4, 1.0f), weights(1, -1.0f);
  options.activations = {inputs.data(), weights.data(), 1, 8, 0};
  refused([&] { fit_grid(target.data(), hessian.data(), 3, 4, options); });
}

void targets(std::size_t rows, std::size_t columns) {
  const std::vector<float> weight = random_weight(rows, columns, 1), product = random_weight(rows, columns, 2);
  // Fewer tokens than columns: singular without damping.
  for (const double damping : {0.0, 0.05}) {
    const std::vector<double> hessian = random_hessian(columns, columns / 2 + 1, 3);
    const SolvedTargets solved =
        solve_targets(weight.data(), product.data(), hessian.data(), rows, columns, damping, 1.0);
    CHECK(solved.target.size() == rows * columns && solved.damping_used >= damping);
    for (const float value : solved.target) CHECK(std::isfinite(value));
  }
  const std::vector<double> zeros(columns * columns);
  CHECK(solve_targets(weight.data(), product.data(), zeros.data(), rows, columns, 0.05, 1.0).target == weight);
}

}  // namespace

int main() {
  for (const int threads : {1, 3}) {
    dbell::set_thread_count(threads);
    random_layers(3, 43, 128);
    random_layers(33, 130, 128);
    random_layers(5, 40, 16);
    for (const std::size_t width : {1u, 2u, 43u, 130u}) hostile(width);
  }
  broken();
  targets(5, 43);
  targets(40, 150);
  return 0;
}
