#pragma once
// The layer under fit, shared by the steps of a grid fit (grid_fit.cpp has their order).
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "numerics/grid_fit.h"
#include "numerics/grid_metric.h"

namespace dbell::numerics {

/// Columns that share one r a row.
struct GridBlock {
  std::size_t first, width;
  int levels;

  std::size_t last() const { return first + width; }
  float centre() const { return static_cast<float>(levels - 1) * 0.5f; }
};

/// Ŵ_ij = Σ of c_k r_{i,block(k)} s_ik over the grid's columns k that stand for input column j: the column itself and, where it is salient, a residual column
/// behind the in_features ordinary ones.
struct GridLayer {
  const float* target = nullptr;
  std::size_t out_features = 0, in_features = 0;
  /// in_features and the residual columns; the stride of everything that follows.
  std::size_t columns = 0;
  /// Of each residual column, the input column it stands for.
  std::vector<std::uint32_t> source;
  std::vector<GridBlock> blocks;
  /// H + P `[columns, columns]`, P the diagonal of penalties; a residual column's rows and columns are those of its source. H_jj of the input columns alone.
  std::vector<float> hessian, diagonal;
  /// What activation rounding adds to the loss for every Ŵ_ij² of an input column (grid_activation.h), `[in]`.
  std::vector<float> penalty;
  /// q `[out, columns]`, r ≥ 0 `[out, blocks]`, c ≥ 0 `[columns]`.
  std::vector<std::uint8_t> codes;
  std::vector<float> row_scale, column_scale;
  /// W̃H `[out, columns]`.
  std::vector<float> target_product;

  /// s = q − (levels − 1)/2.
  float value(std::size_t row, const GridBlock& block, std::size_t column) const {
    return static_cast<float>(codes[row * columns + column]) - block.centre();
  }
  std::size_t source_of(std::size_t column) const { return column < in_features ? column : source[column - in_features]; }
};

/// Rows that one task treats, and their number.
constexpr std::size_t grid_rows_per_task = 32;
inline std::size_t grid_tasks(const GridLayer& layer) {
  return (layer.out_features + grid_rows_per_task - 1) / grid_rows_per_task;
}

/// r from the weighted mean absolute target and a search around it, c = 1, codes by GPTQ's left-to-right pass with U (`factor`, may be empty); W̃H. Returns the loss.
double start_grid(GridLayer& layer, const std::vector<float>& factor);

/// r in closed form, all blocks of a row jointly, with a ridge towards the previous r.
void solve_row_scales(GridLayer& layer, double ridge);

/// c in closed form, shared by all rows, with a ridge towards the previous c; then normalised to geometric mean 1 (moved into r): each block by itself, or all
/// columns together where blocks are tied to each other by residual columns or by rounding steps that they share.
void solve_column_scale(GridLayer& layer, double ridge, const ActivationSample& activations);

struct Descent {
  double loss = 0;
  std::int64_t changed_codes = 0;
};

/// Sweeps of coordinate descent over all codes. The loss is the one behind the last sweep.
Descent descend_grid_codes(GridLayer& layer, int sweeps);

/// Gives the `count` columns that promise most a residual column of two levels each, in blocks of `block_size`, started from the signs of the error.
/// `factor` is U of the metric, or empty.
void add_residual_columns(GridLayer& layer, std::size_t count, std::size_t block_size, const std::vector<float>& factor);

}  // namespace dbell::numerics
