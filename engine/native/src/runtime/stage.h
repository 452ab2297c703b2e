#pragma once
// Runs the linears of a stage over a chunk of tokens: activations quantized once, rows of all linears shared out among
// the threads.
#include <vector>

#include "runtime/model.h"

namespace dbell {

/// Largest |x̂| of an activation width; 16 bits means not quantized.
constexpr int activation_limit(int bits) { return (1 << (bits - 1)) - 1; }

/// Buffers of one stage's input; kept between calls.
struct StageInput {
  AlignedBuffer<std::int8_t> rows;         ///< x̂ [tokens, blocks · 128]
  AlignedBuffer<std::int8_t> values;       ///< x̂ [blocks, tokens, 128]
  AlignedBuffer<std::int32_t> block_sums;  ///< [blocks, tokens]
  AlignedBuffer<float> scales;             ///< [tokens]; 1 where steps are by block
  AlignedBuffer<float> block_scales;       ///< [blocks, tokens]; 1 where steps are by token
  AlignedBuffer<std::uint8_t> sum_tables;  ///< one token: KernelTable::make_sum_tables' [blocks, 4, 256]
  AlignedBuffer<std::int32_t> least_sums;  ///< of the same [blocks]
  bool has_sum_tables = false;             ///< whether they are of what `values` holds now
  AlignedBuffer<float> scaled;             ///< float path: c∘x [tokens, in]
  struct Salient {
    AlignedBuffer<std::int8_t> values;
    AlignedBuffer<std::int32_t> sums;
  };
  std::vector<Salient> salient;  ///< for each linear of the stage
  /// Input of the residual columns, gathered, for each linear of the stage.
  struct Gathered {
    AlignedBuffer<std::int8_t> values;       ///< x̂ [residual blocks, tokens, 128]
    AlignedBuffer<std::int32_t> block_sums;  ///< [residual blocks, tokens]
    AlignedBuffer<float> block_scales;       ///< [residual blocks, tokens], 1
    AlignedBuffer<float> floats;             ///< float path: c∘x [tokens, residual columns]
  };
  std::vector<Gathered> gathered;
};

/// How a stage's input is rounded.
struct StageRounding {
  const std::string& name;  ///< for messages
  std::size_t in_features;
  const float* column_scale;  ///< [in_features] or null
  int activation_bits;        ///< 4 … 8
  bool by_block;              ///< one step for each token and block, else one for each token
};

/// As the stage of this linear rounds.
StageRounding rounding_of(const Linear& linear, int activation_bits);

/// Quantizes x `[tokens, x_stride]` into `input` (rows, values, block_sums, scales, block_scales). Throws RuntimeError
/// where a value is not finite.
void quantize_stage_input(const KernelTable& kernels, const StageRounding& rounding, const float* x,
                          std::size_t x_stride, std::size_t tokens, StageInput& input);

/// Whether tables of sums are looked up for this linear where the kernels have them.
bool uses_sum_tables(const PackedLinear& linear);

/// Makes the tables of sums of a quantized input, for every linear that reads it; nothing where the kernels have none or
/// there is more than one token.
void make_sum_tables(const KernelTable& kernels, std::size_t blocks, std::size_t tokens, StageInput& input);

/// The grid kernels' view of a quantized input.
QuantizedActivations grid_view(const StageInput& input, std::size_t tokens);

/// The kernels' view of a quantized input for linear number `index` of its stage; makes the salient part where the
/// layout needs it.
QuantizedActivations view_for(const Linear& linear, std::size_t index, std::size_t tokens, StageInput& input);

/// The same for the residual of that linear, from the rows x̂ `[tokens, row_stride]` with token scales `[tokens]`.
QuantizedActivations gather_quantized(const Residual& residual, const std::int8_t* rows, std::size_t row_stride,
                                      const float* scales, std::size_t tokens, StageInput::Gathered& gathered);

/// y_i = W_i (c∘x) + bias_i for every linear of the stage; outputs[i] is `[tokens, strides[i]]`, strides[i] at least
/// the padded number of rows. `activation_bits` 4 … 8: integer path; 16: float path.
void run_stage(const KernelTable& kernels, const Stage& stage, const float* x, std::size_t x_stride, std::size_t tokens,
               int activation_bits, StageInput& input, float* const* outputs, const std::size_t* strides);

/// A float table times x `[tokens, x_stride]`, rows [16·begin, 16·end), to y `[tokens, y_stride]` with row 16·begin at
/// column 0.
void multiply_table(const KernelTable& kernels, const Table& table, const float* x, std::size_t x_stride,
                    std::size_t tokens, std::size_t begin, std::size_t end, float* y, std::size_t y_stride);

/// Row groups that one task should take so that starting threads pays off; even, as kernels take pairs.
std::size_t row_groups_per_task(std::size_t row_groups, double multiplications);

}  // namespace dbell
