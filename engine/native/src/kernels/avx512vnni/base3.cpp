// Base-3 codes with AVX-512 VNNI. Digits come off a byte from the highest: what is left is v mod 3^k, and v − (v mod 3^k)
// is the digit times 3^k. dpbusd sums these multiples; one exact division at the end of a block, a multiplication by
// the inverse modulo 2^32, makes digits of them. No multiplication, shift or table is needed on the way.
#include "kernels/avx512vnni/base3.h"

#include "kernels/avx512vnni/grid_block.h"
#include "kernels/base3.h"

namespace dbell::avx512vnni {
namespace {

constexpr int kPowers[kDigitsPerByte] = {1, 3, 9, 27, 81};
/// Inverses of the powers modulo 2^32.
constexpr std::uint32_t kInverses[kDigitsPerByte] = {1u, 0xAAAAAAABu, 0x38E38E39u, 0x684BDA13u, 0x781948B1u};
static_assert(3u * kInverses[1] == 1 && 9u * kInverses[2] == 1 && 27u * kInverses[3] == 1 && 81u * kInverses[4] == 1,
              "each power times its inverse is 1");

/// v mod `power` for v < 3·power: the smallest of v, v − power, v − 2·power as unsigned bytes, as those below zero wrap
/// around to more than v.
inline __m512i reduce(__m512i v, int power) {
  const __m512i once = _mm512_sub_epi8(v, _mm512_set1_epi8(static_cast<char>(power)));
  const __m512i twice = _mm512_sub_epi8(v, _mm512_set1_epi8(static_cast<char>(2 * power)));
  return _mm512_min_epu8(_mm512_min_epu8(v, once), twice);
}

/// A strip of `bytes` bytes a row, the row's bytes at the low end of its lane, zeros behind them.
template <int bytes>
inline __m512i load_strip(const std::uint8_t* strip) {
  if constexpr (bytes == 4) {
    return _mm512_loadu_si512(strip);
  } else if constexpr (bytes == 2) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(strip)));
  } else if constexpr (bytes == 1) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(strip)));
  } else {
    alignas(64) std::uint8_t lanes[kLineBytes] = {};
    for (std::size_t row = 0; row < kRowsPerGroup; ++row) {
      for (std::size_t j = 0; j < bytes; ++j) lanes[4 * row + j] = strip[bytes * row + j];
    }
    return _mm512_load_si512(lanes);
  }
}

/// `bytes` activations, repeated in every lane; whatever meets the other bytes of a lane is multiplied with zero.
template <int bytes>
inline __m512i broadcast(const std::int8_t* x) {
  int values = 0;
  __builtin_memcpy(&values, x, bytes);
  return _mm512_set1_epi32(values);
}

/// Adds 3^k · digit_k · x̂ of a strip to sums[k] for its `digits` lowest digits; the others must be zero.
template <int bytes, int digits>
inline void add_strip(const std::uint8_t* strip, const std::int8_t* x, __m512i* sums) {
  __m512i value = load_strip<bytes>(strip);
#pragma GCC unroll 4
  for (int k = digits - 1; k > 0; --k) {
    const __m512i rest = reduce(value, kPowers[k]);
    sums[k] = _mm512_dpbusd_epi32(sums[k], _mm512_sub_epi8(value, rest), broadcast<bytes>(x + bytes * k));
    value = rest;
  }
  sums[0] = _mm512_dpbusd_epi32(sums[0], value, broadcast<bytes>(x));
}

