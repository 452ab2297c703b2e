#pragma once
#include <algorithm>
#include <cstddef>
#include <vector>

namespace dbell::numerics {

/// A sample of the layer's inputs that shows what rounding c∘x to few bits costs. Columns that share a step form a group g: all of a token's, or each so many. The step is
/// s_tg = max_j∈g |c_j x_tj| / (2^(a−1) − 1), each rounded value is off by s_tg²/12 in the mean square, so the outputs are off by Σ_g κ_g(c) · Σ_i Σ_j∈g (r s)²_ij with
/// κ_g(c) = Σ_t w_t s_tg²/12 (docs/method.md, section 8).
struct ActivationSample {
  /// x before c, `[tokens, in]`; null: activations are not quantized.
  const float* inputs = nullptr;
  /// w_t `[tokens]`, such that Σ_t w_t x_t x_tᵀ estimates H.
  const float* weights = nullptr;
  std::size_t tokens = 0;
  int bits = 16;
  /// Columns of a group, of which the last may have fewer; 0: all.
  std::size_t columns_per_step = 0;
};

/// The groups of columns that share a step.
struct StepGroups {
  std::size_t columns, width;

  StepGroups(const ActivationSample& sample, std::size_t in_features)
      : columns(in_features),
        width(sample.columns_per_step == 0 ? in_features : std::min(sample.columns_per_step, in_features)) {}
  std::size_t count() const { return (columns + width - 1) / width; }
  std::size_t of(std::size_t column) const { return column / width; }
  std::size_t first(std::size_t group) const { return group * width; }
  std::size_t last(std::size_t group) const { return std::min(columns, (group + 1) * width); }
};

/// κ(c) of each group, c `[in]`.
std::vector<double> rounding_prices(const ActivationSample& sample, std::size_t in_features,
                                    const double* column_scale);

/// D with κ_g(c') ≈ Σ_j∈g D_j c'_j² around c: every token's square of the group's largest value, shared over the group's values near it. D·c² summed over a group is at
/// most κ_g(c). `[in]`.
std::vector<double> rounding_shares(const ActivationSample& sample, std::size_t in_features,
                                    const double* column_scale);

}  // namespace dbell::numerics
