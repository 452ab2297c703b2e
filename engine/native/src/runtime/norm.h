#pragma once
#include "runtime/model.h"

namespace dbell {

/// RMSNorm x / sqrt(mean(x²) + ε) · weight, or LayerNorm (x − mean) / sqrt(var + ε) · weight + bias, of each of `rows`
/// rows; sums in float64. `out` may be `x`.
void apply_norm(const Norm& norm, const float* x, std::size_t x_stride, std::size_t rows, float* out,
                std::size_t out_stride);

/// x ← act(x), or with a gate x ← act(gate) · x, over `count` values.
void apply_activation(const KernelTable& kernels, Activation activation, float* x, float* gate, std::size_t count);

}  // namespace dbell
