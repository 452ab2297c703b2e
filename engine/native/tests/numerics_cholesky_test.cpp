// The blocked factorizations against their definitions, at sizes around the panel width.
#include <algorithm>
#include <limits>

#include "common/thread_pool.h"
#include "numerics/inverse_cholesky.h"
#include "numerics_inputs.h"

using namespace dbell::numerics;
using namespace dbell::numerics_test;

namespace {

void factor_times_its_transpose_is_the_matrix(std::size_t size) {
  const std::vector<double> matrix = random_hessian(size, 2 * size + 3, size);
  std::vector<double> lower = matrix;
  CHECK(cholesky_in_place(lower.data(), size));
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < size; ++i)
    for (std::size_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (std::size_t k = 0; k <= j; ++k) sum += lower[i * size + k] * lower[j * size + k];
      worst = std::max(worst, std::fabs(sum - matrix[i * size + j]));
      largest = std::max(largest, std::fabs(matrix[i * size + j]));
    }
  CHECK(worst <= 1e-11 * largest);

  std::vector<double> inverse = lower;
  invert_lower_triangular(inverse.data(), size);
  for (std::size_t i = 0; i < size; ++i)
    for (std::size_t j = 0; j < size; ++j) {
      if (j > i) {
        CHECK(inverse[i * size + j] == 0);
        continue;
      }
      double sum = 0;
      for (std::size_t k = j; k <= i; ++k) sum += lower[i * size + k] * inverse[k * size + j];
      CHECK(std::fabs(sum - (i == j ? 1 : 0)) < 1e-8);
    }
}

void inverse_factor_inverts(std::size_t size) {
  const std::vector<double> hessian = random_hessian(size, size / 2 + 1, size + 1);
  const InverseCholesky result = inverse_cholesky(hessian.data(), size, 0.01, 1);
  CHECK(result.factor.size() == size * size);
  double mean = 0;
  for (std::size_t j = 0; j < size; ++j) mean += hessian[j * size + j] / static_cast<double>(size);
  // Column by column: (UᵀU) H e_j = e_j.
  for (std::size_t column = 0; column < size; column += 7) {
    std::vector<double> product(size), inverted(size);
    for (std::size_t i = 0; i < size; ++i) {
      double sum = 0;
      for (std::size_t j = i; j < size; ++j)
        sum += result.factor[i * size + j] * (hessian[j * size + column] + (j == column ? 0.01 * mean : 0));
      product[i] = sum;
    }
    for (std::size_t i = 0; i < size; ++i)
      for (std::size_t j = i; j < size; ++j) inverted[j] += result.factor[i * size + j] * product[i];
    for (std::size_t i = 0; i < size; ++i) CHECK(std::fabs(inverted[i] - (i == column ? 1 : 0)) < 1e-3);
  }
}

void broken_matrices_give_no_factor() {
  std::vector<double> hessian = random_hessian(150, 300, 5);
  hessian[140 * 150 + 3] = hessian[3 * 150 + 140] = std::numeric_limits<double>::quiet_NaN();
  CHECK(inverse_cholesky(hessian.data(), 150, 0.01, 1).factor.empty());
  hessian[140 * 150 + 3] = hessian[3 * 150 + 140] = 1e9;
  CHECK(inverse_cholesky(hessian.data(), 150, 0.01, 1).factor.empty());
  const std::vector<double> zero(150 * 150, 0.0);
  const InverseCholesky of_zero = inverse_cholesky(zero.data(), 150, 0.01, 1);
  CHECK(!of_zero.factor.empty());
  CHECK(std::count(of_zero.dead_columns.begin(), of_zero.dead_columns.end(), 1) == 150);
}

}  // namespace

int main() {
  for (const int threads : {1, 3}) {
    dbell::set_thread_count(threads);
    for (const std::size_t size : {1u, 2u, 127u, 128u, 129u, 200u, 270u}) {
      factor_times_its_transpose_is_the_matrix(size);
      inverse_factor_inverts(size);
    }
    broken_matrices_give_no_factor();
  }
  return 0;
}
