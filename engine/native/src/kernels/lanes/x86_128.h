#pragma once
// 128-bit registers: SSE4.1. Fused multiply-add and the conversion of fp16 are made of other instructions.
#include <smmintrin.h>

#include <math.h>

#include <cstring>

namespace dbell::DBELL_KERNEL_SET {
namespace {

typedef __m128i Bytes;
typedef __m128i Ints;
typedef __m128 Floats;
typedef __m128i Partial;

constexpr int kLanes = 4;
/// Registers × tokens that a tile of the integer product has; what 16 registers hold.
constexpr int kTileRegisters = 2, kTileTokens = 4, kSmallTileTokens = 2;
constexpr int kFieldBits = 4, kNarrowFieldBits = 4, kStructuredFieldBits = 4, kProductsPerSum = 2;
constexpr int kStructuredTileTokens = 2;
constexpr int kFloatTileTokens = 2, kFloatTilePanels = 1;
constexpr int kFloatSmallTileTokens = 2, kFloatSmallTilePanels = 1, kFloatRowPanels = 2;

DBELL_INLINE Bytes load_bytes(const void* from) { return _mm_loadu_si128(static_cast<const __m128i*>(from)); }
DBELL_INLINE void store_bytes(void* to, Bytes value) { _mm_storeu_si128(static_cast<__m128i*>(to), value); }
DBELL_INLINE Bytes zero_bytes() { return _mm_setzero_si128(); }
DBELL_INLINE Bytes byte_of(int value) { return _mm_set1_epi8(static_cast<char>(value)); }
DBELL_INLINE Bytes bytes_of_lane(std::int32_t four) { return _mm_set1_epi32(four); }
/// 16 bits for each lane, zeros above them.
DBELL_INLINE Bytes load_byte_pairs(const void* from) {
  return _mm_cvtepu16_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(from)));
}
DBELL_INLINE Bytes bit_and(Bytes a, Bytes b) { return _mm_and_si128(a, b); }
DBELL_INLINE Bytes bit_or(Bytes a, Bytes b) { return _mm_or_si128(a, b); }
DBELL_INLINE Bytes select(Bytes mask, Bytes yes, Bytes no) {
  return _mm_or_si128(_mm_and_si128(mask, yes), _mm_andnot_si128(mask, no));
}
DBELL_INLINE Bytes add_bytes(Bytes a, Bytes b) { return _mm_add_epi8(a, b); }
DBELL_INLINE Bytes subtract_bytes(Bytes a, Bytes b) { return _mm_sub_epi8(a, b); }
DBELL_INLINE Bytes subtract_to_zero(Bytes a, Bytes b) { return _mm_subs_epu8(a, b); }
DBELL_INLINE Bytes minimum(Bytes a, Bytes b) { return _mm_min_epu8(a, b); }
/// Shifts within bytes; what crosses a byte's border is for the caller to mask away.
template <int count>
DBELL_INLINE Bytes shift_right(Bytes a) {
  return _mm_srli_epi16(a, count);
}
template <int count>
DBELL_INLINE Bytes shift_left(Bytes a) {
  return _mm_slli_epi16(a, count);
}
DBELL_INLINE Bytes shift_right(Bytes a, int count) { return _mm_srl_epi16(a, _mm_cvtsi32_si128(count)); }

DBELL_INLINE Ints zero_ints() { return _mm_setzero_si128(); }
DBELL_INLINE Ints int_of(std::int32_t value) { return _mm_set1_epi32(value); }
DBELL_INLINE Ints add(Ints a, Ints b) { return _mm_add_epi32(a, b); }
DBELL_INLINE Ints subtract(Ints a, Ints b) { return _mm_sub_epi32(a, b); }
DBELL_INLINE Ints multiply(Ints a, Ints b) { return _mm_mullo_epi32(a, b); }
template <int count>
DBELL_INLINE Ints shift_lanes_left(Ints a) {
  return _mm_slli_epi32(a, count);
}
template <int count>
DBELL_INLINE Ints shift_lanes_right(Ints a) {
  return _mm_srai_epi32(a, count);
}
/// Byte `index` of each lane, zero-extended.
template <int index>
DBELL_INLINE Ints byte_of_lane(Bytes a) {
  return _mm_and_si128(_mm_srli_epi32(a, 8 * index), _mm_set1_epi32(0xFF));
}
DBELL_INLINE void store_ints(std::int32_t* to, Ints value) { store_bytes(to, value); }

