#pragma once
// Single steps of the runtime, for tests and for `verify`: the same code as inference, with plain vectors in and out.
#include <array>
#include <vector>

#include "runtime/session.h"

namespace dbell {

struct QuantizedRows {
  std::vector<std::int8_t> values;  ///< x̂ [tokens, in]
  std::vector<float> scales;        ///< s_t [tokens], or by block [tokens, blocks]
};

/// y `[tokens, out]` of one linear for x `[tokens, in]`, column scale and bias included.
std::vector<float> verify_linear(const KernelTable& kernels, const Linear& linear, const float* x, std::size_t tokens,
                                 int activation_bits);
QuantizedRows verify_quantization(const KernelTable& kernels, const Linear& linear, const float* x, std::size_t tokens,
                                  int activation_bits);
/// Integer part for given x̂ `[tokens, in]`: `[tokens, out, blocks, 1 or 6]` (kernel_table.h). Throws RuntimeError where
/// a value is −128.
std::vector<std::int32_t> verify_integers(const KernelTable& kernels, const Linear& linear, const std::int8_t* values,
                                          std::size_t tokens);
/// The same for the linear's residual columns: `[tokens, out, residual blocks]`. Throws RuntimeError where it has none.
std::vector<std::int32_t> verify_residual_integers(const KernelTable& kernels, const Linear& linear,
                                                   const std::int8_t* values, std::size_t tokens);
/// Output `[tokens, hidden]` of one block for hidden states `[tokens, hidden]` at positions 0 …; at most the model's
/// context length.
std::vector<float> verify_block(const Model& model, std::size_t index, const float* hidden, std::size_t tokens,
                                int activation_bits);
struct BlockStages {
  std::vector<float> hidden;                       ///< the block's output [tokens, hidden]
  std::array<std::vector<float>, 4> stage_inputs;  ///< [tokens, in] of each stage, before column scale and quantization
};
/// The same with what entered each stage on the way.
BlockStages verify_block_stages(const Model& model, std::size_t index, const float* hidden, std::size_t tokens,
                                int activation_bits);
/// Hidden states `[tokens, hidden]` before block 0 and after every block, blocks + 1 of them.
std::vector<std::vector<float>> verify_hidden_states(const Model& model, const std::int32_t* ids, std::size_t tokens,
                                                     int activation_bits);

}  // namespace dbell
