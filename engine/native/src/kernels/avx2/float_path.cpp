// Float path with AVX2 and FMA: codes and tables to float32 weights, and the panel product.
#include "kernels/avx2/base3.h"
#include "kernels/avx2/bits.h"
#include "kernels/avx2/kernels.h"

namespace dbell::avx2 {
namespace {

/// C tile of `count` rows × `panels` panels of 16 columns; the sum of each element runs over k ascending.
template <int count, int panels>
inline void multiply_tile(const float* a, std::size_t lda, std::size_t depth, const float* b, std::size_t ldb,
                          std::size_t panel_stride, float* c, std::size_t ldc, bool accumulate) {
  __m256 sums[count][2 * panels];
#pragma GCC unroll 6
  for (int t = 0; t < count; ++t) {
#pragma GCC unroll 8
    for (int i = 0; i < 2 * panels; ++i) {
      sums[t][i] = accumulate ? _mm256_loadu_ps(c + static_cast<std::size_t>(t) * ldc + static_cast<std::size_t>(i) * 8)
                              : _mm256_setzero_ps();
    }
  }
  for (std::size_t k = 0; k < depth; ++k) {
    __m256 weights[2 * panels];
#pragma GCC unroll 8
    for (int i = 0; i < 2 * panels; ++i) {
      weights[i] = _mm256_loadu_ps(b + static_cast<std::size_t>(i / 2) * panel_stride + k * ldb +
                                   static_cast<std::size_t>(i % 2) * 8);
    }
#pragma GCC unroll 6
    for (int t = 0; t < count; ++t) {
      const __m256 x = _mm256_broadcast_ss(a + static_cast<std::size_t>(t) * lda + k);
#pragma GCC unroll 8
      for (int i = 0; i < 2 * panels; ++i) sums[t][i] = _mm256_fmadd_ps(x, weights[i], sums[t][i]);
    }
  }
#pragma GCC unroll 6
  for (int t = 0; t < count; ++t) {
#pragma GCC unroll 8
    for (int i = 0; i < 2 * panels; ++i) {
      _mm256_storeu_ps(c + static_cast<std::size_t>(t) * ldc + static_cast<std::size_t>(i) * 8, sums[t][i]);
    }
  }
}

/// 8 × 8 floats: row i of the result is column i of `rows`.
inline void transpose(__m256* rows) {
  __m256 pair[8], four[8];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    pair[2 * i] = _mm256_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
    pair[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    four[4 * i] = _mm256_shuffle_ps(pair[4 * i], pair[4 * i + 2], 0x44);
    four[4 * i + 1] = _mm256_shuffle_ps(pair[4 * i], pair[4 * i + 2], 0xEE);
    four[4 * i + 2] = _mm256_shuffle_ps(pair[4 * i + 1], pair[4 * i + 3], 0x44);
    four[4 * i + 3] = _mm256_shuffle_ps(pair[4 * i + 1], pair[4 * i + 3], 0xEE);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    rows[i] = _mm256_permute2f128_ps(four[i], four[i + 4], 0x20);
    rows[i + 4] = _mm256_permute2f128_ps(four[i], four[i + 4], 0x31);
  }
}

}  // namespace

void multiply(const float* a, std::size_t lda, std::size_t tokens, std::size_t depth, const float* b, std::size_t ldb,
              std::size_t panel_stride, std::size_t panels, float* c, std::size_t ldc, bool accumulate) {
  std::size_t t = 0;
  for (; t + 6 <= tokens; t += 6) {
    for (std::size_t p = 0; p < panels; ++p) {
      multiply_tile<6, 1>(a + t * lda, lda, depth, b + p * panel_stride, ldb, panel_stride,
                          c + t * ldc + p * kRowsPerGroup, ldc, accumulate);
    }
  }
  // Few rows take more panels at once, to hide the latency of FMA.
  for (; t < tokens; ++t) {
    std::size_t p = 0;
    for (; p + 4 <= panels; p += 4) {
      multiply_tile<1, 4>(a + t * lda, lda, depth, b + p * panel_stride, ldb, panel_stride,
                          c + t * ldc + p * kRowsPerGroup, ldc, accumulate);
    }
    for (; p < panels; ++p) {
      multiply_tile<1, 1>(a + t * lda, lda, depth, b + p * panel_stride, ldb, panel_stride,
                          c + t * ldc + p * kRowsPerGroup, ldc, accumulate);
    }
  }
}

void expand(const PackedLinear& linear, std::size_t row_group, std::size_t block, const std::uint8_t* salient_mask,
            float* tile) {
  const std::size_t planes = static_cast<std::size_t>(linear.plane_count), quads = 8 * lines_of_block(linear, block);
  const __m256i one = _mm256_set1_epi8(1), low_byte = _mm256_set1_epi32(0xFF);
  const bool is_grid = linear.layout == LinearLayout::grid, is_base3 = linear.base3 != nullptr;
  std::uint8_t base3_codes[kQuadsPerBlock * kLineBytes];
  if (is_base3) unpack_base3(linear, row_group, block, base3_codes);
  const std::uint8_t* bytes =
      is_base3 ? base3_codes
               : linear.planes + (row_group * linear.lines + block * kLinesPerBlock) * planes * kLineBytes;
  for (std::size_t half = 0; half < 2; ++half) {
    __m256 scale = _mm256_setzero_ps(), offset = scale, centre = scale, level[8] = {};
    if (is_grid) {
      const std::size_t index = (row_group * linear.blocks + block) * kRowsPerGroup + half * 8;
      scale = half_floats(linear.scales + index);
      if (linear.offsets) offset = half_floats(linear.offsets + index);
      centre = _mm256_set1_ps(0.5f * static_cast<float>(linear.levels - 1));
    } else {
      load_levels(linear, row_group, block, half, level);
    }
    for (std::size_t quad = 0; quad < quads; ++quad) {
      const std::uint8_t* line = bytes + (is_base3 ? quad : quad / 8 * planes) * kLineBytes + half * kHalfBytes;
      const __m128i bit = _mm_cvtsi32_si128(static_cast<int>(quad % 8));
      __m256i code = is_base3 ? load_half(line) : _mm256_setzero_si256();
      for (std::size_t plane = 0; !is_base3 && plane < planes; ++plane) {
        const __m256i digit = _mm256_and_si256(_mm256_srl_epi16(load_half(line + plane * kLineBytes), bit), one);
        code = _mm256_or_si256(code, _mm256_sll_epi16(digit, _mm_cvtsi32_si128(static_cast<int>(plane))));
      }
      for (std::size_t j = 0; j < 4; ++j) {
        const std::size_t column = 4 * quad + j;
        const __m256i column_code =
            _mm256_and_si256(_mm256_srl_epi32(code, _mm_cvtsi32_si128(static_cast<int>(8 * j))), low_byte);
        __m256 weight;
        if (is_grid) {
          weight = _mm256_mul_ps(scale, _mm256_sub_ps(_mm256_cvtepi32_ps(column_code), centre));
          if (linear.offsets) weight = _mm256_add_ps(weight, offset);
        } else {
          const __m256* table = level + ((salient_mask[column / 8] >> (column % 8)) & 1 ? 4 : 0);
          // blendv looks at the sign bit.
          const __m256 a = _mm256_castsi256_ps(_mm256_slli_epi32(column_code, 31));
          const __m256 b = _mm256_castsi256_ps(_mm256_slli_epi32(column_code, 30));
          weight =
              _mm256_blendv_ps(_mm256_blendv_ps(table[0], table[1], a), _mm256_blendv_ps(table[2], table[3], a), b);
        }
        _mm256_storeu_ps(tile + column * kRowsPerGroup + half * 8, weight);
      }
    }
  }
  for (std::size_t i = 4 * quads * kRowsPerGroup; i < kColumnsPerBlock * kRowsPerGroup; i += 8) {
    _mm256_storeu_ps(tile + i, _mm256_setzero_ps());
  }
}

void expand_table(const Table& table, std::size_t row_group, std::size_t begin, std::size_t count, float* tile) {
  for (std::size_t half = 0; half < 2; ++half) {
    const std::size_t first_row = row_group * kRowsPerGroup + half * 8;
    std::size_t column = 0;
    for (; column + 8 <= count; column += 8) {
      __m256 rows[8];
#pragma GCC unroll 8
      for (std::size_t i = 0; i < 8; ++i) {
        rows[i] = _mm256_setzero_ps();
        if (first_row + i < table.rows) {
          const std::size_t at = (first_row + i) * table.columns + begin + column;
          rows[i] = table.type == TableType::f16 ? half_floats(static_cast<const std::uint16_t*>(table.values) + at)
                                                 : _mm256_loadu_ps(static_cast<const float*>(table.values) + at);
        }
      }
      transpose(rows);
#pragma GCC unroll 8
      for (std::size_t i = 0; i < 8; ++i) _mm256_storeu_ps(tile + (column + i) * kRowsPerGroup + half * 8, rows[i]);
    }
    for (; column < count; ++column) {
      for (std::size_t i = 0; i < 8; ++i) {
        float value = 0.0f;
        if (first_row + i < table.rows) {
          const std::size_t at = (first_row + i) * table.columns + begin + column;
          value = table.type == TableType::f16 ? _cvtsh_ss(static_cast<const std::uint16_t*>(table.values)[at])
                                               : static_cast<const float*>(table.values)[at];
        }
        tile[column * kRowsPerGroup + half * 8 + i] = value;
      }
    }
  }
}

}  // namespace dbell::avx2
