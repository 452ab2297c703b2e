// Vector functions and 8-bit tables with AVX2.
#include "kernels/avx2/bits.h"
#include "kernels/avx2/kernels.h"
#include "kernels/exponential.h"

namespace dbell::avx2 {
namespace {

/// Lanes below `count` set.
inline __m256i lane_mask(std::size_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/// c_j·x_j of up to 8 elements, zero beyond.
inline __m256 load_scaled(const float* x, const float* column_scale, std::size_t left) {
  if (left >= 8) {
    const __m256 value = _mm256_loadu_ps(x);
    return column_scale ? _mm256_mul_ps(_mm256_loadu_ps(column_scale), value) : value;
  }
  const __m256i mask = lane_mask(left);
  const __m256 value = _mm256_maskload_ps(x, mask);
  return column_scale ? _mm256_mul_ps(_mm256_maskload_ps(column_scale, mask), value) : value;
}

/// 8 rows × 32 codes to 8 registers: quad q holds columns 4q … 4q + 3 of row i in lane i. A null row is zero.
inline void transpose_codes(const std::int8_t* const* rows, __m256i* quads) {
  __m256i row[8], pair[8], four[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    row[i] = rows[i] ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[i])) : _mm256_setzero_si256();
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
    quads[i] = _mm256_permute2x128_si256(four[i], four[i + 4], 0x20);
    quads[i + 4] = _mm256_permute2x128_si256(four[i], four[i + 4], 0x31);
  }
}

}  // namespace

float quantize(const float* x, const float* column_scale, std::size_t count, int limit, std::int8_t* quantized) {
  const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);
  // Magnitudes are compared as integers: those of infinities and NaN are larger than those of every number.
  __m256i largest = _mm256_setzero_si256();
  for (std::size_t j = 0; j < count; j += 8) {
    const __m256 value = load_scaled(x + j, column_scale ? column_scale + j : nullptr, count - j);
    largest = _mm256_max_epi32(largest, _mm256_and_si256(_mm256_castps_si256(value), magnitude));
  }
  alignas(32) std::int32_t lanes[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), largest);
  std::int32_t largest_bits = 0;
  for (int i = 0; i < 8; ++i) largest_bits = lanes[i] > largest_bits ? lanes[i] : largest_bits;
  if (largest_bits >= 0x7F800000) return -1.0f;
  float absolute_maximum;
  __builtin_memcpy(&absolute_maximum, &largest_bits, sizeof absolute_maximum);
  const float bound = static_cast<float>(limit);
  float scale = absolute_maximum / bound;
  if (scale == 0.0f) scale = 1.0f;
  const __m256 divisor = _mm256_set1_ps(scale), upper = _mm256_set1_ps(bound), lower = _mm256_set1_ps(-bound);
  for (std::size_t j = 0; j < count; j += 8) {
    const std::size_t left = count - j < 8 ? count - j : 8;
    __m256 value = _mm256_div_ps(load_scaled(x + j, column_scale ? column_scale + j : nullptr, count - j), divisor);
    value = _mm256_max_ps(_mm256_min_ps(value, upper), lower);
    // Rounds by the current mode: to nearest, ties to even.
    const __m256i integer = _mm256_cvtps_epi32(value);
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(integer), _mm256_extracti128_si256(integer, 1));
    const __m128i bytes = _mm_packs_epi16(words, words);
    if (left == 8) {
      _mm_storel_epi64(reinterpret_cast<__m128i*>(quantized + j), bytes);
    } else {
      alignas(16) std::int8_t rest[16];
      _mm_store_si128(reinterpret_cast<__m128i*>(rest), bytes);
      for (std::size_t i = 0; i < left; ++i) quantized[j + i] = rest[i];
    }
  }
  return scale;
}

