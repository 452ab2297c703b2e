// Tables of 6 and 4 bits (embedding and head) times int8 activations with AVX-512 VNNI: the stored fields are unsigned and
// in kernel order, so they go into dpbusd as they are; 2^(b−1) times the sum of the activations is subtracted behind.
#include "kernels/avx512vnni/kernels.h"
#include "kernels/avx512vnni/vector.h"

namespace dbell::avx512vnni {
namespace {

/// Fields of 16 rows × 32 columns: register q holds columns 4q … 4q + 3 of row i in lane i.
template <bool is_six>
inline void load_fields(const std::uint8_t* lines, __m512i* quads) {
  const __m512i nibble = _mm512_set1_epi8(15), two_bits = _mm512_set1_epi8(48);
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) {
    const __m512i line = _mm512_loadu_si512(lines + static_cast<std::size_t>(q) * kLineBytes);
    quads[q] = _mm512_and_si512(line, nibble);
    quads[q + 4] = _mm512_and_si512(_mm512_srli_epi16(line, 4), nibble);
  }
  if (is_six) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      // Bits that a shift moves across a byte's border are masked away.
      const __m512i line = _mm512_loadu_si512(lines + static_cast<std::size_t>(4 + half) * kLineBytes);
      __m512i* to = quads + 4 * half;
      to[0] = _mm512_or_si512(to[0], _mm512_and_si512(_mm512_slli_epi16(line, 4), two_bits));
      to[1] = _mm512_or_si512(to[1], _mm512_and_si512(_mm512_slli_epi16(line, 2), two_bits));
      to[2] = _mm512_or_si512(to[2], _mm512_and_si512(line, two_bits));
      to[3] = _mm512_or_si512(to[3], _mm512_and_si512(_mm512_srli_epi16(line, 2), two_bits));
    }
  }
}

template <bool is_six>
void multiply_packed(const Table& table, const TableActivations& activations, std::size_t begin, std::size_t end,
                     float* y, std::size_t y_stride, std::int32_t* integers) {
  constexpr std::size_t kLines = is_six ? kLinesPerTableGroup6 : kLinesPerTableGroup4;
  constexpr int kOffsetShift = is_six ? 5 : 3;
  const std::size_t width = table.groups * kColumnsPerTableGroup, rows = (end - begin) * kRowsPerGroup;
  for (std::size_t row_group = begin; row_group < end; ++row_group) {
    const std::size_t column = (row_group - begin) * kRowsPerGroup;
    for (std::size_t group = 0; group < table.groups; ++group) {
      const std::size_t at = row_group * table.groups + group;
      __m512i quads[8];
      load_fields<is_six>(static_cast<const std::uint8_t*>(table.values) + at * kLines * kLineBytes, quads);
      const __m512 scale = half_row(table.scales + at * kRowsPerGroup);
      for (std::size_t t = 0; t < activations.tokens; ++t) {
        const std::int8_t* x = activations.values + t * width + group * kColumnsPerTableGroup;
        __m512i sum = _mm512_set1_epi32(-(activations.group_sums[t * table.groups + group] * (1 << kOffsetShift)));
        __m512i other = _mm512_setzero_si512();
#pragma GCC unroll 4
        for (int q = 0; q < 8; q += 2) {
          int quad[2];
          __builtin_memcpy(quad, x + 4 * q, sizeof quad);
          sum = _mm512_dpbusd_epi32(sum, quads[q], _mm512_set1_epi32(quad[0]));
          other = _mm512_dpbusd_epi32(other, quads[q + 1], _mm512_set1_epi32(quad[1]));
        }
        sum = _mm512_add_epi32(sum, other);
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

}  // namespace

void table_packed(const Table& table, const TableActivations& activations, std::size_t begin, std::size_t end, float* y,
                  std::size_t y_stride, std::int32_t* integers) {
  const auto multiply = table.type == TableType::q6 ? multiply_packed<true> : multiply_packed<false>;
  multiply(table, activations, begin, end, y, y_stride, integers);
}

}  // namespace dbell::avx512vnni
