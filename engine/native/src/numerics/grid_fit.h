#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "numerics/grid_activation.h"

namespace dbell::numerics {

struct GridFitOptions {
  int levels = 4;
  int rounds = 4;
  int sweeps = 2;
  std::size_t block_size = 128;
  /// Fractions of the mean diagonal of H.
  double damping = 0.01, maximum_damping = 1;
  /// Fractions of the normal equations' diagonals by which r and c are drawn to their previous values.
  double row_ridge = 1e-4, column_ridge = 1e-3;
  /// False: c = 1.
  bool column_scale = true;
  /// How many columns get a residual column.
  std::size_t residual_columns = 0;
  /// Of use with a column scale only: without one nothing can be done about activation rounding.
  ActivationSample activations;
};

struct GridFit {
  /// q, `[out, in]`.
  std::vector<std::uint8_t> codes;
  /// r ≥ 0 as fp16 bits, `[out, blocks]`: Ŵ_ij = c_j · r · (q − (levels − 1)/2).
  std::vector<std::uint16_t> scales;
  /// c ≥ 0, `[in]`.
  std::vector<float> column_scale;
  /// Input columns with a residual column, ascending, `[count]`; their codes 0 and 1, `[out, count]`; their r' as fp16 bits, `[out, ceil(count / block size)]`:
  /// Ŵ_ij += c_j · r' · (q' − ½).
  std::vector<std::int32_t> residual_columns;
  std::vector<std::uint8_t> residual_codes;
  std::vector<std::uint16_t> residual_scales;
  /// tr((W̃ − Ŵ) H (W̃ − Ŵ)ᵀ), with the cost of activation rounding (in the first round at its price there) where there is a sample, under the damped H of the start, of each round, and of what is stored.
  double start_loss = 0;
  std::vector<double> losses;
  double loss = 0;
  double damping_used = 0;
  std::size_t dead_columns = 0;
  std::int64_t saturated = 0;
};

/// Fits a grid with row-block and column scales to a target `[out, in]` under H `[in, in]` (docs/method.md, section 8).
/// Throws std::invalid_argument where a target is not finite or beyond ±1e15, or H is not finite.
GridFit fit_grid(const float* target, const double* hessian, std::size_t out_features, std::size_t in_features,
                 const GridFitOptions& options);

}  // namespace dbell::numerics
