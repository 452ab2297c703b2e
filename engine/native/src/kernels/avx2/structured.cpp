// Integer path of the structured layout with AVX2: three masked sums over all columns, three over the salient ones; the
// ordinary sums are their exact differences. Bits are 0 or 1, so an int16 lane holds at most 2·127·32 = 8128 at the end
// of a block: maddubs cannot saturate.
#include "kernels/avx2/bits.h"
#include "kernels/avx2/kernels.h"

namespace dbell::avx2 {
namespace {

inline __m256 add_levels(__m256 accumulator, const __m256* level, __m256i a, __m256i b, __m256i ab, std::int32_t x) {
  const __m256i s10 = _mm256_sub_epi32(a, ab), s01 = _mm256_sub_epi32(b, ab);
  const __m256i s00 = _mm256_sub_epi32(_mm256_sub_epi32(_mm256_set1_epi32(x), a), s01);
  accumulator = _mm256_add_ps(accumulator, _mm256_mul_ps(level[0], _mm256_cvtepi32_ps(s00)));
  accumulator = _mm256_add_ps(accumulator, _mm256_mul_ps(level[1], _mm256_cvtepi32_ps(s10)));
  accumulator = _mm256_add_ps(accumulator, _mm256_mul_ps(level[2], _mm256_cvtepi32_ps(s01)));
  return _mm256_add_ps(accumulator, _mm256_mul_ps(level[3], _mm256_cvtepi32_ps(ab)));
}

/// Bits of plane 0, plane 1 and both, as bytes 0 or 1, [3, 2 halves, quads, 32].
void unpack_bits(const PackedLinear& linear, std::size_t group, std::size_t block, std::uint8_t* bits) {
  const std::uint8_t* bytes = linear.planes + (group * linear.lines + block * kLinesPerBlock) * 2 * kLineBytes;
  const __m256i one = _mm256_set1_epi8(1);
  const std::size_t quads = 8 * lines_of_block(linear, block);
  for (std::size_t half = 0; half < 2; ++half) {
    for (std::size_t quad = 0; quad < quads; ++quad) {
      const std::uint8_t* line = bytes + quad / 8 * 2 * kLineBytes + half * kHalfBytes;
      const __m128i shift = _mm_cvtsi32_si128(static_cast<int>(quad % 8));
      const __m256i a = _mm256_and_si256(_mm256_srl_epi16(load_half(line), shift), one);
      const __m256i b = _mm256_and_si256(_mm256_srl_epi16(load_half(line + kLineBytes), shift), one);
      const __m256i value[3] = {a, b, _mm256_and_si256(a, b)};
      for (std::size_t i = 0; i < 3; ++i) {
        _mm256_store_si256(reinterpret_cast<__m256i*>(bits + ((i * 2 + half) * kQuadsPerBlock + quad) * kHalfBytes),
                           value[i]);
      }
    }
  }
}

template <int count>
inline void add_quad(const std::uint8_t* half_bits, std::size_t quad, const std::int8_t* x, __m256i (*sums)[3]) {
  constexpr std::size_t kArrayBytes = 2 * kQuadsPerBlock * kHalfBytes;
#pragma GCC unroll 4
  for (int t = 0; t < count; ++t) {
    const __m256i values = broadcast_quad(x + static_cast<std::size_t>(t) * kColumnsPerBlock + 4 * quad);
#pragma GCC unroll 3
    for (std::size_t i = 0; i < 3; ++i) {
      const __m256i bit = load_half(half_bits + i * kArrayBytes + quad * kHalfBytes);
      sums[t][i] = _mm256_add_epi16(sums[t][i], _mm256_maddubs_epi16(bit, values));
    }
  }
}

template <int count>
inline void multiply_block(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t group,
                           std::size_t half, std::size_t block, const std::uint8_t* bits, const __m256* level,
                           std::size_t token, float* accumulators, std::int32_t* integers) {
  const std::size_t row = (block * activations.tokens + token) * kColumnsPerBlock;
  const std::uint8_t* half_bits = bits + half * kQuadsPerBlock * kHalfBytes;
  __m256i all[count][3], salient[count][3];
#pragma GCC unroll 4
  for (int t = 0; t < count; ++t) all[t][0] = all[t][1] = all[t][2] = _mm256_setzero_si256();
  const std::size_t quads = 8 * lines_of_block(linear, block);
  for (std::size_t quad = 0; quad < quads; ++quad) add_quad<count>(half_bits, quad, activations.values + row, all);
#pragma GCC unroll 4
  for (int t = 0; t < count; ++t) salient[t][0] = salient[t][1] = salient[t][2] = _mm256_setzero_si256();
  for (std::uint32_t left = activations.salient_quads[block]; left != 0; left &= left - 1) {
    add_quad<count>(half_bits, static_cast<std::size_t>(__builtin_ctz(left)), activations.salient_values + row,
                    salient);
  }
  for (std::size_t t = 0; t < static_cast<std::size_t>(count); ++t) {
    __m256i sum[kStructuredIntegers];
    for (std::size_t i = 0; i < 3; ++i) {
      sum[i + 3] = widen(salient[t][i]);
      sum[i] = _mm256_sub_epi32(widen(all[t][i]), sum[i + 3]);
    }
    if (integers) {
      alignas(32) std::int32_t lanes[kStructuredIntegers][8];
      for (std::size_t i = 0; i < kStructuredIntegers; ++i)
        _mm256_store_si256(reinterpret_cast<__m256i*>(lanes[i]), sum[i]);
      for (std::size_t lane = 0; lane < 8; ++lane) {
        const std::size_t out_row = ((token + t) * linear.row_groups + group) * kRowsPerGroup + half * 8 + lane;
        std::int32_t* out = integers + (out_row * linear.blocks + block) * kStructuredIntegers;
        for (std::size_t i = 0; i < kStructuredIntegers; ++i) out[i] = lanes[i][lane];
      }
    }
    const std::size_t index = block * activations.tokens + token + t;
    const std::int32_t salient_sum = activations.salient_sums[index];
    float* accumulator = accumulators + t * kRowsPerGroup + half * 8;
    __m256 value = block == 0 ? _mm256_setzero_ps() : _mm256_load_ps(accumulator);
    value = add_levels(value, level, sum[0], sum[1], sum[2], activations.block_sums[index] - salient_sum);
    _mm256_store_ps(accumulator, add_levels(value, level + 4, sum[3], sum[4], sum[5], salient_sum));
  }
}

}  // namespace

void structured(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t begin, std::size_t end,
                float* y, std::size_t y_stride, std::int32_t* integers) {
  alignas(32) std::uint8_t bits[3 * 2 * kQuadsPerBlock * kHalfBytes];
  alignas(32) float accumulators[kTokensPerPass * kRowsPerGroup];
  for (std::size_t group = begin; group < end; ++group) {
    for (std::size_t first = 0; first < activations.tokens; first += kTokensPerPass) {
      const std::size_t left = activations.tokens - first, tokens = left < kTokensPerPass ? left : kTokensPerPass;
      for (std::size_t block = 0; block < linear.blocks; ++block) {
        unpack_bits(linear, group, block, bits);
        for (std::size_t half = 0; half < 2; ++half) {
          __m256 level[8];
          load_levels(linear, group, block, half, level);
          std::size_t t = 0;
          for (; t + 4 <= tokens; t += 4) {
            multiply_block<4>(linear, activations, group, half, block, bits, level, first + t,
                              accumulators + t * kRowsPerGroup, integers);
          }
          for (; t < tokens; ++t) {
            multiply_block<1>(linear, activations, group, half, block, bits, level, first + t,
                              accumulators + t * kRowsPerGroup, integers);
          }
        }
      }
      for (std::size_t t = 0; t < tokens; ++t) {
        for (std::size_t half = 0; half < 2; ++half) {
          const std::size_t row = group * kRowsPerGroup + half * 8;
          const __m256 accumulator = _mm256_load_ps(accumulators + t * kRowsPerGroup + half * 8);
          _mm256_storeu_ps(y + (first + t) * y_stride + row,
                           _mm256_add_ps(_mm256_loadu_ps(linear.bias + row),
                                         _mm256_mul_ps(_mm256_set1_ps(activations.scales[first + t]), accumulator)));
        }
      }
    }
  }
}

}  // namespace dbell::avx2
