#pragma once
// What the integer kernels of the grid layout share, whatever way codes are stored.
#include "kernels/lanes/lanes.h"

namespace dbell::DBELL_KERNEL_SET {
namespace {

/// Adds one block's contribution of the rows of one register to the accumulator (order: kernel_table.h) and hands the
/// integers out where they are asked for.
DBELL_INLINE Floats add_block(const PackedLinear& linear, std::size_t group, std::size_t part, std::size_t block,
                              Ints sums, const QuantizedActivations& activations, std::size_t token, Floats accumulator,
                              std::int32_t* integers) {
  const std::size_t in_activations = block * activations.tokens + token;
  const std::int32_t block_sum = activations.block_sums[in_activations];
  const Ints integer = subtract(shift_lanes_left<1>(sums), int_of((linear.levels - 1) * block_sum));
  if (integers) {
    std::int32_t lanes[kLanes];
    store_ints(lanes, integer);
    const std::size_t row = (token * linear.row_groups + group) * kRowsPerGroup + part * kLanes;
    hand_out(lanes, kGridIntegers, linear.blocks, integers + row * linear.blocks + block);
  }
  const std::size_t at = (group * linear.blocks + block) * kRowsPerGroup + part * kLanes;
  // By token the step here is 1, which is exact and cheaper than to ask.
  const Floats step = float_of(activations.block_scales[in_activations]);
  accumulator = add(accumulator, multiply(multiply(half_floats(linear.scales + at), to_floats(integer)), step));
  if (linear.offsets) {
    const Floats twice_sum = float_of(static_cast<float>(2 * block_sum));
    accumulator = add(accumulator, multiply(multiply(half_floats(linear.offsets + at), twice_sum), step));
  }
  return accumulator;
}

/// The outputs of one register's rows, the first of which is `row`, to `y`.
DBELL_INLINE void finish(const PackedLinear& linear, std::size_t row, float scale, Floats accumulator, float* y) {
  const Floats start = load_floats(linear.bias ? linear.bias + row : y);
  store_floats(y, add(start, multiply(float_of(0.5f * scale), accumulator)));
}

}  // namespace
}  // namespace dbell::DBELL_KERNEL_SET
