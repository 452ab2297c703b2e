#pragma once
// Transpositions with 256-bit registers, for the sets of 256 and of 512 bits.
#include <immintrin.h>

namespace dbell::DBELL_KERNEL_SET {
namespace {

/// Rows and columns that load_transposed turns at once.
constexpr std::size_t kTransposed = 8;

/// 8 rows × 32 codes to 8 registers: quad q holds columns 4q … 4q + 3 of row i in lane i. A null row is zero.
inline void transpose_codes_8(const std::int8_t* const* rows, __m256i* quads) {
  __m256i row[8], pair[8], four[8];
  for (int i = 0; i < 8; ++i) {
    row[i] = rows[i] ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[i])) : _mm256_setzero_si256();
  }
  for (int i = 0; i < 4; ++i) {
    pair[2 * i] = _mm256_unpacklo_epi32(row[2 * i], row[2 * i + 1]);
    pair[2 * i + 1] = _mm256_unpackhi_epi32(row[2 * i], row[2 * i + 1]);
  }
  for (int i = 0; i < 2; ++i) {
    four[4 * i] = _mm256_unpacklo_epi64(pair[4 * i], pair[4 * i + 2]);
    four[4 * i + 1] = _mm256_unpackhi_epi64(pair[4 * i], pair[4 * i + 2]);
    four[4 * i + 2] = _mm256_unpacklo_epi64(pair[4 * i + 1], pair[4 * i + 3]);
    four[4 * i + 3] = _mm256_unpackhi_epi64(pair[4 * i + 1], pair[4 * i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    quads[i] = _mm256_permute2x128_si256(four[i], four[i + 4], 0x20);
    quads[i + 4] = _mm256_permute2x128_si256(four[i], four[i + 4], 0x31);
  }
}

inline float half_float(std::uint16_t value) {
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(value)));
}

/// Eight values of each of eight rows (fp16 or float32; a null row is zero), transposed: column j to out + j·stride.
inline void load_transposed(const void* const* rows, bool is_half, float* out, std::size_t stride) {
  __m256 row[8], pair[8], four[8];
  for (int i = 0; i < 8; ++i) {
    row[i] = rows[i] == nullptr ? _mm256_setzero_ps()
             : is_half          ? _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(rows[i])))
                                : _mm256_loadu_ps(static_cast<const float*>(rows[i]));
  }
  for (int i = 0; i < 4; ++i) {
    pair[2 * i] = _mm256_unpacklo_ps(row[2 * i], row[2 * i + 1]);
    pair[2 * i + 1] = _mm256_unpackhi_ps(row[2 * i], row[2 * i + 1]);
  }
  for (int i = 0; i < 2; ++i) {
    four[4 * i] = _mm256_shuffle_ps(pair[4 * i], pair[4 * i + 2], 0x44);
    four[4 * i + 1] = _mm256_shuffle_ps(pair[4 * i], pair[4 * i + 2], 0xEE);
    four[4 * i + 2] = _mm256_shuffle_ps(pair[4 * i + 1], pair[4 * i + 3], 0x44);
    four[4 * i + 3] = _mm256_shuffle_ps(pair[4 * i + 1], pair[4 * i + 3], 0xEE);
  }
  for (std::size_t i = 0; i < 4; ++i) {
    _mm256_storeu_ps(out + i * stride, _mm256_permute2f128_ps(four[i], four[i + 4], 0x20));
    _mm256_storeu_ps(out + (i + 4) * stride, _mm256_permute2f128_ps(four[i], four[i + 4], 0x31));
  }
}

}  // namespace
}  // namespace dbell::DBELL_KERNEL_SET