DBELL_INLINE Floats load_floats(const float* from) { return _mm_loadu_ps(from); }
DBELL_INLINE void store_floats(float* to, Floats value) { _mm_storeu_ps(to, value); }
DBELL_INLINE Floats zero_floats() { return _mm_setzero_ps(); }
DBELL_INLINE Floats float_of(float value) { return _mm_set1_ps(value); }
DBELL_INLINE Floats to_floats(Ints value) { return _mm_cvtepi32_ps(value); }
/// Exponent and fraction are moved to their places in a float32 whose exponent is then 112 too small; the product with
/// 2^112 is exact and makes normal numbers of those that were not. Infinities and NaN keep the largest exponent.
DBELL_INLINE Floats floats_of_halves(Ints halves) {
  const Ints magnitude = _mm_and_si128(halves, _mm_set1_epi32(0x7FFF));
  const Floats scaled =
      _mm_mul_ps(_mm_castsi128_ps(_mm_slli_epi32(magnitude, 13)), _mm_castsi128_ps(_mm_set1_epi32((127 + 112) << 23)));
  const Ints is_special = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7BFF));
  const Ints special = _mm_and_si128(is_special, _mm_set1_epi32(0x7F800000));
  const Ints sign = _mm_slli_epi32(_mm_andnot_si128(_mm_set1_epi32(0x7FFF), halves), 16);
  return _mm_or_ps(scaled, _mm_castsi128_ps(_mm_or_si128(special, sign)));
}
DBELL_INLINE Floats half_floats(const std::uint16_t* from) { return floats_of_halves(load_byte_pairs(from)); }
DBELL_INLINE Floats add(Floats a, Floats b) { return _mm_add_ps(a, b); }
DBELL_INLINE Floats subtract(Floats a, Floats b) { return _mm_sub_ps(a, b); }
DBELL_INLINE Floats multiply(Floats a, Floats b) { return _mm_mul_ps(a, b); }
/// a·b + c, rounded once: the C library's function, for the few elements of which float64 cannot tell.
DBELL_NO_INLINE Floats multiply_add_slowly(Floats a, Floats b, Floats c) {
  float x[4], y[4], z[4];
  _mm_storeu_ps(x, a);
  _mm_storeu_ps(y, b);
  _mm_storeu_ps(z, c);
  for (int i = 0; i < 4; ++i) z[i] = fmaf(x[i], y[i], z[i]);
  return _mm_loadu_ps(z);
}
/// a·b + c, rounded once. In float64 the product is exact and the sum all but exact; rounding that to float32 is right
/// unless it lies on the border between two floats (add_fused of the plain kernels).
DBELL_INLINE Floats multiply_add(Floats a, Floats b, Floats c) {
  const auto fused = [](Floats x, Floats y, Floats z) DBELL_INLINE_LAMBDA {
    return _mm_add_pd(_mm_mul_pd(_mm_cvtps_pd(x), _mm_cvtps_pd(y)), _mm_cvtps_pd(z));
  };
  const __m128d low = fused(a, b, c),
                high = fused(_mm_movehl_ps(a, a), _mm_movehl_ps(b, b), _mm_movehl_ps(c, c));
  const __m128i lowest_bits = _mm_castps_si128(_mm_shuffle_ps(_mm_castpd_ps(low), _mm_castpd_ps(high), 0x88));
  const __m128i border =
      _mm_cmpeq_epi32(_mm_and_si128(lowest_bits, _mm_set1_epi32(0x1FFFFFFF)), _mm_set1_epi32(0x10000000));
  if (_mm_movemask_epi8(border) != 0) return multiply_add_slowly(a, b, c);
  return _mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
}
/// table[code mod 4] in each lane.
DBELL_INLINE Floats look_up_four(Ints code, const Floats* table) {
  // blendv looks at the sign bit.
  const __m128 low = _mm_castsi128_ps(_mm_slli_epi32(code, 31)), high = _mm_castsi128_ps(_mm_slli_epi32(code, 30));
  return _mm_blendv_ps(_mm_blendv_ps(table[0], table[1], low), _mm_blendv_ps(table[2], table[3], low), high);
}

