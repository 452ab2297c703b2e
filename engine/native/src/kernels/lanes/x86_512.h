#pragma once
// 512-bit registers: AVX-512 (F, BW, VL, DQ), and its VNNI where DBELL_DOT is defined.
#include <immintrin.h>

#include "kernels/lanes/x86_transpose.h"

namespace dbell::DBELL_KERNEL_SET {
namespace {

typedef __m512i Bytes;
typedef __m512i Ints;
typedef __m512 Floats;
typedef __m512i Partial;

constexpr int kLanes = 16;
/// Registers × tokens that a tile of the integer product has; what 32 registers hold.
constexpr int kTileRegisters = 2, kTileTokens = 12, kSmallTileTokens = 4;
#ifdef DBELL_DOT
constexpr int kFieldBits = 8, kNarrowFieldBits = 4, kStructuredFieldBits = 4, kProductsPerSum = 0;
#else
constexpr int kFieldBits = 4, kNarrowFieldBits = 4, kStructuredFieldBits = 4, kProductsPerSum = 2;
#endif
constexpr int kStructuredTileTokens = 8;
constexpr int kFloatTileTokens = 12, kFloatTilePanels = 2;
constexpr int kFloatSmallTileTokens = 4, kFloatSmallTilePanels = 4, kFloatRowPanels = 4;

DBELL_INLINE Bytes load_bytes(const void* from) { return _mm512_loadu_si512(from); }
DBELL_INLINE void store_bytes(void* to, Bytes value) { _mm512_storeu_si512(to, value); }
DBELL_INLINE Bytes zero_bytes() { return _mm512_setzero_si512(); }
DBELL_INLINE Bytes byte_of(int value) { return _mm512_set1_epi8(static_cast<char>(value)); }
DBELL_INLINE Bytes bytes_of_lane(std::int32_t four) { return _mm512_set1_epi32(four); }
/// 16 bits for each lane, zeros above them.
DBELL_INLINE Bytes load_byte_pairs(const void* from) {
  return _mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(from)));
}
DBELL_INLINE Bytes bit_and(Bytes a, Bytes b) { return _mm512_and_si512(a, b); }
DBELL_INLINE Bytes bit_or(Bytes a, Bytes b) { return _mm512_or_si512(a, b); }
DBELL_INLINE Bytes select(Bytes mask, Bytes yes, Bytes no) {
  return _mm512_ternarylogic_epi64(mask, yes, no, 0xCA);
}
DBELL_INLINE Bytes add_bytes(Bytes a, Bytes b) { return _mm512_add_epi8(a, b); }
DBELL_INLINE Bytes subtract_bytes(Bytes a, Bytes b) { return _mm512_sub_epi8(a, b); }
DBELL_INLINE Bytes subtract_to_zero(Bytes a, Bytes b) { return _mm512_subs_epu8(a, b); }
DBELL_INLINE Bytes minimum(Bytes a, Bytes b) { return _mm512_min_epu8(a, b); }
/// Shifts within bytes; what crosses a byte's border is for the caller to mask away.
template <int count>
DBELL_INLINE Bytes shift_right(Bytes a) {
  return _mm512_srli_epi16(a, count);
}
template <int count>
DBELL_INLINE Bytes shift_left(Bytes a) {
  return _mm512_slli_epi16(a, count);
}
DBELL_INLINE Bytes shift_right(Bytes a, int count) { return _mm512_srl_epi16(a, _mm_cvtsi32_si128(count)); }

