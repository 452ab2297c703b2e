#pragma once
#include <cstddef>
#include <vector>

namespace dbell::numerics {

/// x of L Lᵀ x = b in place, L lower triangular `[size, size]` row-major.
void solve_lower_pair(const double* lower, std::size_t size, double* right);

struct SolvedTargets {
  /// W̃, `[out, in]`; empty where no damping made H positive definite.
  std::vector<float> target;
  double damping_used = 0;
};

/// W̃ = (P + λW)(H + λI)⁻¹ with λ = damping · mean diagonal of H, in float64: P the cross product `[out, in]`, W `[out, in]`, H `[in, in]` (lower triangle).
/// Damping is raised tenfold up to `maximum_damping` as long as H + λI is not positive definite. A dead column (H_jj = 0) of an H of zeros keeps W.
/// Throws std::invalid_argument where a value is not finite.
template <class Scalar>
SolvedTargets solve_targets(const float* weight, const Scalar* cross_product, const double* hessian,
                            std::size_t out_features, std::size_t in_features, double damping,
                            double maximum_damping);

}  // namespace dbell::numerics
