#pragma once
// The layer under fit, shared by the steps of a grid fit (grid_fit.cpp has their order).
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "numerics/grid_fit.h"
#include "numerics/grid_metric.h"

namespace dbell::numerics {

struct GridLayer {
  const float* target = nullptr;
  std::size_t out_features = 0, in_features = 0, block_size = 0, blocks = 0;
  int levels = 2;
  const GridMetric* metric = nullptr;

  /// q `[out, in]`, r ≥ 0 `[out, blocks]`, c ≥ 0 `[in]`.
  std::vector<std::uint8_t> codes;
  std::vector<float> row_scale, column_scale;
  /// W̃H `[out, in]`.
  std::vector<float> target_product;

  float centre() const { return static_cast<float>(levels - 1) * 0.5f; }
  std::size_t block_width(std::size_t block) const {
    return std::min(block_size, in_features - block * block_size);
  }
  /// s = q − (levels − 1)/2.
  float value(std::size_t row, std::size_t column) const {
    return static_cast<float>(codes[row * in_features + column]) - centre();
  }
};

/// Rows that one task treats, and their number.
constexpr std::size_t grid_rows_per_task = 32;
inline std::size_t grid_tasks(const GridLayer& layer) {
  return (layer.out_features + grid_rows_per_task - 1) / grid_rows_per_task;
}

/// r from the weighted mean absolute target, c = 1, codes by GPTQ's left-to-right pass; W̃H. Returns the loss under `metric.hessian`.
double start_grid(GridLayer& layer);

/// r in closed form, all blocks of a row jointly, with a ridge towards the previous r.
void solve_row_scales(GridLayer& layer, double ridge);

/// c in closed form, shared by all rows, with a ridge towards the previous c; then c of every block is normalised to geometric mean 1 (moved into r).
void solve_column_scale(GridLayer& layer, double ridge);

struct Descent {
  double loss = 0;
  std::int64_t changed_codes = 0;
};

/// Sweeps of coordinate descent over all codes. The loss is the one behind the last sweep, under `metric.hessian`.
Descent descend_grid_codes(GridLayer& layer, int sweeps);

}  // namespace dbell::numerics