void exponentials(float* x, std::size_t count, float maximum) {
  const __m256 inverse_ln2 = _mm256_set1_ps(kInverseLn2), ln2_high = _mm256_set1_ps(kLn2High),
               ln2_low = _mm256_set1_ps(kLn2Low), one = _mm256_set1_ps(1.0f);
  const __m256 lowest = _mm256_set1_ps(kLowestExponent), highest = _mm256_set1_ps(kHighestExponent);
  for (std::size_t j = 0; j < count; j += 8) {
    const bool is_whole = count - j >= 8;
    const __m256i mask = lane_mask(count - j < 8 ? count - j : 8);
    const __m256 loaded = is_whole ? _mm256_loadu_ps(x + j) : _mm256_maskload_ps(x + j, mask);
    const __m256 value = _mm256_sub_ps(loaded, _mm256_set1_ps(maximum));
    const __m256 clamped = _mm256_min_ps(_mm256_max_ps(value, lowest), highest);
    const __m256 n =
        _mm256_round_ps(_mm256_mul_ps(clamped, inverse_ln2), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m256 r = _mm256_sub_ps(_mm256_sub_ps(clamped, _mm256_mul_ps(n, ln2_high)), _mm256_mul_ps(n, ln2_low));
    __m256 sum = _mm256_set1_ps(kExponentialCoefficients[0]);
#pragma GCC unroll 4
    for (int i = 1; i < 5; ++i)
      sum = _mm256_add_ps(_mm256_mul_ps(sum, r), _mm256_set1_ps(kExponentialCoefficients[i]));
    sum = _mm256_add_ps(_mm256_mul_ps(sum, r), one);
    sum = _mm256_add_ps(_mm256_mul_ps(sum, r), one);
    const __m256i exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    __m256 result = _mm256_mul_ps(sum, _mm256_castsi256_ps(exponent));
    result = _mm256_andnot_ps(_mm256_cmp_ps(value, lowest, _CMP_LT_OQ), result);
    if (is_whole) {
      _mm256_storeu_ps(x + j, result);
    } else {
      _mm256_maskstore_ps(x + j, mask, result);
    }
  }
}

void table_q8(const Table& table, const TableActivations& activations, std::size_t begin, std::size_t end, float* y,
              std::size_t y_stride, std::int32_t* integers) {
  const std::size_t width = table.groups * kColumnsPerTableGroup, rows = (end - begin) * kRowsPerGroup;
  for (std::size_t eight = 2 * begin; eight < 2 * end; ++eight) {
    const std::size_t first_row = eight * 8, column = (eight - 2 * begin) * 8;
    for (std::size_t group = 0; group < table.groups; ++group) {
      const std::int8_t* pointers[8];
      alignas(16) std::uint16_t halves[8];
      for (std::size_t i = 0; i < 8; ++i) {
        const std::size_t row = first_row + i;
        const bool is_stored = row < table.rows;
        pointers[i] = is_stored
                          ? static_cast<const std::int8_t*>(table.values) + row * width + group * kColumnsPerTableGroup
                          : nullptr;
        halves[i] = is_stored ? table.scales[row * table.groups + group] : static_cast<std::uint16_t>(0);
      }
      __m256i quads[8];
      transpose_codes(pointers, quads);
      const __m256 scale = half_floats(halves);
      for (std::size_t t = 0; t < activations.tokens; ++t) {
        const std::int8_t* x = activations.values + t * width + group * kColumnsPerTableGroup;
        __m256i sum = _mm256_setzero_si256();
        // |code| ≤ 128 as the unsigned operand, ±x̂ with the code's sign as the signed one: a pair is at most 2·128·127
        // = 32512 and does not saturate.
#pragma GCC unroll 8
        for (std::size_t q = 0; q < 8; ++q) {
          const __m256i values = _mm256_sign_epi8(broadcast_quad(x + 4 * q), quads[q]);
          sum = _mm256_add_epi32(sum, widen(_mm256_maddubs_epi16(_mm256_abs_epi8(quads[q]), values)));
        }
        if (integers) {
          alignas(32) std::int32_t lanes[8];
          _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), sum);
          for (std::size_t i = 0; i < 8; ++i) integers[(t * rows + column + i) * table.groups + group] = lanes[i];
        }
        float* out = y + t * y_stride + column;
        __m256 accumulator = group == 0 ? _mm256_setzero_ps() : _mm256_loadu_ps(out);
        accumulator = _mm256_add_ps(accumulator, _mm256_mul_ps(scale, _mm256_cvtepi32_ps(sum)));
        if (group + 1 == table.groups) accumulator = _mm256_mul_ps(_mm256_set1_ps(activations.scales[t]), accumulator);
        _mm256_storeu_ps(out, accumulator);
      }
    }
  }
}

}  // namespace dbell::avx2
