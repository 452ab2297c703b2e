#pragma once
// Helpers of the AVX2 sources. Everything has internal linkage: nothing compiled here may be merged with code for other
// CPUs.
#include <immintrin.h>

#include "kernels/packed_linear.h"

namespace dbell::avx2 {
namespace {

constexpr std::size_t kHalfBytes = 32;  // 8 of a line's 16 rows

inline std::size_t lines_of_block(const PackedLinear& linear, std::size_t block) {
  const std::size_t left = linear.lines - block * kLinesPerBlock;
  return left < kLinesPerBlock ? left : kLinesPerBlock;
}

inline __m256i load_half(const std::uint8_t* bytes) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
}

inline __m256 half_floats(const std::uint16_t* values) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values)));
}

inline __m256i broadcast_quad(const std::int8_t* x) {
  int quad;
  __builtin_memcpy(&quad, x, sizeof quad);
  return _mm256_set1_epi32(quad);
}

/// Sums of adjacent int16 lanes, exact in int32.
inline __m256i widen(__m256i sums) { return _mm256_madd_epi16(sums, _mm256_set1_epi16(1)); }

/// Ordinary L00, L10, L01, L11, salient L00, L10, L01, L11 of 8 rows (rows 8·half …).
inline void load_levels(const PackedLinear& linear, std::size_t group, std::size_t block, std::size_t half,
                        __m256* level) {
  const std::uint16_t* values =
      linear.structured_values + (group * linear.blocks + block) * kStructuredValues * kRowsPerGroup + half * 8;
  __m256 value[kStructuredValues];
#pragma GCC unroll 7
  for (std::size_t i = 0; i < kStructuredValues; ++i) value[i] = half_floats(values + i * kRowsPerGroup);
  const __m256 lower = _mm256_sub_ps(value[4], value[5]), upper = _mm256_add_ps(value[4], value[5]);
  level[0] = _mm256_sub_ps(value[0], value[1]);
  level[1] = _mm256_add_ps(value[0], value[1]);
  level[2] = _mm256_sub_ps(value[2], value[3]);
  level[3] = _mm256_add_ps(value[2], value[3]);
  level[4] = _mm256_sub_ps(lower, value[6]);
  level[5] = _mm256_sub_ps(upper, value[6]);
  level[6] = _mm256_add_ps(lower, value[6]);
  level[7] = _mm256_add_ps(upper, value[6]);
}

}  // namespace
}  // namespace dbell::avx2
