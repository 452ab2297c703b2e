// Base-3 codes with AVX2, eight rows at a time. Digits come off a byte from the highest: what is left is v mod 3^k, and
// v − (v mod 3^k) is the digit times 3^k. Only bytes are added, compared and subtracted; maddubs multiplies the digits
// with the activations, and a block's pairs (at most 2·2·127·32 = 16256) fit int16: nothing saturates.
#include "kernels/avx2/base3.h"

#include "kernels/avx2/grid_block.h"
#include "kernels/base3.h"

namespace dbell::avx2 {
namespace {

constexpr int kPowers[kDigitsPerByte] = {1, 3, 9, 27, 81};
constexpr std::size_t kHalfRows = kRowsPerGroup / 2;

/// v mod `power` for v < 3·power: the smallest of v, v − power, v − 2·power as unsigned bytes, as those below zero wrap
/// around to more than v.
inline __m256i reduce(__m256i v, int power) {
  const __m256i once = _mm256_sub_epi8(v, _mm256_set1_epi8(static_cast<char>(power)));
  const __m256i twice = _mm256_sub_epi8(v, _mm256_set1_epi8(static_cast<char>(2 * power)));
  return _mm256_min_epu8(_mm256_min_epu8(v, once), twice);
}

/// 1 or 2 where `multiple` is once or twice the power, else 0.
inline __m256i digit_of(__m256i multiple, int power) {
  const __m256i one = _mm256_set1_epi8(1);
  const __m256i above = _mm256_subs_epu8(multiple, _mm256_set1_epi8(static_cast<char>(power)));
  return _mm256_add_epi8(_mm256_min_epu8(multiple, one), _mm256_min_epu8(above, one));
}

inline void split_digits(__m256i value, __m256i* digits) {
#pragma GCC unroll 4
  for (int k = kDigitsPerByte - 1; k > 0; --k) {
    const __m256i rest = reduce(value, kPowers[k]);
    digits[k] = digit_of(_mm256_sub_epi8(value, rest), kPowers[k]);
    value = rest;
  }
  digits[0] = value;
}

/// Rows 8·half … of a strip of `bytes` bytes a row, the row's bytes at the low end of its lane, zeros behind them.
template <int bytes>
inline __m256i load_strip(const std::uint8_t* strip, std::size_t half) {
  const std::uint8_t* rows = strip + half * kHalfRows * bytes;
  if constexpr (bytes == 4) {
    return load_half(rows);
  } else if constexpr (bytes == 2) {
    return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(rows)));
  } else if constexpr (bytes == 1) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(rows)));
  } else {
    alignas(32) std::uint8_t lanes[kHalfBytes] = {};
    for (std::size_t row = 0; row < kHalfRows; ++row) {
      for (std::size_t j = 0; j < bytes; ++j) lanes[4 * row + j] = rows[bytes * row + j];
    }
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(lanes));
  }
}

/// `bytes` activations, repeated in every lane; whatever meets the other bytes of a lane is multiplied with zero.
template <int bytes>
inline __m256i broadcast(const std::int8_t* x) {
  int values = 0;
  __builtin_memcpy(&values, x, bytes);
  return _mm256_set1_epi32(values);
}

/// Adds the strip's digits times x̂ to the sums of both halves, for the `count` lowest digits; the others must be zero.
template <int bytes, int count>
inline void add_strip(const std::uint8_t* strip, const std::int8_t* x, __m256i* sums) {
#pragma GCC unroll 2
  for (std::size_t half = 0; half < 2; ++half) {
    __m256i digits[kDigitsPerByte];
    split_digits(load_strip<bytes>(strip, half), digits);
#pragma GCC unroll 5
    for (int k = 0; k < count; ++k) {
      sums[half] = _mm256_add_epi16(sums[half], _mm256_maddubs_epi16(digits[k], broadcast<bytes>(x + bytes * k)));
    }
  }
}

/// A strip of which `columns` columns are left; it begins at column `first` of its block. Never reads activations
/// beyond the block's 128: those of digits that the last strip of a whole block does not have.
inline void add_last_strip(const std::uint8_t* strip, std::size_t first, std::size_t columns, const std::int8_t* x,
                           __m256i* sums) {
  switch (strip_row_bytes(columns)) {
    case 1:
      return add_strip<1, 5>(strip, x, sums);
    case 2:
      return first + 2 * kDigitsPerByte > kColumnsPerBlock ? add_strip<2, 4>(strip, x, sums)
                                                           : add_strip<2, 5>(strip, x, sums);
    case 3:
      return add_strip<3, 5>(strip, x, sums);
    default:
      return add_strip<4, 5>(strip, x, sums);
  }
}

