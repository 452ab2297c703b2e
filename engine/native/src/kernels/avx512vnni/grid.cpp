// Integer path of the grid layout with AVX-512 VNNI. dpbusd multiplies unsigned bytes (bits or codes of 16 rows × 4
// columns) with signed ones (four activations, broadcast) into int32 lanes, one lane a row; it does not saturate, so
// every sum is exact.
#include "kernels/avx512vnni/base3.h"
#include "kernels/avx512vnni/grid_block.h"
#include "kernels/avx512vnni/kernels.h"

namespace dbell::avx512vnni {
namespace {

/// One token. AND with a bit's mask leaves 2^bit·(0 or 1) in each byte; plane p counts 2^p, so all (bit, plane) pairs
/// of the same bit − p share one accumulator, whose sum is shifted into place at the end of the block (each addend is a
/// multiple of 2^(bit − p): nothing is lost).
template <int planes>
void decode(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t begin, std::size_t end,
            float* y, std::int32_t* integers) {
  for (std::size_t group = begin; group < end; ++group) {
    const std::uint8_t* line_bytes = linear.planes + group * linear.lines * planes * kLineBytes;
    __m512 accumulator = _mm512_setzero_ps();
    for (std::size_t block = 0; block < linear.blocks; ++block) {
      const std::int8_t* x = activations.values + block * kColumnsPerBlock;
      __m512i sums[8 + planes - 1];
#pragma GCC unroll 16
      for (int i = 0; i < 8 + planes - 1; ++i) sums[i] = _mm512_setzero_si512();
      const std::size_t lines = lines_of_block(linear, block);
      for (std::size_t line = 0; line < lines; ++line, x += kColumnsPerLine) {
#pragma GCC unroll 8
        for (int plane = 0; plane < planes; ++plane, line_bytes += kLineBytes) {
          _mm_prefetch(reinterpret_cast<const char*>(line_bytes) + kPrefetchBytes, _MM_HINT_T0);
          const __m512i bits = _mm512_loadu_si512(line_bytes);
#pragma GCC unroll 8
          for (int bit = 0; bit < 8; ++bit) {
            __m512i& sum = sums[bit - plane + planes - 1];
            sum = _mm512_dpbusd_epi32(sum, _mm512_and_si512(bits, _mm512_set1_epi8(static_cast<char>(1 << bit))),
                                      broadcast_quad(x + 4 * bit));
          }
        }
      }
      __m512i total = _mm512_setzero_si512();
#pragma GCC unroll 16
      for (int i = 0; i < 8 + planes - 1; ++i) {
        const int shift = i - (planes - 1);
        total = _mm512_add_epi32(
            total, shift >= 0 ? _mm512_srai_epi32(sums[i], static_cast<unsigned>(shift >= 0 ? shift : 0))
                              : _mm512_slli_epi32(sums[i], static_cast<unsigned>(shift < 0 ? -shift : 0)));
      }
      accumulator = add_block(linear, group, block, total, activations.block_sums[block], 0, accumulator, integers);
    }
    finish(linear, group, activations.scales[0], accumulator, y + group * kRowsPerGroup);
  }
}

/// Codes of one row group and block as bytes, [quads, 16 rows, 4 columns].
void unpack_codes(const PackedLinear& linear, std::size_t group, std::size_t block, std::uint8_t* codes) {
  if (linear.base3 != nullptr) return unpack_base3(linear, group, block, codes);
  const std::size_t planes = static_cast<std::size_t>(linear.plane_count), lines = lines_of_block(linear, block);
  const std::uint8_t* line_bytes =
      linear.planes + (group * linear.lines + block * kLinesPerBlock) * planes * kLineBytes;
  const __m512i one = _mm512_set1_epi8(1);
  for (std::size_t line = 0; line < lines; ++line, line_bytes += planes * kLineBytes) {
    for (int bit = 0; bit < 8; ++bit) {
      __m512i code = _mm512_setzero_si512();
      for (std::size_t plane = 0; plane < planes; ++plane) {
        const __m512i bits = _mm512_loadu_si512(line_bytes + plane * kLineBytes);
        const __m512i digit = _mm512_and_si512(_mm512_srl_epi16(bits, _mm_cvtsi32_si128(bit)), one);
        code = _mm512_or_si512(code, _mm512_sll_epi16(digit, _mm_cvtsi32_si128(static_cast<int>(plane))));
      }
      _mm512_store_si512(codes + (line * 8 + static_cast<std::size_t>(bit)) * kLineBytes, code);
    }
  }
}

/// `count` tokens from `token` on against the unpacked codes of `groups` adjacent row groups.
template <int count, int groups>
inline void multiply_block(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t group,
                           std::size_t block, std::size_t quads, const std::uint8_t* codes, std::size_t token,
                           float* accumulators, std::int32_t* integers) {
  const std::int8_t* x = activations.values + (block * activations.tokens + token) * kColumnsPerBlock;
  __m512i sums[count][groups];
#pragma GCC unroll 12
  for (int t = 0; t < count; ++t) {
#pragma GCC unroll 2
    for (int g = 0; g < groups; ++g) sums[t][g] = _mm512_setzero_si512();
  }
  for (std::size_t quad = 0; quad < quads; ++quad) {
    __m512i code[groups];
#pragma GCC unroll 2
    for (int g = 0; g < groups; ++g) {
      code[g] = _mm512_load_si512(codes + (static_cast<std::size_t>(g) * kQuadsPerBlock + quad) * kLineBytes);
    }
#pragma GCC unroll 12
    for (int t = 0; t < count; ++t) {
      const __m512i values = broadcast_quad(x + static_cast<std::size_t>(t) * kColumnsPerBlock + 4 * quad);
#pragma GCC unroll 2
      for (int g = 0; g < groups; ++g) sums[t][g] = _mm512_dpbusd_epi32(sums[t][g], code[g], values);
    }
  }
  const std::int32_t* block_sums = activations.block_sums + block * activations.tokens + token;
#pragma GCC unroll 12
  for (int t = 0; t < count; ++t) {
#pragma GCC unroll 2
    for (int g = 0; g < groups; ++g) {
      float* accumulator =
          accumulators + static_cast<std::size_t>(t) * 2 * kRowsPerGroup + static_cast<std::size_t>(g) * kRowsPerGroup;
      const __m512 before = block == 0 ? _mm512_setzero_ps() : _mm512_load_ps(accumulator);
      _mm512_store_ps(accumulator, add_block(linear, group + static_cast<std::size_t>(g), block, sums[t][g],
                                             block_sums[t], token + static_cast<std::size_t>(t), before, integers));
    }
  }
}

/// Many tokens: a block's codes are unpacked once for up to kTokensPerPass tokens.
template <int groups>
void prefill(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t group, float* y,
             std::size_t y_stride, std::int32_t* integers) {
  alignas(64) std::uint8_t codes[groups * kQuadsPerBlock * kLineBytes];
  alignas(64) float accumulators[kTokensPerPass * 2 * kRowsPerGroup];
  for (std::size_t first = 0; first < activations.tokens; first += kTokensPerPass) {
    const std::size_t left = activations.tokens - first, tokens = left < kTokensPerPass ? left : kTokensPerPass;
    for (std::size_t block = 0; block < linear.blocks; ++block) {
      for (std::size_t g = 0; g < static_cast<std::size_t>(groups); ++g) {
        unpack_codes(linear, group + g, block, codes + g * kQuadsPerBlock * kLineBytes);
      }
      const std::size_t quads = 8 * lines_of_block(linear, block);
      std::size_t t = 0;
      for (; t + 12 <= tokens; t += 12) {
        multiply_block<12, groups>(linear, activations, group, block, quads, codes, first + t,
                                   accumulators + t * 2 * kRowsPerGroup, integers);
      }
      for (; t + 4 <= tokens; t += 4) {
        multiply_block<4, groups>(linear, activations, group, block, quads, codes, first + t,
                                  accumulators + t * 2 * kRowsPerGroup, integers);
      }
      for (; t < tokens; ++t) {
        multiply_block<1, groups>(linear, activations, group, block, quads, codes, first + t,
                                  accumulators + t * 2 * kRowsPerGroup, integers);
      }
    }
    for (std::size_t t = 0; t < tokens; ++t) {
      for (std::size_t g = 0; g < static_cast<std::size_t>(groups); ++g) {
        const __m512 accumulator = _mm512_load_ps(accumulators + (t * 2 + g) * kRowsPerGroup);
        finish(linear, group + g, activations.scales[first + t], accumulator,
               y + (first + t) * y_stride + (group + g) * kRowsPerGroup);
      }
    }
  }
}

}  // namespace

void grid(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t begin, std::size_t end,
          float* y, std::size_t y_stride, std::int32_t* integers) {
  if (activations.tokens == 1) {
    if (linear.base3 != nullptr) return decode_base3(linear, activations, begin, end, y, integers);
    switch (linear.plane_count) {
      case 1:
        return decode<1>(linear, activations, begin, end, y, integers);
      case 2:
        return decode<2>(linear, activations, begin, end, y, integers);
      case 3:
        return decode<3>(linear, activations, begin, end, y, integers);
      case 4:
        return decode<4>(linear, activations, begin, end, y, integers);
      case 5:
        return decode<5>(linear, activations, begin, end, y, integers);
      case 6:
        return decode<6>(linear, activations, begin, end, y, integers);
      case 7:
        return decode<7>(linear, activations, begin, end, y, integers);
      default:
        return decode<8>(linear, activations, begin, end, y, integers);
    }
  }
  std::size_t group = begin;
  for (; group + 2 <= end; group += 2) prefill<2>(linear, activations, group, y, y_stride, integers);
  if (group < end) prefill<1>(linear, activations, group, y, y_stride, integers);
}

}  // namespace dbell::avx512vnni
