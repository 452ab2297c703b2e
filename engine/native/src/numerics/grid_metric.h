#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace dbell::numerics {

/// The H that a grid fit measures errors with: scaled to a mean diagonal of 1 and damped, so that thresholds and float32 sums mean the same for every layer.
struct GridMetric {
  std::size_t size = 0;
  /// `[size, size]`, symmetric, float32.
  std::vector<float> hessian;
  /// H_jj in float32, `[size]`.
  std::vector<float> diagonal;
  /// Upper factor U of the inverse, H⁻¹ = UᵀU, `[size, size]`; empty where no damping made H positive definite.
  std::vector<float> factor;
  /// A loss under `hessian` times this is a loss under the damped H in the caller's units.
  double loss_scale = 1;
  /// Fraction of the mean diagonal that was added.
  double damping_used = 0;
  std::size_t dead_columns = 0;
};

/// H of the caller (symmetric; the lower triangle is read), damped by a fraction of its mean diagonal. Where it is not positive definite the damping is raised
/// tenfold up to `maximum_damping`. A column with H_jj = 0 has nothing but the damping (a millionth of the mean where that is 0); an H of zeros counts as the identity.
/// Throws std::invalid_argument where H is not finite or has a negative diagonal.
GridMetric grid_metric(const double* hessian, std::size_t size, double damping, double maximum_damping);

}  // namespace dbell::numerics
