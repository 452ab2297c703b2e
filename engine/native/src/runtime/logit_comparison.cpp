#include "runtime/logit_comparison.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "common/thread_pool.h"
#include "runtime/aligned_buffer.h"
#include "runtime/error.h"

namespace dbell {
namespace {

struct Distribution {
  std::size_t top = 0;
  float maximum = 0;
  /// ln Σ exp(logit − maximum); the maximum is left out so that it can be subtracted in float64.
  double log_sum = 0;
};

/// Fills `exponentials` with exp(logit − maximum).
Distribution distribution_of(const KernelTable& kernels, const float* logits, std::size_t size, float* exponentials) {
  Distribution result;
  result.top = static_cast<std::size_t>(std::max_element(logits, logits + size) - logits);
  result.maximum = logits[result.top];
  std::memcpy(exponentials, logits, size * sizeof(float));
  kernels.exponentials(exponentials, size, result.maximum);
  double sum = 0;
  for (std::size_t i = 0; i < size; ++i) sum += static_cast<double>(exponentials[i]);
  result.log_sum = std::log(sum);
  return result;
}

/// −ln of the probability of a logit.
double loss_of(const Distribution& distribution, float logit) {
  return (static_cast<double>(distribution.maximum) - static_cast<double>(logit)) + distribution.log_sum;
}

}  // namespace

void compare_logits(const KernelTable& kernels, const float* original, const float* candidate,
                    const std::int32_t* targets, std::size_t rows, std::size_t vocabulary, double* out) {
  for (std::size_t row = 0; row < rows; ++row) {
    if (targets[row] < 0 || static_cast<std::size_t>(targets[row]) >= vocabulary)
      throw RuntimeError("invalid-input", "token id " + std::to_string(targets[row]) +
                                              " is outside the vocabulary of " + std::to_string(vocabulary));
  }
  parallel_for(rows, 1, [&](std::size_t begin, std::size_t end) {
    static thread_local AlignedBuffer<float> original_exponentials, candidate_exponentials;
    original_exponentials.reserve(vocabulary);
    candidate_exponentials.reserve(vocabulary);
    for (std::size_t row = begin; row < end; ++row) {
      const float *p = original + row * vocabulary, *q = candidate + row * vocabulary;
      const Distribution of_p = distribution_of(kernels, p, vocabulary, original_exponentials.data());
      const Distribution of_q = distribution_of(kernels, q, vocabulary, candidate_exponentials.data());
      // ln p − ln q = (p_i − q_i) − shift, exactly 0 everywhere for equal logits.
      const double shift = (static_cast<double>(of_p.maximum) - static_cast<double>(of_q.maximum)) +
                           (of_p.log_sum - of_q.log_sum);
      double weighted = 0;
      for (std::size_t i = 0; i < vocabulary; ++i)
        weighted += static_cast<double>(original_exponentials[i]) *
                    ((static_cast<double>(p[i]) - static_cast<double>(q[i])) - shift);
      double* values = out + row * kComparisonValues;
      const std::size_t target = static_cast<std::size_t>(targets[row]);
      values[0] = loss_of(of_p, p[target]);
      values[1] = loss_of(of_q, q[target]);
      // Rounding may leave a divergence of nothing a hair below zero, which it never is.
      values[2] = std::max(0.0, weighted / std::exp(of_p.log_sum));
      values[3] = static_cast<double>(of_p.top);
      values[4] = static_cast<double>(of_q.top);
    }
  });
}

}  // namespace dbell
