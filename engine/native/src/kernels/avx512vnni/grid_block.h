#pragma once
// What the integer kernels of the grid layout share, whatever way codes are stored. Everything has internal linkage:
// nothing compiled here may be merged with code for other CPUs.
#include "kernels/avx512vnni/vector.h"

namespace dbell::avx512vnni {
namespace {

/// Adds one block's contribution to the accumulator (order: kernel_table.h) and hands the integers out where they are
/// asked for.
inline __m512 add_block(const PackedLinear& linear, std::size_t group, std::size_t block, __m512i sums,
                        std::int32_t block_sum, std::size_t token, __m512 accumulator, std::int32_t* integers) {
  const __m512i integer =
      _mm512_sub_epi32(_mm512_slli_epi32(sums, 1), _mm512_set1_epi32((linear.levels - 1) * block_sum));
  if (integers) {
    alignas(64) std::int32_t lanes[kRowsPerGroup];
    _mm512_store_si512(lanes, integer);
    for (std::size_t row = 0; row < kRowsPerGroup; ++row) {
      integers[((token * linear.row_groups + group) * kRowsPerGroup + row) * linear.blocks + block] = lanes[row];
    }
  }
  const std::size_t scale_index = (group * linear.blocks + block) * kRowsPerGroup;
  accumulator =
      _mm512_add_ps(accumulator, _mm512_mul_ps(half_row(linear.scales + scale_index), _mm512_cvtepi32_ps(integer)));
  if (linear.offsets) {
    const __m512 twice_sum = _mm512_set1_ps(static_cast<float>(2 * block_sum));
    accumulator = _mm512_add_ps(accumulator, _mm512_mul_ps(half_row(linear.offsets + scale_index), twice_sum));
  }
  return accumulator;
}

/// The 16 outputs of a row group to `y`.
inline void finish(const PackedLinear& linear, std::size_t group, float scale, __m512 accumulator, float* y) {
  const __m512 start = _mm512_loadu_ps(linear.bias ? linear.bias + group * kRowsPerGroup : y);
  _mm512_storeu_ps(y, _mm512_add_ps(start, _mm512_mul_ps(_mm512_set1_ps(0.5f * scale), accumulator)));
}

}  // namespace
}  // namespace dbell::avx512vnni
