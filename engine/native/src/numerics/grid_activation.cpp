#include "numerics/grid_activation.h"

#include <algorithm>
#include <cmath>

#include "common/thread_pool.h"

namespace dbell::numerics {
namespace {

constexpr std::size_t tokens_per_task = 32;

/// Sums of what `body(token, sums)` adds, task by task in order.
template <class Body>
std::vector<double> summed_over_tokens(std::size_t tokens, std::size_t width, Body body) {
  const std::size_t tasks = (tokens + tokens_per_task - 1) / tokens_per_task;
  std::vector<double> partial(tasks * width), total(width);
  parallel_for(tasks, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t task = begin; task < end; ++task)
      for (std::size_t t = task * tokens_per_task; t < std::min(tokens, (task + 1) * tokens_per_task); ++t)
        body(t, partial.data() + task * width);
  });
  for (std::size_t task = 0; task < tasks; ++task)
    for (std::size_t j = 0; j < width; ++j) total[j] += partial[task * width + j];
  return total;
}

/// Of a token's values in columns first … last.
double largest_square(const float* input, std::size_t first, std::size_t last, const double* column_scale) {
  double largest = 0;
  for (std::size_t j = first; j < last; ++j)
    largest = std::max(largest, std::fabs(column_scale[j] * static_cast<double>(input[j])));
  return largest * largest;
}

/// w_t / (12 (2^(a−1) − 1)²).
double token_factor(const ActivationSample& sample, std::size_t token) {
  const double steps = static_cast<double>((1 << (sample.bits - 1)) - 1);
  return static_cast<double>(sample.weights[token]) / (12.0 * steps * steps);
}

}  // namespace

std::vector<double> rounding_prices(const ActivationSample& sample, std::size_t in_features,
                                    const double* column_scale) {
  const StepGroups groups(sample, in_features);
  return summed_over_tokens(sample.tokens, groups.count(), [&](std::size_t t, double* sums) {
    const float* input = sample.inputs + t * in_features;
    for (std::size_t g = 0; g < groups.count(); ++g)
      sums[g] += token_factor(sample, t) * largest_square(input, groups.first(g), groups.last(g), column_scale);
  });
}

std::vector<double> rounding_shares(const ActivationSample& sample, std::size_t in_features,
                                    const double* column_scale) {
  const StepGroups groups(sample, in_features);
  return summed_over_tokens(sample.tokens, in_features, [&](std::size_t t, double* sums) {
    const float* input = sample.inputs + t * in_features;
    for (std::size_t g = 0; g < groups.count(); ++g) {
      const std::size_t first = groups.first(g), last = groups.last(g);
      const double largest = largest_square(input, first, last, column_scale);
      if (!(largest > 0)) continue;
      // Shares fall with the eighth power of a value: one that is 0.8 of the largest has a sixth of its share.
      const auto power = [&](std::size_t j) {
        const double value = column_scale[j] * static_cast<double>(input[j]);
        const double square = value * value / largest;
        const double fourth = square * square;
        return fourth * fourth;
      };
      double all = 0;
      for (std::size_t j = first; j < last; ++j) all += power(j);
      const double factor = token_factor(sample, t) / all;
      for (std::size_t j = first; j < last; ++j) {
        const double value = static_cast<double>(input[j]);
        sums[j] += factor * power(j) * value * value;
      }
    }
  });
}

}  // namespace dbell::numerics
