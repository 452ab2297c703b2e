// Integer path of the grid layout with AVX2. maddubs multiplies unsigned codes with signed activations and adds pairs
// into int16, saturating; codes are taken in digits of at most four planes, so that a pair is at most 2·15·127 = 3810
// and 8 of them (one line) fit, or 32 (a block) of one or two planes (2·3·127·32 = 24384): nothing ever saturates and
// every sum is exact.
#include "kernels/avx2/base3.h"
#include "kernels/avx2/grid_block.h"
#include "kernels/avx2/kernels.h"

namespace dbell::avx2 {
namespace {

constexpr int kPlanesPerDigit = 4;
constexpr int kMaximumDigits = 2;

/// One token, plane by plane.
void decode(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t group, float* y,
            std::int32_t* integers) {
  const std::size_t planes = static_cast<std::size_t>(linear.plane_count);
  const __m256i one = _mm256_set1_epi8(1);
  const std::uint8_t* block_bytes = linear.planes + group * linear.lines * planes * kLineBytes;
  __m256 accumulator[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for (std::size_t block = 0; block < linear.blocks; ++block) {
    const std::size_t lines = lines_of_block(linear, block);
    const std::int8_t* x = activations.values + block * kColumnsPerBlock;
    __m256i total[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (std::size_t plane = 0; plane < planes; ++plane) {
      __m256i sums[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
      for (std::size_t line = 0; line < lines; ++line) {
        const std::uint8_t* bytes = block_bytes + (line * planes + plane) * kLineBytes;
        _mm_prefetch(reinterpret_cast<const char*>(bytes) + kPrefetchBytes, _MM_HINT_T0);
        __m256i low = load_half(bytes), high = load_half(bytes + kHalfBytes);
#pragma GCC unroll 8
        for (std::size_t bit = 0; bit < 8; ++bit) {
          const __m256i values = broadcast_quad(x + line * kColumnsPerLine + 4 * bit);
          sums[0] = _mm256_add_epi16(sums[0], _mm256_maddubs_epi16(_mm256_and_si256(low, one), values));
          sums[1] = _mm256_add_epi16(sums[1], _mm256_maddubs_epi16(_mm256_and_si256(high, one), values));
          low = _mm256_srli_epi16(low, 1);
          high = _mm256_srli_epi16(high, 1);
        }
      }
      const __m128i shift = _mm_cvtsi32_si128(static_cast<int>(plane));
      total[0] = _mm256_add_epi32(total[0], _mm256_sll_epi32(widen(sums[0]), shift));
      total[1] = _mm256_add_epi32(total[1], _mm256_sll_epi32(widen(sums[1]), shift));
    }
    block_bytes += lines * planes * kLineBytes;
    for (std::size_t half = 0; half < 2; ++half) {
      accumulator[half] = add_block(linear, group, half, block, total[half], activations.block_sums[block], 0,
                                    accumulator[half], integers);
    }
  }
  for (std::size_t half = 0; half < 2; ++half) {
    const std::size_t row = group * kRowsPerGroup + half * 8;
    finish(linear, row, activations.scales[0], accumulator[half], y + row);
  }
}

/// Codes of one row group and block as bytes, one array [quads, 16 rows, 4 columns] for each digit of four planes.
void unpack_codes(const PackedLinear& linear, std::size_t group, std::size_t block, std::uint8_t* codes) {
  if (linear.base3 != nullptr) return unpack_base3(linear, group, block, codes);
  const std::size_t planes = static_cast<std::size_t>(linear.plane_count), quads = 8 * lines_of_block(linear, block);
  const std::uint8_t* bytes = linear.planes + (group * linear.lines + block * kLinesPerBlock) * planes * kLineBytes;
  const __m256i one = _mm256_set1_epi8(1);
  for (std::size_t quad = 0; quad < quads; ++quad) {
    const __m128i bit = _mm_cvtsi32_si128(static_cast<int>(quad % 8));
    for (std::size_t half = 0; half < 2; ++half) {
      const std::uint8_t* line = bytes + quad / 8 * planes * kLineBytes + half * kHalfBytes;
      for (std::size_t first = 0; first < planes; first += kPlanesPerDigit) {
        __m256i code = _mm256_setzero_si256();
        for (std::size_t plane = first; plane < planes && plane < first + kPlanesPerDigit; ++plane) {
          const __m256i digit = _mm256_and_si256(_mm256_srl_epi16(load_half(line + plane * kLineBytes), bit), one);
          code = _mm256_or_si256(code, _mm256_sll_epi16(digit, _mm_cvtsi32_si128(static_cast<int>(plane - first))));
        }
        std::uint8_t* out = codes + (first / kPlanesPerDigit * kQuadsPerBlock + quad) * kLineBytes + half * kHalfBytes;
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), code);
      }
    }
  }
}

/// `count` tokens from `token` on against the unpacked codes of a row group.
template <int count>
inline void multiply_block(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t group,
                           std::size_t block, const std::uint8_t* codes, std::size_t token, float* accumulators,
                           std::int32_t* integers) {
  const std::int8_t* x = activations.values + (block * activations.tokens + token) * kColumnsPerBlock;
  const std::size_t quads = 8 * lines_of_block(linear, block);
  const std::size_t quads_before_widening = linear.plane_count <= 2 ? kQuadsPerBlock : 8;
  __m256i total[count][2];
  for (int t = 0; t < count; ++t) total[t][0] = total[t][1] = _mm256_setzero_si256();
  for (int digit = 0; digit * kPlanesPerDigit < linear.plane_count; ++digit) {
    const __m128i shift = _mm_cvtsi32_si128(digit * kPlanesPerDigit);
    const std::uint8_t* digit_codes = codes + static_cast<std::size_t>(digit) * kQuadsPerBlock * kLineBytes;
    for (std::size_t first = 0; first < quads; first += quads_before_widening) {
      const std::size_t last = first + quads_before_widening < quads ? first + quads_before_widening : quads;
      __m256i sums[count][2];
#pragma GCC unroll 4
      for (int t = 0; t < count; ++t) sums[t][0] = sums[t][1] = _mm256_setzero_si256();
      for (std::size_t quad = first; quad < last; ++quad) {
        const __m256i low = load_half(digit_codes + quad * kLineBytes),
                      high = load_half(digit_codes + quad * kLineBytes + kHalfBytes);
#pragma GCC unroll 4
        for (int t = 0; t < count; ++t) {
          const __m256i values = broadcast_quad(x + static_cast<std::size_t>(t) * kColumnsPerBlock + 4 * quad);
          sums[t][0] = _mm256_add_epi16(sums[t][0], _mm256_maddubs_epi16(low, values));
          sums[t][1] = _mm256_add_epi16(sums[t][1], _mm256_maddubs_epi16(high, values));
        }
      }
#pragma GCC unroll 4
      for (int t = 0; t < count; ++t) {
        total[t][0] = _mm256_add_epi32(total[t][0], _mm256_sll_epi32(widen(sums[t][0]), shift));
        total[t][1] = _mm256_add_epi32(total[t][1], _mm256_sll_epi32(widen(sums[t][1]), shift));
      }
    }
  }
  const std::int32_t* block_sums = activations.block_sums + block * activations.tokens + token;
  for (std::size_t t = 0; t < static_cast<std::size_t>(count); ++t) {
    for (std::size_t half = 0; half < 2; ++half) {
      float* accumulator = accumulators + t * kRowsPerGroup + half * 8;
      const __m256 before = block == 0 ? _mm256_setzero_ps() : _mm256_load_ps(accumulator);
      _mm256_store_ps(accumulator, add_block(linear, group, half, block, total[t][half], block_sums[t], token + t,
                                             before, integers));
    }
  }
}

void prefill(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t group, float* y,
             std::size_t y_stride, std::int32_t* integers) {
  alignas(32) std::uint8_t codes[kMaximumDigits * kQuadsPerBlock * kLineBytes];
  alignas(32) float accumulators[kTokensPerPass * kRowsPerGroup];
  for (std::size_t first = 0; first < activations.tokens; first += kTokensPerPass) {
    const std::size_t left = activations.tokens - first, tokens = left < kTokensPerPass ? left : kTokensPerPass;
    for (std::size_t block = 0; block < linear.blocks; ++block) {
      unpack_codes(linear, group, block, codes);
      std::size_t t = 0;
      for (; t + 4 <= tokens; t += 4) {
        multiply_block<4>(linear, activations, group, block, codes, first + t, accumulators + t * kRowsPerGroup,
                          integers);
      }
      for (; t < tokens; ++t) {
        multiply_block<1>(linear, activations, group, block, codes, first + t, accumulators + t * kRowsPerGroup,
                          integers);
      }
    }
    for (std::size_t t = 0; t < tokens; ++t) {
      for (std::size_t half = 0; half < 2; ++half) {
        const std::size_t row = group * kRowsPerGroup + half * 8;
        finish(linear, row, activations.scales[first + t],
               _mm256_load_ps(accumulators + t * kRowsPerGroup + half * 8), y + (first + t) * y_stride + row);
      }
    }
  }
}

}  // namespace

void grid(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t begin, std::size_t end,
          float* y, std::size_t y_stride, std::int32_t* integers) {
  for (std::size_t group = begin; group < end; ++group) {
    if (activations.tokens == 1 && linear.base3 != nullptr) {
      decode_base3(linear, activations, group, y, integers);
    } else if (activations.tokens == 1) {
      decode(linear, activations, group, y, integers);
    } else {
      prefill(linear, activations, group, y, y_stride, integers);
    }
  }
}

}  // namespace dbell::avx2