DBELL_INLINE Ints zero_ints() { return _mm512_setzero_si512(); }
DBELL_INLINE Ints int_of(std::int32_t value) { return _mm512_set1_epi32(value); }
DBELL_INLINE Ints add(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
DBELL_INLINE Ints subtract(Ints a, Ints b) { return _mm512_sub_epi32(a, b); }
DBELL_INLINE Ints multiply(Ints a, Ints b) { return _mm512_mullo_epi32(a, b); }
template <int count>
DBELL_INLINE Ints shift_lanes_left(Ints a) {
  return _mm512_slli_epi32(a, count);
}
template <int count>
DBELL_INLINE Ints shift_lanes_right(Ints a) {
  return _mm512_srai_epi32(a, count);
}
/// Byte `index` of each lane, zero-extended.
template <int index>
DBELL_INLINE Ints byte_of_lane(Bytes a) {
  return _mm512_and_si512(_mm512_srli_epi32(a, 8 * index), _mm512_set1_epi32(0xFF));
}
DBELL_INLINE void store_ints(std::int32_t* to, Ints value) { store_bytes(to, value); }

DBELL_INLINE Floats load_floats(const float* from) { return _mm512_loadu_ps(from); }
DBELL_INLINE void store_floats(float* to, Floats value) { _mm512_storeu_ps(to, value); }
DBELL_INLINE Floats zero_floats() { return _mm512_setzero_ps(); }
DBELL_INLINE Floats float_of(float value) { return _mm512_set1_ps(value); }
DBELL_INLINE Floats to_floats(Ints value) { return _mm512_cvtepi32_ps(value); }
DBELL_INLINE Floats half_floats(const std::uint16_t* from) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
DBELL_INLINE Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
DBELL_INLINE Floats subtract(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
DBELL_INLINE Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
/// a·b + c, rounded once.
DBELL_INLINE Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
/// table[code mod 4] in each lane.
DBELL_INLINE Floats look_up_four(Ints code, const Floats* table) {
  const __mmask16 low = _mm512_test_epi32_mask(code, _mm512_set1_epi32(1));
  const __mmask16 high = _mm512_test_epi32_mask(code, _mm512_set1_epi32(2));
  return _mm512_mask_blend_ps(high, _mm512_mask_blend_ps(low, table[0], table[1]),
                              _mm512_mask_blend_ps(low, table[2], table[3]));
}

DBELL_INLINE Partial zero_partial() { return _mm512_setzero_si512(); }
#ifdef DBELL_DOT
DBELL_INLINE Partial add_products(Partial sum, Bytes codes, Bytes values) {
  return _mm512_dpbusd_epi32(sum, codes, values);
}
DBELL_INLINE Partial add_partials(Partial a, Partial b) { return add(a, b); }
DBELL_INLINE Ints sums_of(Partial partial) { return partial; }
DBELL_INLINE Ints twice_sums_of(Partial partial) { return shift_lanes_left<1>(partial); }
/// The same with int32 sums, whatever Partial is; a row's four products must fit int16 in pairs.
DBELL_INLINE Ints add_products_wide(Ints sum, Bytes codes, Bytes values) { return add_products(sum, codes, values); }
/// Codes of either sign: activations are taken as x̂ + 128, and signed_excess is 128 times the sum of the codes.
DBELL_INLINE Ints add_signed_products(Ints sum, Bytes codes, Bytes values) {
  return add_products(sum, _mm512_xor_si512(values, byte_of(0x80)), codes);
}
DBELL_INLINE Ints signed_excess(Ints sum, Bytes codes) { return add_products(sum, byte_of(0x80), codes); }
#else
DBELL_INLINE Partial add_partials(Partial a, Partial b) { return _mm512_add_epi16(a, b); }
DBELL_INLINE Ints sums_of(Partial partial) { return _mm512_madd_epi16(partial, _mm512_set1_epi16(1)); }
DBELL_INLINE Ints twice_sums_of(Partial partial) { return _mm512_madd_epi16(partial, _mm512_set1_epi16(2)); }
DBELL_INLINE Partial add_products(Partial sum, Bytes codes, Bytes values) {
  return _mm512_add_epi16(sum, _mm512_maddubs_epi16(codes, values));
}
DBELL_INLINE Ints add_products_wide(Ints sum, Bytes codes, Bytes values) {
  return add(sum, sums_of(_mm512_maddubs_epi16(codes, values)));
}
/// Codes of either sign: |code| ≤ 128 as the unsigned operand, ±x̂ with the code's sign as the signed one; a pair is at
/// most 2·128·127 = 32512.
DBELL_INLINE Ints add_signed_products(Ints sum, Bytes codes, Bytes values) {
  const Bytes signed_values = _mm512_mask_sub_epi8(values, _mm512_movepi8_mask(codes), zero_bytes(), values);
  return add_products_wide(sum, _mm512_abs_epi8(codes), signed_values);
}
DBELL_INLINE Ints signed_excess(Ints sum, Bytes) { return sum; }
#endif

#ifndef DBELL_DOT
// For sum_tables.cpp. Everything here stays within 128 bits, as the instructions do.
#define DBELL_HAS_SUM_TABLES
/// Sixteen bytes, aligned, in every 128 bits.
DBELL_INLINE Bytes load_table(const void* from) { return _mm512_broadcast_i32x4(_mm_load_si128(static_cast<const __m128i*>(from))); }
/// table[index] of each byte, 0 … 15.
DBELL_INLINE Bytes look_up(Bytes table, Bytes indices) { return _mm512_shuffle_epi8(table, indices); }
template <int width>
DBELL_INLINE Bytes interleave_low(Bytes a, Bytes b) {
  static_assert(width == 16 || width == 32 || width == 64, "bits");
  return width == 16 ? _mm512_unpacklo_epi16(a, b) : width == 32 ? _mm512_unpacklo_epi32(a, b) : _mm512_unpacklo_epi64(a, b);
}
template <int width>
DBELL_INLINE Bytes interleave_high(Bytes a, Bytes b) {
  static_assert(width == 16 || width == 32 || width == 64, "bits");
  return width == 16 ? _mm512_unpackhi_epi16(a, b) : width == 32 ? _mm512_unpackhi_epi32(a, b) : _mm512_unpackhi_epi64(a, b);
}
DBELL_INLINE Bytes word_of(int value) { return _mm512_set1_epi16(static_cast<short>(value)); }
DBELL_INLINE Bytes add_words(Bytes a, Bytes b) { return _mm512_add_epi16(a, b); }
DBELL_INLINE Bytes subtract_words(Bytes a, Bytes b) { return _mm512_sub_epi16(a, b); }
#endif

DBELL_INLINE void prefetch(const void* at) { _mm_prefetch(static_cast<const char*>(at), _MM_HINT_T0); }

/// kLanes rows × 32 codes to 8 registers: quad q holds columns 4q … 4q + 3 of row i in lane i. A null row is zero.
inline void transpose_codes(const std::int8_t* const* rows, Bytes* quads) {
  __m256i low[8], high[8];
  transpose_codes_8(rows, low);
  transpose_codes_8(rows + 8, high);
  for (int q = 0; q < 8; ++q) quads[q] = _mm512_inserti64x4(_mm512_castsi256_si512(low[q]), high[q], 1);
}

}  // namespace
}  // namespace dbell::DBELL_KERNEL_SET

#include "kernels/lanes/x86_digits.h"
#ifndef DBELL_DOT
#include "kernels/lanes/x86_sum_tables.h"
#endif
