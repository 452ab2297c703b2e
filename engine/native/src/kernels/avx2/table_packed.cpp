// Tables of 6 and 4 bits (embedding and head) times int8 activations with AVX2: eight of a line's 16 rows at a time, the
// unsigned fields as the first operand of maddubs; 2^(b−1) times the sum of the activations is subtracted behind.
#include "kernels/avx2/bits.h"
#include "kernels/avx2/kernels.h"

namespace dbell::avx2 {
namespace {

/// Fields of 8 rows × 32 columns: register q holds columns 4q … 4q + 3 of row i in lane i. `lines` points at the rows'
/// half of the first line.
template <bool is_six>
inline void load_fields(const std::uint8_t* lines, __m256i* quads) {
  const __m256i nibble = _mm256_set1_epi8(15), two_bits = _mm256_set1_epi8(48);
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) {
    const __m256i line = load_half(lines + static_cast<std::size_t>(q) * kLineBytes);
    quads[q] = _mm256_and_si256(line, nibble);
    quads[q + 4] = _mm256_and_si256(_mm256_srli_epi16(line, 4), nibble);
  }
  if (is_six) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      // Bits that a shift moves across a byte's border are masked away.
      const __m256i line = load_half(lines + static_cast<std::size_t>(4 + half) * kLineBytes);
      __m256i* to = quads + 4 * half;
      to[0] = _mm256_or_si256(to[0], _mm256_and_si256(_mm256_slli_epi16(line, 4), two_bits));
      to[1] = _mm256_or_si256(to[1], _mm256_and_si256(_mm256_slli_epi16(line, 2), two_bits));
      to[2] = _mm256_or_si256(to[2], _mm256_and_si256(line, two_bits));
      to[3] = _mm256_or_si256(to[3], _mm256_and_si256(_mm256_srli_epi16(line, 2), two_bits));
    }
  }
}

template <bool is_six>
void multiply_packed(const Table& table, const TableActivations& activations, std::size_t begin, std::size_t end,
                     float* y, std::size_t y_stride, std::int32_t* integers) {
  constexpr std::size_t kLines = is_six ? kLinesPerTableGroup6 : kLinesPerTableGroup4;
  constexpr int kOffsetShift = is_six ? 5 : 3;
  const std::size_t width = table.groups * kColumnsPerTableGroup, rows = (end - begin) * kRowsPerGroup;
  for (std::size_t eight = 2 * begin; eight < 2 * end; ++eight) {
    const std::size_t row_group = eight / 2, half = eight % 2, column = (eight - 2 * begin) * 8;
    for (std::size_t group = 0; group < table.groups; ++group) {
      const std::size_t at = row_group * table.groups + group;
      __m256i quads[8];
      load_fields<is_six>(
          static_cast<const std::uint8_t*>(table.values) + at * kLines * kLineBytes + half * kHalfBytes, quads);
      const __m256 scale = half_floats(table.scales + at * kRowsPerGroup + half * 8);
      for (std::size_t t = 0; t < activations.tokens; ++t) {
        const std::int8_t* x = activations.values + t * width + group * kColumnsPerTableGroup;
        __m256i sum = _mm256_set1_epi32(-(activations.group_sums[t * table.groups + group] * (1 << kOffsetShift)));
        // A pair is at most 2·63·128 = 16128, two pairs added 32256: int16 holds them.
#pragma GCC unroll 4
        for (std::size_t q = 0; q < 8; q += 2) {
          const __m256i pairs = _mm256_add_epi16(_mm256_maddubs_epi16(quads[q], broadcast_quad(x + 4 * q)),
                                                 _mm256_maddubs_epi16(quads[q + 1], broadcast_quad(x + 4 * q + 4)));
          sum = _mm256_add_epi32(sum, widen(pairs));
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

}  // namespace

void table_packed(const Table& table, const TableActivations& activations, std::size_t begin, std::size_t end, float* y,
                  std::size_t y_stride, std::int32_t* integers) {
  const auto multiply = table.type == TableType::q6 ? multiply_packed<true> : multiply_packed<false>;
  multiply(table, activations, begin, end, y, y_stride, integers);
}

}  // namespace dbell::avx2