/// A strip of which `columns` columns are left; it begins at column `first` of its block. Never reads activations
/// beyond the block's 128: those of digits that the last strip of a whole block does not have.
inline void add_last_strip(const std::uint8_t* strip, std::size_t first, std::size_t columns, const std::int8_t* x,
                           __m512i* sums) {
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

/// 1 or 2 where `multiple` is once or twice the power, else 0.
inline __m512i digit_of(__m512i multiple, int power) {
  const __m512i one = _mm512_set1_epi8(1);
  const __m512i above = _mm512_subs_epu8(multiple, _mm512_set1_epi8(static_cast<char>(power)));
  return _mm512_add_epi8(_mm512_min_epu8(multiple, one), _mm512_min_epu8(above, one));
}

inline void split_digits(__m512i value, __m512i* digits) {
#pragma GCC unroll 4
  for (int k = kDigitsPerByte - 1; k > 0; --k) {
    const __m512i rest = reduce(value, kPowers[k]);
    digits[k] = digit_of(_mm512_sub_epi8(value, rest), kPowers[k]);
    value = rest;
  }
  digits[0] = value;
}

/// The block's last strip to quads [quad, 32): digit k of t bytes begins at byte t·k of the row's codes.
template <int bytes>
void unpack_last_strip(const std::uint8_t* strip, std::size_t quad, std::uint8_t* codes) {
  constexpr int kWords = 5;
  __m512i digits[kDigitsPerByte], words[kWords + 1];
  split_digits(load_strip<bytes>(strip), digits);
#pragma GCC unroll 6
  for (int i = 0; i <= kWords; ++i) words[i] = _mm512_setzero_si512();
#pragma GCC unroll 5
  for (int k = 0; k < static_cast<int>(kDigitsPerByte); ++k) {
    const int word = bytes * k / 4, shift = 8 * (bytes * k % 4);
    words[word] = _mm512_or_si512(words[word], _mm512_sll_epi32(digits[k], _mm_cvtsi32_si128(shift)));
    // A shift by 32 gives zero.
    words[word + 1] = _mm512_or_si512(words[word + 1], _mm512_srl_epi32(digits[k], _mm_cvtsi32_si128(32 - shift)));
  }
  for (std::size_t i = 0; quad + i < kQuadsPerBlock; ++i) {
    _mm512_store_si512(codes + (quad + i) * kLineBytes, i < kWords ? words[i] : _mm512_setzero_si512());
  }
}

}  // namespace

void unpack_base3(const PackedLinear& linear, std::size_t group, std::size_t block, std::uint8_t* codes) {
  const std::uint8_t* strip = base3_block(linear, group, block);
  std::size_t left = columns_of_block(linear, block), quad = 0;
  for (; left >= kColumnsPerStrip; left -= kColumnsPerStrip, strip += kLineBytes, quad += kDigitsPerByte) {
    __m512i digits[kDigitsPerByte];
    split_digits(_mm512_loadu_si512(strip), digits);
#pragma GCC unroll 5
    for (std::size_t k = 0; k < kDigitsPerByte; ++k) _mm512_store_si512(codes + (quad + k) * kLineBytes, digits[k]);
  }
  switch (left == 0 ? 0 : strip_row_bytes(left)) {
    case 0:
      for (; quad < kQuadsPerBlock; ++quad) _mm512_store_si512(codes + quad * kLineBytes, _mm512_setzero_si512());
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

void decode_base3(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t begin,
                  std::size_t end, float* y, std::int32_t* integers) {
  for (std::size_t group = begin; group < end; ++group) {
    __m512 accumulator = _mm512_setzero_ps();
    for (std::size_t block = 0; block < linear.blocks; ++block) {
      const std::uint8_t* strip = base3_block(linear, group, block);
      const std::int8_t* x = activations.values + block * kColumnsPerBlock;
      const std::size_t columns = columns_of_block(linear, block);
      __m512i sums[kDigitsPerByte];
#pragma GCC unroll 5
      for (std::size_t k = 0; k < kDigitsPerByte; ++k) sums[k] = _mm512_setzero_si512();
      std::size_t first = 0;
      for (; first + kColumnsPerStrip <= columns; first += kColumnsPerStrip, strip += kLineBytes) {
        _mm_prefetch(reinterpret_cast<const char*>(strip) + kPrefetchBytes, _MM_HINT_T0);
        add_strip<4, 5>(strip, x + first, sums);
      }
      if (first < columns) add_last_strip(strip, first, columns - first, x + first, sums);
      __m512i total = sums[0];
#pragma GCC unroll 4
      for (std::size_t k = 1; k < kDigitsPerByte; ++k) {
        total = _mm512_add_epi32(
            total, _mm512_mullo_epi32(sums[k], _mm512_set1_epi32(static_cast<int>(kInverses[k]))));
      }
      accumulator = add_block(linear, group, block, total, activations.block_sums[block], 0, accumulator, integers);
    }
    finish(linear, group, activations.scales[0], accumulator, y + group * kRowsPerGroup);
  }
}

}  // namespace dbell::avx512vnni
