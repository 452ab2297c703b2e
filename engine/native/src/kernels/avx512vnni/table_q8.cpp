// 8-bit tables (embedding and head) times int8 activations with AVX-512 VNNI. dpbusd wants one unsigned operand:
// activations are taken as x̂ + 128, and 128 times the sum of the codes is subtracted again; both are exact.
#include <immintrin.h>

#include "kernels/avx512vnni/kernels.h"

namespace dbell::avx512vnni {
namespace {

/// 16 rows × 32 codes (row i at rows[i], or null for none) to 8 registers: quad q holds columns 4q … 4q + 3 of row i in
/// lane i.
inline void transpose_codes(const std::int8_t* const* rows, __m512i* quads) {
  __m256i half[2][8];
#pragma GCC unroll 2
  for (int h = 0; h < 2; ++h) {
    __m256i row[8], pair[8], four[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const std::int8_t* codes = rows[8 * h + i];
      row[i] = codes ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes)) : _mm256_setzero_si256();
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      pair[2 * i] = _mm256_unpacklo_epi32(row[2 * i], row[2 * i + 1]);
      pair[2 * i + 1] = _mm256_unpackhi_epi32(row[2 * i], row[2 * i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      four[4 * i] = _mm256_unpacklo_epi64(pair[4 * i], pair[4 * i + 2]);
      four[4 * i + 1] = _mm256_unpackhi_epi64(pair[4 * i], pair[4 * i + 2]);
      four[4 * i + 2] = _mm256_unpacklo_epi64(pair[4 * i + 1], pair[4 * i + 3]);
      four[4 * i + 3] = _mm256_unpackhi_epi64(pair[4 * i + 1], pair[4 * i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      half[h][i] = _mm256_permute2x128_si256(four[i], four[i + 4], 0x20);
      half[h][i + 4] = _mm256_permute2x128_si256(four[i], four[i + 4], 0x31);
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < 8; ++q) quads[q] = _mm512_inserti64x4(_mm512_castsi256_si512(half[0][q]), half[1][q], 1);
}

}  // namespace

void table_q8(const Table& table, const TableActivations& activations, std::size_t begin, std::size_t end, float* y,
              std::size_t y_stride, std::int32_t* integers) {
  const std::size_t width = table.groups * kColumnsPerTableGroup, rows = (end - begin) * kRowsPerGroup;
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
  for (std::size_t row_group = begin; row_group < end; ++row_group) {
    const std::size_t first_row = row_group * kRowsPerGroup, column = (row_group - begin) * kRowsPerGroup;
    for (std::size_t group = 0; group < table.groups; ++group) {
      const std::int8_t* pointers[kRowsPerGroup];
      alignas(32) std::uint16_t halves[kRowsPerGroup];
      for (std::size_t i = 0; i < kRowsPerGroup; ++i) {
        const std::size_t row = first_row + i;
        const bool is_stored = row < table.rows;
        pointers[i] = is_stored
                          ? static_cast<const std::int8_t*>(table.values) + row * width + group * kColumnsPerTableGroup
                          : nullptr;
        halves[i] = is_stored ? table.scales[row * table.groups + group] : static_cast<std::uint16_t>(0);
      }
      __m512i quads[8];
      transpose_codes(pointers, quads);
      __m512i code_sum = _mm512_setzero_si512();
#pragma GCC unroll 8
      for (int q = 0; q < 8; ++q) code_sum = _mm512_dpbusd_epi32(code_sum, flip, quads[q]);
      const __m512 scale = _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(halves)));
      for (std::size_t t = 0; t < activations.tokens; ++t) {
        const std::int8_t* x = activations.values + t * width + group * kColumnsPerTableGroup;
        __m512i sum = _mm512_setzero_si512(), other = sum;
#pragma GCC unroll 4
        for (int q = 0; q < 8; q += 2) {
          int quad[2];
          __builtin_memcpy(quad, x + 4 * q, sizeof quad);
          sum = _mm512_dpbusd_epi32(sum, _mm512_xor_si512(_mm512_set1_epi32(quad[0]), flip), quads[q]);
          other = _mm512_dpbusd_epi32(other, _mm512_xor_si512(_mm512_set1_epi32(quad[1]), flip), quads[q + 1]);
        }
        sum = _mm512_sub_epi32(_mm512_add_epi32(sum, other), code_sum);
        if (integers) {
          alignas(64) std::int32_t lanes[kRowsPerGroup];
          _mm512_store_si512(lanes, sum);
          for (std::size_t i = 0; i < kRowsPerGroup; ++i)
            integers[(t * rows + column + i) * table.groups + group] = lanes[i];
        }
        float* out = y + t * y_stride + column;
        __m512 accumulator = group == 0 ? _mm512_setzero_ps() : _mm512_loadu_ps(out);
        accumulator = _mm512_add_ps(accumulator, _mm512_mul_ps(scale, _mm512_cvtepi32_ps(sum)));
        if (group + 1 == table.groups) accumulator = _mm512_mul_ps(_mm512_set1_ps(activations.scales[t]), accumulator);
        _mm512_storeu_ps(out, accumulator);
      }
    }
  }
}

}  // namespace dbell::avx512vnni
