#pragma once
#include <cstddef>
#include <vector>

namespace dbell::numerics {

/// A sample of the layer's inputs that shows what rounding c∘x to few bits costs: a token's rounding step is s_t = max_j |c_j x_tj| / (2^(a−1) − 1), each rounded
/// value is off by s_t²/12 in the mean square, so the outputs are off by κ(c) · Σ_ij (r s)²_ij with κ(c) = Σ_t w_t s_t²/12 (docs/method.md, section 8).
struct ActivationSample {
  /// x before c, `[tokens, in]`; null: activations are not quantized.
  const float* inputs = nullptr;
  /// w_t `[tokens]`, such that Σ_t w_t x_t x_tᵀ estimates H.
  const float* weights = nullptr;
  std::size_t tokens = 0;
  int bits = 16;
};

/// κ(c), c `[in]`.
double rounding_price(const ActivationSample& sample, std::size_t in_features, const double* column_scale);

/// D with κ(c') ≈ Σ_j D_j c'_j² around c: every token's square of the largest value, shared over the values near it. D·c² summed is at most κ(c). `[in]`.
std::vector<double> rounding_shares(const ActivationSample& sample, std::size_t in_features,
                                    const double* column_scale);

}  // namespace dbell::numerics
