// Vector functions with AVX2, for every set that has it: they gain nothing from wider registers.
#include "kernels/avx2/kernels.h"
#include "kernels/exponential.h"

#include <immintrin.h>

#include <cstring>

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
  std::memcpy(&absolute_maximum, &largest_bits, sizeof absolute_maximum);
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

}  // namespace dbell::avx2
