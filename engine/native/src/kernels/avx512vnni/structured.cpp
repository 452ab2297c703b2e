// Integer path of the structured layout with AVX-512 VNNI: three masked sums over all columns and three over the
// salient ones; the ordinary sums are their exact differences. Only quads with a salient column are visited for the
// latter.
#include "kernels/avx512vnni/kernels.h"
#include "kernels/avx512vnni/vector.h"

namespace dbell::avx512vnni {
namespace {

/// Ordinary L00, L10, L01, L11, salient L00, L10, L01, L11 of 16 rows.
struct Levels {
  __m512 level[8];
};

inline Levels load_levels(const PackedLinear& linear, std::size_t group, std::size_t block) {
  const std::uint16_t* values =
      linear.structured_values + (group * linear.blocks + block) * kStructuredValues * kRowsPerGroup;
  __m512 value[kStructuredValues];
#pragma GCC unroll 7
  for (std::size_t i = 0; i < kStructuredValues; ++i) {
    value[i] = half_row(values + i * kRowsPerGroup);
  }
  const __m512 lower = _mm512_sub_ps(value[4], value[5]), upper = _mm512_add_ps(value[4], value[5]);
  return {{_mm512_sub_ps(value[0], value[1]), _mm512_add_ps(value[0], value[1]), _mm512_sub_ps(value[2], value[3]),
           _mm512_add_ps(value[2], value[3]), _mm512_sub_ps(lower, value[6]), _mm512_sub_ps(upper, value[6]),
           _mm512_add_ps(lower, value[6]), _mm512_add_ps(upper, value[6])}};
}

inline __m512 add_levels(__m512 accumulator, const __m512* level, __m512i a, __m512i b, __m512i ab, std::int32_t x) {
  const __m512i s10 = _mm512_sub_epi32(a, ab), s01 = _mm512_sub_epi32(b, ab);
  const __m512i s00 = _mm512_sub_epi32(_mm512_sub_epi32(_mm512_set1_epi32(x), a), s01);
  accumulator = _mm512_add_ps(accumulator, _mm512_mul_ps(level[0], _mm512_cvtepi32_ps(s00)));
  accumulator = _mm512_add_ps(accumulator, _mm512_mul_ps(level[1], _mm512_cvtepi32_ps(s10)));
  accumulator = _mm512_add_ps(accumulator, _mm512_mul_ps(level[2], _mm512_cvtepi32_ps(s01)));
  return _mm512_add_ps(accumulator, _mm512_mul_ps(level[3], _mm512_cvtepi32_ps(ab)));
}

/// Six sums of one token and block: A, B, AB over all columns, then over the salient ones.
struct Sums {
  __m512i all[3], salient[3];
};

inline __m512 add_block(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t group,
                        std::size_t block, std::size_t token, const Levels& levels, const Sums& sums,
                        __m512 accumulator, std::int32_t* integers) {
  __m512i ordinary[3];
#pragma GCC unroll 3
  for (int i = 0; i < 3; ++i) ordinary[i] = _mm512_sub_epi32(sums.all[i], sums.salient[i]);
  if (integers) {
    alignas(64) std::int32_t lanes[kStructuredIntegers][kRowsPerGroup];
    for (std::size_t i = 0; i < 3; ++i) {
      _mm512_store_si512(lanes[i], ordinary[i]);
      _mm512_store_si512(lanes[i + 3], sums.salient[i]);
    }
    for (std::size_t row = 0; row < kRowsPerGroup; ++row) {
      std::int32_t* out =
          integers +
          (((token * linear.row_groups + group) * kRowsPerGroup + row) * linear.blocks + block) * kStructuredIntegers;
      for (std::size_t i = 0; i < kStructuredIntegers; ++i) out[i] = lanes[i][row];
    }
  }
  const std::size_t index = block * activations.tokens + token;
  const std::int32_t salient_sum = activations.salient_sums[index];
  accumulator = add_levels(accumulator, levels.level, ordinary[0], ordinary[1], ordinary[2],
                           activations.block_sums[index] - salient_sum);
  return add_levels(accumulator, levels.level + 4, sums.salient[0], sums.salient[1], sums.salient[2], salient_sum);
}

inline __m512 finish(const PackedLinear& linear, std::size_t group, float scale, __m512 accumulator) {
  return _mm512_add_ps(_mm512_loadu_ps(linear.bias + group * kRowsPerGroup),
                       _mm512_mul_ps(_mm512_set1_ps(scale), accumulator));
}

void decode(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t group, float* y,
            std::int32_t* integers) {
  const __m512i one = _mm512_set1_epi8(1);
  __m512 accumulator = _mm512_setzero_ps();
  const std::uint8_t* group_bytes = linear.planes + group * linear.lines * 2 * kLineBytes;
  for (std::size_t block = 0; block < linear.blocks; ++block) {
    const std::int8_t* x = activations.values + block * kColumnsPerBlock;
    const std::uint8_t* line_bytes = group_bytes + block * kLinesPerBlock * 2 * kLineBytes;
    __m512i shifted[3][8];
#pragma GCC unroll 8
    for (int bit = 0; bit < 8; ++bit) shifted[0][bit] = shifted[1][bit] = shifted[2][bit] = _mm512_setzero_si512();
    const std::size_t lines = lines_of_block(linear, block);
    for (std::size_t line = 0; line < lines; ++line) {
      const std::uint8_t* bytes = line_bytes + line * 2 * kLineBytes;
      _mm_prefetch(reinterpret_cast<const char*>(bytes) + kPrefetchBytes, _MM_HINT_T0);
      _mm_prefetch(reinterpret_cast<const char*>(bytes) + kPrefetchBytes + kLineBytes, _MM_HINT_T0);
      const __m512i a = _mm512_loadu_si512(bytes), b = _mm512_loadu_si512(bytes + kLineBytes);
      const __m512i ab = _mm512_and_si512(a, b);
#pragma GCC unroll 8
      for (int bit = 0; bit < 8; ++bit) {
        // 2^bit times the sum; shifted back at the end of the block.
        const __m512i mask = _mm512_set1_epi8(static_cast<char>(1 << bit));
        const __m512i values = broadcast_quad(x + line * kColumnsPerLine + 4 * static_cast<std::size_t>(bit));
        shifted[0][bit] = _mm512_dpbusd_epi32(shifted[0][bit], _mm512_and_si512(a, mask), values);
        shifted[1][bit] = _mm512_dpbusd_epi32(shifted[1][bit], _mm512_and_si512(b, mask), values);
        shifted[2][bit] = _mm512_dpbusd_epi32(shifted[2][bit], _mm512_and_si512(ab, mask), values);
      }
    }
    Sums sums;
#pragma GCC unroll 3
    for (int i = 0; i < 3; ++i) {
      sums.all[i] = shifted[i][0];
      sums.salient[i] = _mm512_setzero_si512();
#pragma GCC unroll 8
      for (int bit = 1; bit < 8; ++bit) {
        sums.all[i] = _mm512_add_epi32(sums.all[i], _mm512_srai_epi32(shifted[i][bit], static_cast<unsigned>(bit)));
      }
    }
    const std::int8_t* salient = activations.salient_values + block * kColumnsPerBlock;
    for (std::uint32_t quads = activations.salient_quads[block]; quads != 0; quads &= quads - 1) {
      const int quad = __builtin_ctz(quads);
      const std::uint8_t* bytes = line_bytes + static_cast<std::size_t>(quad / 8) * 2 * kLineBytes;
      const __m128i bit = _mm_cvtsi32_si128(quad % 8);
      const __m512i a = _mm512_and_si512(_mm512_srl_epi16(_mm512_loadu_si512(bytes), bit), one);
      const __m512i b = _mm512_and_si512(_mm512_srl_epi16(_mm512_loadu_si512(bytes + kLineBytes), bit), one);
      const __m512i values = broadcast_quad(salient + 4 * quad);
      sums.salient[0] = _mm512_dpbusd_epi32(sums.salient[0], a, values);
      sums.salient[1] = _mm512_dpbusd_epi32(sums.salient[1], b, values);
      sums.salient[2] = _mm512_dpbusd_epi32(sums.salient[2], _mm512_and_si512(a, b), values);
    }
    accumulator =
        add_block(linear, activations, group, block, 0, load_levels(linear, group, block), sums, accumulator, integers);
  }
  _mm512_storeu_ps(y + group * kRowsPerGroup, finish(linear, group, activations.scales[0], accumulator));
}

/// Bits of plane 0, plane 1 and both, as bytes 0 or 1, [3, quads, 64].
void unpack_bits(const PackedLinear& linear, std::size_t group, std::size_t block, std::uint8_t* bits) {
  const std::uint8_t* bytes = linear.planes + (group * linear.lines + block * kLinesPerBlock) * 2 * kLineBytes;
  const __m512i one = _mm512_set1_epi8(1);
  const std::size_t quads = 8 * lines_of_block(linear, block);
  for (std::size_t quad = 0; quad < quads; ++quad) {
    const std::uint8_t* line = bytes + quad / 8 * 2 * kLineBytes;
    const __m128i shift = _mm_cvtsi32_si128(static_cast<int>(quad % 8));
    const __m512i a = _mm512_and_si512(_mm512_srl_epi16(_mm512_loadu_si512(line), shift), one);
    const __m512i b = _mm512_and_si512(_mm512_srl_epi16(_mm512_loadu_si512(line + kLineBytes), shift), one);
    _mm512_store_si512(bits + quad * kLineBytes, a);
    _mm512_store_si512(bits + (kQuadsPerBlock + quad) * kLineBytes, b);
    _mm512_store_si512(bits + (2 * kQuadsPerBlock + quad) * kLineBytes, _mm512_and_si512(a, b));
  }
}

template <int count>
inline void add_quad(const std::uint8_t* bits, std::size_t quad, const std::int8_t* x, __m512i (*sums)[3]) {
  const __m512i a = _mm512_load_si512(bits + quad * kLineBytes);
  const __m512i b = _mm512_load_si512(bits + (kQuadsPerBlock + quad) * kLineBytes);
  const __m512i ab = _mm512_load_si512(bits + (2 * kQuadsPerBlock + quad) * kLineBytes);
#pragma GCC unroll 8
  for (int t = 0; t < count; ++t) {
    const __m512i values = broadcast_quad(x + static_cast<std::size_t>(t) * kColumnsPerBlock + 4 * quad);
    sums[t][0] = _mm512_dpbusd_epi32(sums[t][0], a, values);
    sums[t][1] = _mm512_dpbusd_epi32(sums[t][1], b, values);
    sums[t][2] = _mm512_dpbusd_epi32(sums[t][2], ab, values);
  }
}

template <int count>
inline void multiply_block(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t group,
                           std::size_t block, const std::uint8_t* bits, const Levels& levels, std::size_t token,
                           float* accumulators, std::int32_t* integers) {
  const std::size_t row = (block * activations.tokens + token) * kColumnsPerBlock;
  __m512i all[count][3], salient[count][3];
#pragma GCC unroll 8
  for (int t = 0; t < count; ++t) {
#pragma GCC unroll 3
    for (int i = 0; i < 3; ++i) all[t][i] = _mm512_setzero_si512();
  }
  const std::size_t quads = 8 * lines_of_block(linear, block);
  for (std::size_t quad = 0; quad < quads; ++quad) add_quad<count>(bits, quad, activations.values + row, all);
#pragma GCC unroll 8
  for (int t = 0; t < count; ++t) {
#pragma GCC unroll 3
    for (int i = 0; i < 3; ++i) salient[t][i] = _mm512_setzero_si512();
  }
  for (std::uint32_t left = activations.salient_quads[block]; left != 0; left &= left - 1) {
    add_quad<count>(bits, static_cast<std::size_t>(__builtin_ctz(left)), activations.salient_values + row, salient);
  }
#pragma GCC unroll 8
  for (int t = 0; t < count; ++t) {
    float* accumulator = accumulators + static_cast<std::size_t>(t) * kRowsPerGroup;
    Sums sums;
#pragma GCC unroll 3
    for (int i = 0; i < 3; ++i) sums.all[i] = all[t][i], sums.salient[i] = salient[t][i];
    const __m512 before = block == 0 ? _mm512_setzero_ps() : _mm512_load_ps(accumulator);
    _mm512_store_ps(accumulator, add_block(linear, activations, group, block, token + static_cast<std::size_t>(t),
                                           levels, sums, before, integers));
  }
}

void prefill(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t group, float* y,
             std::size_t y_stride, std::int32_t* integers) {
  alignas(64) std::uint8_t bits[3 * kQuadsPerBlock * kLineBytes];
  alignas(64) float accumulators[kTokensPerPass * kRowsPerGroup];
  for (std::size_t first = 0; first < activations.tokens; first += kTokensPerPass) {
    const std::size_t left = activations.tokens - first, tokens = left < kTokensPerPass ? left : kTokensPerPass;
    for (std::size_t block = 0; block < linear.blocks; ++block) {
      unpack_bits(linear, group, block, bits);
      const Levels levels = load_levels(linear, group, block);
      std::size_t t = 0;
      for (; t + 8 <= tokens; t += 8) {
        multiply_block<8>(linear, activations, group, block, bits, levels, first + t, accumulators + t * kRowsPerGroup,
                          integers);
      }
      for (; t < tokens; ++t) {
        multiply_block<1>(linear, activations, group, block, bits, levels, first + t, accumulators + t * kRowsPerGroup,
                          integers);
      }
    }
    for (std::size_t t = 0; t < tokens; ++t) {
      _mm512_storeu_ps(
          y + (first + t) * y_stride + group * kRowsPerGroup,
          finish(linear, group, activations.scales[first + t], _mm512_load_ps(accumulators + t * kRowsPerGroup)));
    }
  }
}

}  // namespace

void structured(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t begin, std::size_t end,
                float* y, std::size_t y_stride, std::int32_t* integers) {
  for (std::size_t group = begin; group < end; ++group) {
    if (activations.tokens == 1) {
      decode(linear, activations, group, y, integers);
    } else {
      prefill(linear, activations, group, y, y_stride, integers);
    }
  }
}

}  // namespace dbell::avx512vnni
