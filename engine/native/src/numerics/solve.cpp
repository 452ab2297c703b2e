#include "numerics/solve.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "common/thread_pool.h"
#include "numerics/inverse_cholesky.h"
#include "numerics/loops.h"

namespace dbell::numerics {
namespace {

constexpr std::size_t rows_per_solve = 32;
constexpr std::size_t columns_per_strip = 128;
constexpr double smallest_raise = 1e-10;

/// Lower L of H + λI, or empty.
std::vector<double> damped_factor(const double* hessian, std::size_t size, double added) {
  std::vector<double> lower(size * size);
  for (std::size_t i = 0; i < size; ++i) {
    std::copy_n(hessian + i * size, i + 1, lower.begin() + static_cast<std::ptrdiff_t>(i * size));
    lower[i * size + i] += added;
  }
  if (!cholesky_in_place(lower.data(), size)) lower.clear();
  return lower;
}

}  // namespace

void solve_lower_pair(const double* lower, std::size_t size, double* right) {
  for (std::size_t i = 0; i < size; ++i) {
    double sum = right[i];
    for (std::size_t k = 0; k < i; ++k) sum -= lower[i * size + k] * right[k];
    right[i] = sum / lower[i * size + i];
  }
  for (std::size_t i = size; i-- > 0;) {
    right[i] /= lower[i * size + i];
    for (std::size_t k = 0; k < i; ++k) right[k] -= lower[i * size + k] * right[i];
  }
}

template <class Scalar>
SolvedTargets solve_targets(const float* weight, const Scalar* cross_product, const double* hessian,
                            std::size_t out_features, std::size_t in_features, double damping,
                            double maximum_damping) {
  const std::size_t in = in_features;
  SolvedTargets result;
  double mean = 0, finite = 0;
  for (std::size_t j = 0; j < in; ++j) mean += hessian[j * in + j] / static_cast<double>(in);
  for (std::size_t i = 0; i < in; ++i)
    for (std::size_t j = 0; j <= i; ++j) finite += hessian[i * in + j] * 0.0;
  if (!(finite == 0) || !std::isfinite(mean) || mean < 0)
    throw std::invalid_argument("H is not finite or has a negative diagonal (a calibration that overflowed)");
  for (std::size_t i = 0; i < out_features; ++i) {
    double sum = 0;
    for (std::size_t j = 0; j < in; ++j)
      sum += static_cast<double>(weight[i * in + j]) * 0.0 + static_cast<double>(cross_product[i * in + j]) * 0.0;
    if (!(sum == 0))
      throw std::invalid_argument("the weight or the cross product is not finite in row " + std::to_string(i));
  }
  result.damping_used = damping;
  if (mean == 0) {
    result.target.assign(weight, weight + out_features * in);
    return result;
  }

  std::vector<double> inverse;
  for (double used = damping;; used = std::max(used * 10, smallest_raise)) {
    if (used > maximum_damping && used != damping) return result;
    result.damping_used = used;
    inverse = damped_factor(hessian, in, used * mean);
    if (!inverse.empty() || in == 0) break;
  }
  invert_lower_triangular(inverse.data(), in);
  std::vector<double> transposed(in * in);
  for (std::size_t i = 0; i < in; ++i)
    for (std::size_t j = 0; j <= i; ++j) transposed[j * in + i] = inverse[i * in + j];

  const Loops& loop = loops();
  const double added = result.damping_used * mean;
  result.target.resize(out_features * in);
  const std::size_t tasks = (out_features + rows_per_solve - 1) / rows_per_solve;
  parallel_for(tasks, 1, [&](std::size_t begin, std::size_t end) {
    std::vector<double> right(rows_per_solve * in), half(rows_per_solve * in);
    for (std::size_t task = begin; task < end; ++task) {
      const std::size_t row = task * rows_per_solve, rows = std::min(rows_per_solve, out_features - row);
      for (std::size_t k = 0; k < rows * in; ++k)
        right[k] = static_cast<double>(cross_product[row * in + k]) + added * static_cast<double>(weight[row * in + k]);
      // −R·L⁻ᵀ, whose column j needs the first j + 1 of R; then (R·L⁻ᵀ)·L⁻¹, whose column j needs the columns from j on.
      std::fill(half.begin(), half.end(), 0.0);
      for (std::size_t j = 0; j < in; j += columns_per_strip) {
        const std::size_t width = std::min(columns_per_strip, in - j);
        loop.subtract_product_double(half.data() + j, in, right.data(), in, transposed.data() + j, in, rows, width,
                                     j + width);
      }
      std::fill(right.begin(), right.end(), 0.0);
      for (std::size_t j = 0; j < in; j += columns_per_strip) {
        const std::size_t width = std::min(columns_per_strip, in - j);
        loop.subtract_product_double(right.data() + j, in, half.data() + j, in, inverse.data() + j * in + j, in, rows,
                                     width, in - j);
      }
      for (std::size_t k = 0; k < rows * in; ++k) result.target[row * in + k] = static_cast<float>(right[k]);
    }
  });
  return result;
}

template SolvedTargets solve_targets<float>(const float*, const float*, const double*, std::size_t, std::size_t,
                                            double, double);
template SolvedTargets solve_targets<double>(const float*, const double*, const double*, std::size_t, std::size_t,
                                             double, double);

}  // namespace dbell::numerics
