// Float path with AVX-512: codes of one row group and block to float32 weights, and the panel product with FMA.
#include "kernels/avx512vnni/base3.h"
#include "kernels/avx512vnni/kernels.h"
#include "kernels/avx512vnni/vector.h"

namespace dbell::avx512vnni {
namespace {

/// C tile of `count` rows × `panels` panels; the sum of each element runs over k ascending.
template <int count, int panels>
inline void multiply_tile(const float* a, std::size_t lda, std::size_t depth, const float* b, std::size_t ldb,
                          std::size_t panel_stride, float* c, std::size_t ldc, bool accumulate) {
  __m512 sums[count][panels];
#pragma GCC unroll 12
  for (int t = 0; t < count; ++t) {
#pragma GCC unroll 8
    for (int p = 0; p < panels; ++p) {
      sums[t][p] =
          accumulate
              ? _mm512_loadu_ps(c + static_cast<std::size_t>(t) * ldc + static_cast<std::size_t>(p) * kRowsPerGroup)
              : _mm512_setzero_ps();
    }
  }
  for (std::size_t k = 0; k < depth; ++k) {
    __m512 weights[panels];
#pragma GCC unroll 8
    for (int p = 0; p < panels; ++p)
      weights[p] = _mm512_loadu_ps(b + static_cast<std::size_t>(p) * panel_stride + k * ldb);
#pragma GCC unroll 12
    for (int t = 0; t < count; ++t) {
      const __m512 x = _mm512_set1_ps(a[static_cast<std::size_t>(t) * lda + k]);
#pragma GCC unroll 8
      for (int p = 0; p < panels; ++p) sums[t][p] = _mm512_fmadd_ps(x, weights[p], sums[t][p]);
    }
  }
#pragma GCC unroll 12
  for (int t = 0; t < count; ++t) {
#pragma GCC unroll 8
    for (int p = 0; p < panels; ++p) {
      _mm512_storeu_ps(c + static_cast<std::size_t>(t) * ldc + static_cast<std::size_t>(p) * kRowsPerGroup, sums[t][p]);
    }
  }
}

/// All rows of C for `panels` adjacent panels; few rows take more panels at once, to hide the latency of FMA.
template <int panels>
void multiply_panels(const float* a, std::size_t lda, std::size_t tokens, std::size_t depth, const float* b,
                     std::size_t ldb, std::size_t panel_stride, float* c, std::size_t ldc, bool accumulate) {
  std::size_t t = 0;
  if constexpr (panels <= 2) {
    for (; t + 12 <= tokens; t += 12) {
      multiply_tile<12, panels>(a + t * lda, lda, depth, b, ldb, panel_stride, c + t * ldc, ldc, accumulate);
    }
  }
  for (; t + 4 <= tokens; t += 4) {
    multiply_tile<4, panels>(a + t * lda, lda, depth, b, ldb, panel_stride, c + t * ldc, ldc, accumulate);
  }
  for (; t < tokens; ++t) {
    multiply_tile<1, panels>(a + t * lda, lda, depth, b, ldb, panel_stride, c + t * ldc, ldc, accumulate);
  }
}

}  // namespace

void multiply(const float* a, std::size_t lda, std::size_t tokens, std::size_t depth, const float* b, std::size_t ldb,
              std::size_t panel_stride, std::size_t panels, float* c, std::size_t ldc, bool accumulate) {
  std::size_t p = 0;
  if (tokens < 12) {
    for (; p + 4 <= panels; p += 4) {
      multiply_panels<4>(a, lda, tokens, depth, b + p * panel_stride, ldb, panel_stride, c + p * kRowsPerGroup, ldc,
                         accumulate);
    }
  }
  for (; p + 2 <= panels; p += 2) {
    multiply_panels<2>(a, lda, tokens, depth, b + p * panel_stride, ldb, panel_stride, c + p * kRowsPerGroup, ldc,
                       accumulate);
  }
  if (p < panels) {
    multiply_panels<1>(a, lda, tokens, depth, b + p * panel_stride, ldb, panel_stride, c + p * kRowsPerGroup, ldc,
                       accumulate);
  }
}

void expand(const PackedLinear& linear, std::size_t row_group, std::size_t block, const std::uint8_t* salient_mask,
            float* tile) {
  const std::size_t planes = static_cast<std::size_t>(linear.plane_count), left = linear.lines - block * kLinesPerBlock;
  const std::size_t quads = 8 * (left < kLinesPerBlock ? left : kLinesPerBlock);
  const __m512i one = _mm512_set1_epi8(1), low_byte = _mm512_set1_epi32(0xFF);
  const bool is_grid = linear.layout == LinearLayout::grid, is_base3 = linear.base3 != nullptr;
  alignas(64) std::uint8_t base3_codes[kQuadsPerBlock * kLineBytes];
  if (is_base3) unpack_base3(linear, row_group, block, base3_codes);
  const std::uint8_t* bytes =
      is_base3 ? base3_codes
               : linear.planes + (row_group * linear.lines + block * kLinesPerBlock) * planes * kLineBytes;
  __m512 scale = _mm512_setzero_ps(), offset = scale, centre = scale, level[8] = {};
  if (is_grid) {
    const std::size_t index = (row_group * linear.blocks + block) * kRowsPerGroup;
    scale = half_row(linear.scales + index);
    if (linear.offsets) offset = half_row(linear.offsets + index);
    centre = _mm512_set1_ps(0.5f * static_cast<float>(linear.levels - 1));
  } else {
    const std::uint16_t* values =
        linear.structured_values + (row_group * linear.blocks + block) * kStructuredValues * kRowsPerGroup;
    __m512 value[kStructuredValues];
    for (std::size_t i = 0; i < kStructuredValues; ++i) value[i] = half_row(values + i * kRowsPerGroup);
    const __m512 lower = _mm512_sub_ps(value[4], value[5]), upper = _mm512_add_ps(value[4], value[5]);
    level[0] = _mm512_sub_ps(value[0], value[1]);
    level[1] = _mm512_add_ps(value[0], value[1]);
    level[2] = _mm512_sub_ps(value[2], value[3]);
    level[3] = _mm512_add_ps(value[2], value[3]);
    level[4] = _mm512_sub_ps(lower, value[6]);
    level[5] = _mm512_sub_ps(upper, value[6]);
    level[6] = _mm512_add_ps(lower, value[6]);
    level[7] = _mm512_add_ps(upper, value[6]);
  }
  for (std::size_t quad = 0; quad < quads; ++quad) {
    const std::uint8_t* line = bytes + (is_base3 ? quad : quad / 8 * planes) * kLineBytes;
    __m512i code = is_base3 ? _mm512_load_si512(line) : _mm512_setzero_si512();
    for (std::size_t plane = 0; !is_base3 && plane < planes; ++plane) {
      const __m512i bits = _mm512_loadu_si512(line + plane * kLineBytes);
      const __m512i digit =
          _mm512_and_si512(_mm512_srl_epi16(bits, _mm_cvtsi32_si128(static_cast<int>(quad % 8))), one);
      code = _mm512_or_si512(code, _mm512_sll_epi16(digit, _mm_cvtsi32_si128(static_cast<int>(plane))));
    }
    for (std::size_t j = 0; j < 4; ++j) {
      const std::size_t column = 4 * quad + j;
      const __m512i column_code =
          _mm512_and_si512(_mm512_srl_epi32(code, _mm_cvtsi32_si128(static_cast<int>(8 * j))), low_byte);
      __m512 weight;
      if (is_grid) {
        weight = _mm512_mul_ps(scale, _mm512_sub_ps(_mm512_cvtepi32_ps(column_code), centre));
        if (linear.offsets) weight = _mm512_add_ps(weight, offset);
      } else {
        const __m512* table = level + ((salient_mask[column / 8] >> (column % 8)) & 1 ? 4 : 0);
        const __mmask16 a = _mm512_test_epi32_mask(column_code, _mm512_set1_epi32(1));
        const __mmask16 b = _mm512_test_epi32_mask(column_code, _mm512_set1_epi32(2));
        weight = _mm512_mask_blend_ps(b, _mm512_mask_blend_ps(a, table[0], table[1]),
                                      _mm512_mask_blend_ps(a, table[2], table[3]));
      }
      _mm512_storeu_ps(tile + column * kRowsPerGroup, weight);
    }
  }
  for (std::size_t column = 4 * quads; column < kColumnsPerBlock; ++column) {
    _mm512_storeu_ps(tile + column * kRowsPerGroup, _mm512_setzero_ps());
  }
}

}  // namespace dbell::avx512vnni
