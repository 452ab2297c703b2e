#include "numerics/grid_metric.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "common/thread_pool.h"
#include "numerics/inverse_cholesky.h"

namespace dbell::numerics {
namespace {

/// What a dead column gets instead of a damping of 0, as a fraction of the mean diagonal.
constexpr double least_dead_diagonal = 1e-6;
/// A damping of 0 that fails is raised to the smallest fraction that can matter in float64.
constexpr double smallest_raise = 1e-10;

double checked_mean_diagonal(const double* hessian, std::size_t size) {
  double mean = 0;
  for (std::size_t i = 0; i < size; ++i) {
    double sum = 0;
    for (std::size_t j = 0; j <= i; ++j) sum += hessian[i * size + j] * 0.0;
    const double diagonal = hessian[i * size + i];
    if (!(sum == 0) || diagonal < 0)
      throw std::invalid_argument("H has a value in row " + std::to_string(i) +
                                  " that is not finite, or a negative diagonal (a calibration that overflowed)");
    mean += diagonal / static_cast<double>(size);
  }
  if (!std::isfinite(mean)) throw std::invalid_argument("the mean of H's diagonal is not finite");
  return mean;
}

}  // namespace

GridMetric grid_metric(const double* hessian, std::size_t size, double damping, double maximum_damping) {
  GridMetric metric;
  metric.size = size;
  const double mean = checked_mean_diagonal(hessian, size);
  const double scale = mean > 0 ? 1.0 / mean : 0.0;
  metric.loss_scale = mean > 0 ? mean : 1.0;
  if (!std::isfinite(scale)) throw std::invalid_argument("H's diagonal is too small for float64");

  std::vector<double> damped(size * size);
  const auto fill = [&](double added) {
    parallel_for(size, 64, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        for (std::size_t j = 0; j < size; ++j)
          damped[i * size + j] = scale * (j <= i ? hessian[i * size + j] : hessian[j * size + i]);
        double& diagonal = damped[i * size + i];
        if (scale == 0)
          diagonal = 1;
        else
          diagonal = diagonal == 0 ? std::max(added, least_dead_diagonal) : diagonal + added;
      }
    });
  };
  for (std::size_t i = 0; i < size; ++i)
    if (hessian[i * size + i] == 0) ++metric.dead_columns;
  for (double used = damping;; used = std::max(used * 10, smallest_raise)) {
    if (used > maximum_damping && used != damping) break;
    metric.damping_used = used;
    fill(used);
    InverseCholesky inverse = inverse_cholesky(damped.data(), size, 0, 0);
    metric.factor = std::move(inverse.factor);
    if (!metric.factor.empty() || size == 0) break;
  }
  metric.hessian.assign(damped.begin(), damped.end());
  metric.diagonal.resize(size);
  for (std::size_t j = 0; j < size; ++j) metric.diagonal[j] = metric.hessian[j * size + j];
  return metric;
}

}  // namespace dbell::numerics
