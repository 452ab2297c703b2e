#pragma once
// What the integer kernels of the grid layout share, whatever way codes are stored.
#include "kernels/avx2/bits.h"

namespace dbell::avx2 {
namespace {

constexpr std::size_t kPrefetchBytes = 4096;

/// Adds one block's contribution of eight rows to the accumulator (order: kernel_table.h) and hands the integers out
/// where they are asked for.
inline __m256 add_block(const PackedLinear& linear, std::size_t group, std::size_t half, std::size_t block,
                        __m256i sums, std::int32_t block_sum, std::size_t token, __m256 accumulator,
                        std::int32_t* integers) {
  const __m256i integer =
      _mm256_sub_epi32(_mm256_slli_epi32(sums, 1), _mm256_set1_epi32((linear.levels - 1) * block_sum));
  if (integers) {
    alignas(32) std::int32_t lanes[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), integer);
    for (std::size_t row = 0; row < 8; ++row) {
      integers[((token * linear.row_groups + group) * kRowsPerGroup + half * 8 + row) * linear.blocks + block] =
          lanes[row];
    }
  }
  const std::size_t scale_index = (group * linear.blocks + block) * kRowsPerGroup + half * 8;
  accumulator =
      _mm256_add_ps(accumulator, _mm256_mul_ps(half_floats(linear.scales + scale_index), _mm256_cvtepi32_ps(integer)));
  if (linear.offsets) {
    const __m256 twice_sum = _mm256_set1_ps(static_cast<float>(2 * block_sum));
    accumulator = _mm256_add_ps(accumulator, _mm256_mul_ps(half_floats(linear.offsets + scale_index), twice_sum));
  }
  return accumulator;
}

/// Eight outputs, rows `row` …, to `y`.
inline void finish(const PackedLinear& linear, std::size_t row, float scale, __m256 accumulator, float* y) {
  const __m256 start = _mm256_loadu_ps(linear.bias ? linear.bias + row : y);
  _mm256_storeu_ps(y, _mm256_add_ps(start, _mm256_mul_ps(_mm256_set1_ps(0.5f * scale), accumulator)));
}

}  // namespace
}  // namespace dbell::avx2
