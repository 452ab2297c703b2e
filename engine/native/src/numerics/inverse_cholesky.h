#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace dbell::numerics {

struct InverseCholesky {
  /// U, `[size, size]`, upper triangular: H⁻¹ = UᵀU. Empty where no damping up to the maximum made H positive definite.
  std::vector<float> factor;
  /// Fraction of the mean diagonal that was added.
  double damping_used = 0;
  /// 1 where H_jj = 0, `[size]`.
  std::vector<std::uint8_t> dead_columns;
};

/// Upper Cholesky factor of the inverse of a symmetric `[size, size]` H (its lower triangle is read), without forming the inverse: with P the reversal of the
/// order of rows and columns, PHP = LLᵀ gives U = P L⁻¹ P. 2/3·size³ operations in float64, one work copy of H.
/// Dead columns get H_jj = 1 before damping. Damping is raised tenfold as long as the factorization fails.
InverseCholesky inverse_cholesky(const double* hessian, std::size_t size, double damping, double maximum_damping);

/// L of A = LLᵀ in place (lower triangle; the rest is left undefined), A `[size, size]` row-major. False where A is not positive definite.
bool cholesky_in_place(double* matrix, std::size_t size);

/// The inverse of a lower triangular matrix in place; what is above the diagonal is ignored and set to zero.
void invert_lower_triangular(double* matrix, std::size_t size);

}  // namespace dbell::numerics