inline void store_quad(std::uint8_t* codes, std::size_t quad, std::size_t half, __m256i values) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + quad * kLineBytes + half * kHalfBytes), values);
}

/// The block's last strip to quads [quad, 32): digit k of t bytes begins at byte t·k of the row's codes.
template <int bytes>
void unpack_last_strip(const std::uint8_t* strip, std::size_t quad, std::uint8_t* codes) {
  constexpr int kWords = 5;
  for (std::size_t half = 0; half < 2; ++half) {
    __m256i digits[kDigitsPerByte], words[kWords + 1];
    split_digits(load_strip<bytes>(strip, half), digits);
#pragma GCC unroll 6
    for (int i = 0; i <= kWords; ++i) words[i] = _mm256_setzero_si256();
#pragma GCC unroll 5
    for (int k = 0; k < static_cast<int>(kDigitsPerByte); ++k) {
      const int word = bytes * k / 4, shift = 8 * (bytes * k % 4);
      words[word] = _mm256_or_si256(words[word], _mm256_sll_epi32(digits[k], _mm_cvtsi32_si128(shift)));
      // A shift by 32 gives zero.
      words[word + 1] = _mm256_or_si256(words[word + 1], _mm256_srl_epi32(digits[k], _mm_cvtsi32_si128(32 - shift)));
    }
    for (std::size_t i = 0; quad + i < kQuadsPerBlock; ++i)
      store_quad(codes, quad + i, half, i < kWords ? words[i] : _mm256_setzero_si256());
  }
}

}  // namespace

void unpack_base3(const PackedLinear& linear, std::size_t group, std::size_t block, std::uint8_t* codes) {
  const std::uint8_t* strip = base3_block(linear, group, block);
  std::size_t left = columns_of_block(linear, block), quad = 0;
  for (; left >= kColumnsPerStrip; left -= kColumnsPerStrip, strip += kLineBytes, quad += kDigitsPerByte) {
    for (std::size_t half = 0; half < 2; ++half) {
      __m256i digits[kDigitsPerByte];
      split_digits(load_strip<4>(strip, half), digits);
#pragma GCC unroll 5
      for (std::size_t k = 0; k < kDigitsPerByte; ++k) store_quad(codes, quad + k, half, digits[k]);
    }
  }
  switch (left == 0 ? 0 : strip_row_bytes(left)) {
    case 0:
      for (; quad < kQuadsPerBlock; ++quad) {
        store_quad(codes, quad, 0, _mm256_setzero_si256());
        store_quad(codes, quad, 1, _mm256_setzero_si256());
      }
      return;
    case 1:
      return unpack_last_strip<1>(strip, quad, codes);
    case 2:
      return unpack_last_strip<2>(strip, quad, codes);
    case 3:
      return unpack_last_strip<3>(strip, quad, codes);
    default:
      return unpack_last_strip<4>(strip, quad, codes);
  }
}

void decode_base3(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t group, float* y,
                  std::int32_t* integers) {
  __m256 accumulator[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for (std::size_t block = 0; block < linear.blocks; ++block) {
    const std::uint8_t* strip = base3_block(linear, group, block);
    const std::int8_t* x = activations.values + block * kColumnsPerBlock;
    const std::size_t columns = columns_of_block(linear, block);
    __m256i sums[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    std::size_t first = 0;
    for (; first + kColumnsPerStrip <= columns; first += kColumnsPerStrip, strip += kLineBytes) {
      _mm_prefetch(reinterpret_cast<const char*>(strip) + kPrefetchBytes, _MM_HINT_T0);
      add_strip<4, 5>(strip, x + first, sums);
    }
    if (first < columns) add_last_strip(strip, first, columns - first, x + first, sums);
    for (std::size_t half = 0; half < 2; ++half) {
      accumulator[half] = add_block(linear, group, half, block, widen(sums[half]), activations.block_sums[block], 0,
                                    accumulator[half], integers);
    }
  }
  for (std::size_t half = 0; half < 2; ++half) {
    const std::size_t row = group * kRowsPerGroup + half * 8;
    finish(linear, row, activations.scales[0], accumulator[half], y + row);
  }
}

}  // namespace dbell::avx2