DBELL_INLINE Partial zero_partial() { return _mm_setzero_si128(); }
DBELL_INLINE Partial add_partials(Partial a, Partial b) { return _mm_add_epi16(a, b); }
DBELL_INLINE Ints sums_of(Partial partial) { return _mm_madd_epi16(partial, _mm_set1_epi16(1)); }
DBELL_INLINE Ints twice_sums_of(Partial partial) { return _mm_madd_epi16(partial, _mm_set1_epi16(2)); }
DBELL_INLINE Partial add_products(Partial sum, Bytes codes, Bytes values) {
  return _mm_add_epi16(sum, _mm_maddubs_epi16(codes, values));
}
/// The same with int32 sums, whatever Partial is; a row's four products must fit int16 in pairs.
DBELL_INLINE Ints add_products_wide(Ints sum, Bytes codes, Bytes values) {
  return add(sum, sums_of(_mm_maddubs_epi16(codes, values)));
}
/// Codes of either sign: |code| ≤ 128 as the unsigned operand, ±x̂ with the code's sign as the signed one; a pair is at
/// most 2·128·127 = 32512.
DBELL_INLINE Ints add_signed_products(Ints sum, Bytes codes, Bytes values) {
  return add_products_wide(sum, _mm_abs_epi8(codes), _mm_sign_epi8(values, codes));
}
DBELL_INLINE Ints signed_excess(Ints sum, Bytes) { return sum; }

DBELL_INLINE void prefetch(const void* at) { _mm_prefetch(static_cast<const char*>(at), _MM_HINT_T0); }

/// 4 × 4 lanes of 32 bits: row i of the result is column i.
DBELL_INLINE void transpose_lanes(const __m128i* rows, __m128i* columns) {
  const __m128i low01 = _mm_unpacklo_epi32(rows[0], rows[1]), high01 = _mm_unpackhi_epi32(rows[0], rows[1]);
  const __m128i low23 = _mm_unpacklo_epi32(rows[2], rows[3]), high23 = _mm_unpackhi_epi32(rows[2], rows[3]);
  columns[0] = _mm_unpacklo_epi64(low01, low23);
  columns[1] = _mm_unpackhi_epi64(low01, low23);
  columns[2] = _mm_unpacklo_epi64(high01, high23);
  columns[3] = _mm_unpackhi_epi64(high01, high23);
}

/// kLanes rows × 32 codes to 8 registers: quad q holds columns 4q … 4q + 3 of row i in lane i. A null row is zero.
inline void transpose_codes(const std::int8_t* const* rows, Bytes* quads) {
  for (int half = 0; half < 2; ++half) {
    __m128i row[4];
    for (int i = 0; i < 4; ++i) row[i] = rows[i] ? load_bytes(rows[i] + 16 * half) : zero_bytes();
    transpose_lanes(row, quads + 4 * half);
  }
}

/// Rows and columns that load_transposed turns at once.
constexpr std::size_t kTransposed = 4;

/// Four values of each of four rows (fp16 or float32; a null row is zero), transposed: column j to out + j·stride.
inline void load_transposed(const void* const* rows, bool is_half, float* out, std::size_t stride) {
  __m128i row[4], columns[4];
  for (int i = 0; i < 4; ++i) {
    row[i] = rows[i] == nullptr ? zero_bytes()
             : is_half          ? _mm_castps_si128(floats_of_halves(load_byte_pairs(rows[i])))
                                : load_bytes(rows[i]);
  }
  transpose_lanes(row, columns);
  for (std::size_t j = 0; j < 4; ++j) store_bytes(out + j * stride, columns[j]);
}

