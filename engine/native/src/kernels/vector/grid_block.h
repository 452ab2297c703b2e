#pragma once
// What the integer kernels of the grid layout share, whatever way codes are stored.
#include "kernels/lanes/lanes.h"

namespace dbell::DBELL_KERNEL_SET {
namespace {

/// What multiplies one block's integers, of the rows of one register.
struct BlockScale {
  Floats scale, offset;
};
DBELL_INLINE BlockScale load_block_scale(const PackedLinear& linear, std::size_t group, std::size_t part,
                                         std::size_t block) {
  const std::size_t at = (group * linear.blocks + block) * kRowsPerGroup + part * kLanes;
  return {half_floats(linear.scales + at), linear.offsets ? half_floats(linear.offsets + at) : zero_floats()};
}

/// The integers of one block and register: 2·Σ q·x̂ − (L − 1)·X, from `sums` of codes.
DBELL_INLINE Ints block_integers(const PackedLinear& linear, Ints sums, std::int32_t block_sum) {
  return subtract(shift_lanes_left<1>(sums), int_of((linear.levels - 1) * block_sum));
}

/// Adds one block's contribution of the rows of one register to the accumulator (order: kernel_table.h).
DBELL_INLINE Floats add_scaled(const PackedLinear& linear, const BlockScale& by, Ints integer,
                               const QuantizedActivations& activations, std::size_t in_activations,
                               Floats accumulator) {
  // By token the step here is 1, which is exact and cheaper than to ask.
  const Floats step = float_of(activations.block_scales[in_activations]);
  accumulator = add(accumulator, multiply(multiply(by.scale, to_floats(integer)), step));
  if (linear.offsets) {
    const Floats twice_sum = float_of(static_cast<float>(2 * activations.block_sums[in_activations]));
    accumulator = add(accumulator, multiply(multiply(by.offset, twice_sum), step));
  }
  return accumulator;
}

/// Hands the integers of one block, register and token out.
DBELL_INLINE void hand_out_block(const PackedLinear& linear, std::size_t group, std::size_t part, std::size_t block,
                                 std::size_t token, Ints integer, std::int32_t* integers) {
  std::int32_t lanes[kLanes];
  store_ints(lanes, integer);
  const std::size_t row = (token * linear.row_groups + group) * kRowsPerGroup + part * kLanes;
  hand_out(lanes, kGridIntegers, linear.blocks, integers + row * linear.blocks + block);
}

/// All of it, for one token.
DBELL_INLINE Floats add_block(const PackedLinear& linear, std::size_t group, std::size_t part, std::size_t block,
                              Ints sums, const QuantizedActivations& activations, std::size_t token, Floats accumulator,
                              std::int32_t* integers) {
  const std::size_t in_activations = block * activations.tokens + token;
  const Ints integer = block_integers(linear, sums, activations.block_sums[in_activations]);
  if (integers) hand_out_block(linear, group, part, block, token, integer, integers);
  return add_scaled(linear, load_block_scale(linear, group, part, block), integer, activations, in_activations,
                    accumulator);
}

/// The outputs of one register's rows, the first of which is `row`, to `y`.
DBELL_INLINE void finish(const PackedLinear& linear, std::size_t row, float scale, Floats accumulator, float* y) {
  const Floats start = load_floats(linear.bias ? linear.bias + row : y);
  store_floats(y, add(start, multiply(float_of(0.5f * scale), accumulator)));
}

}  // namespace
}  // namespace dbell::DBELL_KERNEL_SET
