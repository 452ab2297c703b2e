#pragma once
// How two models' predictions of the next token differ, position by position.
#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.h"

namespace dbell {

/// Values of a position: original loss, candidate loss, KL(original ‖ candidate), original top token, candidate top
/// token.
constexpr std::size_t kComparisonValues = 5;

/// Compares logits [rows, vocabulary] of two models. Losses are natural-log losses of the targets, the divergence is
/// Σ p·(ln p − ln q) in nats over the whole vocabulary; of equal logits the lowest token is the top one. `out` is
/// [rows, 5]. Sums are float64; exponentials are float32 (kernel_table.h). Throws RuntimeError `invalid-input` where a
/// target is outside the vocabulary. Logits must be finite.
void compare_logits(const KernelTable& kernels, const float* original, const float* candidate,
                    const std::int32_t* targets, std::size_t rows, std::size_t vocabulary, double* out);

}  // namespace dbell