inline float half_float(std::uint16_t value) { return _mm_cvtss_f32(floats_of_halves(_mm_cvtsi32_si128(value))); }

#ifndef DBELL_DOT
// For sum_tables.cpp. Everything here stays within 128 bits, as the instructions do.
#define DBELL_HAS_SUM_TABLES
/// Sixteen bytes, aligned, in every 128 bits.
DBELL_INLINE Bytes load_table(const void* from) { return _mm_load_si128(static_cast<const __m128i*>(from)); }
/// table[index] of each byte, 0 … 15.
DBELL_INLINE Bytes look_up(Bytes table, Bytes indices) { return _mm_shuffle_epi8(table, indices); }
template <int width>
DBELL_INLINE Bytes interleave_low(Bytes a, Bytes b) {
  static_assert(width == 16 || width == 32 || width == 64, "bits");
  return width == 16 ? _mm_unpacklo_epi16(a, b) : width == 32 ? _mm_unpacklo_epi32(a, b) : _mm_unpacklo_epi64(a, b);
}
template <int width>
DBELL_INLINE Bytes interleave_high(Bytes a, Bytes b) {
  static_assert(width == 16 || width == 32 || width == 64, "bits");
  return width == 16 ? _mm_unpackhi_epi16(a, b) : width == 32 ? _mm_unpackhi_epi32(a, b) : _mm_unpackhi_epi64(a, b);
}
DBELL_INLINE Bytes word_of(int value) { return _mm_set1_epi16(static_cast<short>(value)); }
DBELL_INLINE Bytes add_words(Bytes a, Bytes b) { return _mm_add_epi16(a, b); }
DBELL_INLINE Bytes subtract_words(Bytes a, Bytes b) { return _mm_sub_epi16(a, b); }
#endif

// For vector_functions.cpp.
DBELL_INLINE Floats divide(Floats a, Floats b) { return _mm_div_ps(a, b); }
DBELL_INLINE Floats smaller(Floats a, Floats b) { return _mm_min_ps(a, b); }
DBELL_INLINE Floats larger(Floats a, Floats b) { return _mm_max_ps(a, b); }
/// To nearest, ties to even.
DBELL_INLINE Ints to_ints(Floats value) { return _mm_cvtps_epi32(value); }
/// value where a ≥ b, else 0.
DBELL_INLINE Floats keep_where_not_less(Floats a, Floats b, Floats value) {
  return _mm_andnot_ps(_mm_cmplt_ps(a, b), value);
}
DBELL_INLINE Ints bits_of(Floats value) { return _mm_castps_si128(value); }
DBELL_INLINE Floats floats_of_bits(Ints bits) { return _mm_castsi128_ps(bits); }
DBELL_INLINE Ints larger(Ints a, Ints b) { return _mm_max_epi32(a, b); }
DBELL_INLINE Ints and_ints(Ints a, Ints b) { return _mm_and_si128(a, b); }
/// Four integers of −128 … 127 as bytes.
DBELL_INLINE void store_low_bytes(std::int8_t* to, Ints value) {
  const __m128i words = _mm_packs_epi32(value, value);
  const int bytes = _mm_cvtsi128_si32(_mm_packs_epi16(words, words));
  std::memcpy(to, &bytes, sizeof bytes);
}
/// Four int8.
DBELL_INLINE Ints load_codes(const std::int8_t* from) {
  int bytes;
  std::memcpy(&bytes, from, sizeof bytes);
  return _mm_cvtepi8_epi32(_mm_cvtsi32_si128(bytes));
}

}  // namespace
}  // namespace dbell::DBELL_KERNEL_SET

#include "kernels/lanes/x86_digits.h"
#ifndef DBELL_DOT
#include "kernels/lanes/x86_sum_tables.h"
#endif
