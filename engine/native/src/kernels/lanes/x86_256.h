#pragma once
// 256-bit registers: AVX2, and AVX-VNNI where DBELL_DOT is defined.
#include <immintrin.h>

#include "kernels/lanes/x86_transpose.h"

namespace dbell::DBELL_KERNEL_SET {
namespace {

typedef __m256i Bytes;
typedef __m256i Ints;
typedef __m256 Floats;
typedef __m256i Partial;

constexpr int kLanes = 8;
/// Registers × tokens that a tile of the integer product has; what 16 registers hold.
constexpr int kTileRegisters = 2;
constexpr int kTileTokens = 4, kSmallTileTokens = 2;
#ifdef DBELL_DOT
constexpr int kFieldBits = 8, kNarrowFieldBits = 4, kProductsPerSum = 0;
#else
constexpr int kFieldBits = 4, kNarrowFieldBits = 4, kProductsPerSum = 2;
#endif
constexpr int kStructuredTileTokens = 3, kStructuredFieldBits = 4;
constexpr int kFloatTileTokens = 6, kFloatTilePanels = 1;
constexpr int kFloatSmallTileTokens = 2, kFloatSmallTilePanels = 2, kFloatRowPanels = 4;

DBELL_INLINE Bytes load_bytes(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
DBELL_INLINE void store_bytes(void* to, Bytes value) { _mm256_storeu_si256(static_cast<__m256i*>(to), value); }
DBELL_INLINE Bytes zero_bytes() { return _mm256_setzero_si256(); }
DBELL_INLINE Bytes byte_of(int value) { return _mm256_set1_epi8(static_cast<char>(value)); }
DBELL_INLINE Bytes bytes_of_lane(std::int32_t four) { return _mm256_set1_epi32(four); }
/// 16 bits for each lane, zeros above them.
DBELL_INLINE Bytes load_byte_pairs(const void* from) {
  return _mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i*>(from)));
}
DBELL_INLINE Bytes bit_and(Bytes a, Bytes b) { return _mm256_and_si256(a, b); }
DBELL_INLINE Bytes bit_or(Bytes a, Bytes b) { return _mm256_or_si256(a, b); }
DBELL_INLINE Bytes select(Bytes mask, Bytes yes, Bytes no) {
  return _mm256_or_si256(_mm256_and_si256(mask, yes), _mm256_andnot_si256(mask, no));
}
DBELL_INLINE Bytes add_bytes(Bytes a, Bytes b) { return _mm256_add_epi8(a, b); }
DBELL_INLINE Bytes subtract_bytes(Bytes a, Bytes b) { return _mm256_sub_epi8(a, b); }
DBELL_INLINE Bytes subtract_to_zero(Bytes a, Bytes b) { return _mm256_subs_epu8(a, b); }
DBELL_INLINE Bytes minimum(Bytes a, Bytes b) { return _mm256_min_epu8(a, b); }
/// Shifts within bytes; what crosses a byte's border is for the caller to mask away.
template <int count>
DBELL_INLINE Bytes shift_right(Bytes a) {
  return _mm256_srli_epi16(a, count);
}
template <int count>
DBELL_INLINE Bytes shift_left(Bytes a) {
  return _mm256_slli_epi16(a, count);
}
DBELL_INLINE Bytes shift_right(Bytes a, int count) { return _mm256_srl_epi16(a, _mm_cvtsi32_si128(count)); }

DBELL_INLINE Ints zero_ints() { return _mm256_setzero_si256(); }
DBELL_INLINE Ints int_of(std::int32_t value) { return _mm256_set1_epi32(value); }
DBELL_INLINE Ints add(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
DBELL_INLINE Ints subtract(Ints a, Ints b) { return _mm256_sub_epi32(a, b); }
DBELL_INLINE Ints multiply(Ints a, Ints b) { return _mm256_mullo_epi32(a, b); }
template <int count>
DBELL_INLINE Ints shift_lanes_left(Ints a) {
  return _mm256_slli_epi32(a, count);
}
template <int count>
DBELL_INLINE Ints shift_lanes_right(Ints a) {
  return _mm256_srai_epi32(a, count);
}
/// Byte `index` of each lane, zero-extended.
template <int index>
DBELL_INLINE Ints byte_of_lane(Bytes a) {
  return _mm256_and_si256(_mm256_srli_epi32(a, 8 * index), _mm256_set1_epi32(0xFF));
}
DBELL_INLINE void store_ints(std::int32_t* to, Ints value) { store_bytes(to, value); }

DBELL_INLINE Floats load_floats(const float* from) { return _mm256_loadu_ps(from); }
DBELL_INLINE void store_floats(float* to, Floats value) { _mm256_storeu_ps(to, value); }
DBELL_INLINE Floats zero_floats() { return _mm256_setzero_ps(); }
DBELL_INLINE Floats float_of(float value) { return _mm256_set1_ps(value); }
DBELL_INLINE Floats to_floats(Ints value) { return _mm256_cvtepi32_ps(value); }
DBELL_INLINE Floats half_floats(const std::uint16_t* from) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
DBELL_INLINE Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
DBELL_INLINE Floats subtract(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
DBELL_INLINE Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
/// a·b + c, rounded once.
DBELL_INLINE Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
/// table[code mod 4] in each lane.
DBELL_INLINE Floats look_up_four(Ints code, const Floats* table) {
  // blendv looks at the sign bit.
  const __m256 low = _mm256_castsi256_ps(_mm256_slli_epi32(code, 31));
  const __m256 high = _mm256_castsi256_ps(_mm256_slli_epi32(code, 30));
  return _mm256_blendv_ps(_mm256_blendv_ps(table[0], table[1], low), _mm256_blendv_ps(table[2], table[3], low), high);
}

DBELL_INLINE Partial zero_partial() { return _mm256_setzero_si256(); }
#ifdef DBELL_DOT
DBELL_INLINE Ints dot(Ints sum, Bytes codes, Bytes values) {
  return _mm256_dpbusd_avx_epi32(sum, codes, values);
}
DBELL_INLINE Partial add_products(Partial sum, Bytes codes, Bytes values) { return dot(sum, codes, values); }
DBELL_INLINE Partial add_partials(Partial a, Partial b) { return add(a, b); }
DBELL_INLINE Ints sums_of(Partial partial) { return partial; }
DBELL_INLINE Ints twice_sums_of(Partial partial) { return shift_lanes_left<1>(partial); }
/// The same with int32 sums, whatever Partial is; a row's four products must fit int16 in pairs.
DBELL_INLINE Ints add_products_wide(Ints sum, Bytes codes, Bytes values) { return dot(sum, codes, values); }
/// Codes of either sign: activations are taken as x̂ + 128, and signed_excess is 128 times the sum of the codes.
DBELL_INLINE Ints add_signed_products(Ints sum, Bytes codes, Bytes values) {
  return dot(sum, _mm256_xor_si256(values, byte_of(0x80)), codes);
}
DBELL_INLINE Ints signed_excess(Ints sum, Bytes codes) { return dot(sum, byte_of(0x80), codes); }
#else
DBELL_INLINE Partial add_partials(Partial a, Partial b) { return _mm256_add_epi16(a, b); }
DBELL_INLINE Ints sums_of(Partial partial) { return _mm256_madd_epi16(partial, _mm256_set1_epi16(1)); }
DBELL_INLINE Ints twice_sums_of(Partial partial) { return _mm256_madd_epi16(partial, _mm256_set1_epi16(2)); }
DBELL_INLINE Partial add_products(Partial sum, Bytes codes, Bytes values) {
  return _mm256_add_epi16(sum, _mm256_maddubs_epi16(codes, values));
}
DBELL_INLINE Ints add_products_wide(Ints sum, Bytes codes, Bytes values) {
  return add(sum, sums_of(_mm256_maddubs_epi16(codes, values)));
}
/// Codes of either sign: |code| ≤ 128 as the unsigned operand, ±x̂ with the code's sign as the signed one; a pair is at
/// most 2·128·127 = 32512.
DBELL_INLINE Ints add_signed_products(Ints sum, Bytes codes, Bytes values) {
  return add_products_wide(sum, _mm256_abs_epi8(codes), _mm256_sign_epi8(values, codes));
}
DBELL_INLINE Ints signed_excess(Ints sum, Bytes) { return sum; }
#endif

#ifndef DBELL_DOT
// For sum_tables.cpp. Everything here stays within 128 bits, as the instructions do.
#define DBELL_HAS_SUM_TABLES
/// Sixteen bytes, aligned, in every 128 bits.
DBELL_INLINE Bytes load_table(const void* from) { return _mm256_broadcastsi128_si256(_mm_load_si128(static_cast<const __m128i*>(from))); }
/// table[index] of each byte, 0 … 15.
DBELL_INLINE Bytes look_up(Bytes table, Bytes indices) { return _mm256_shuffle_epi8(table, indices); }
template <int width>
DBELL_INLINE Bytes interleave_low(Bytes a, Bytes b) {
  static_assert(width == 16 || width == 32 || width == 64, "bits");
  return width == 16 ? _mm256_unpacklo_epi16(a, b) : width == 32 ? _mm256_unpacklo_epi32(a, b) : _mm256_unpacklo_epi64(a, b);
}
template <int width>
DBELL_INLINE Bytes interleave_high(Bytes a, Bytes b) {
  static_assert(width == 16 || width == 32 || width == 64, "bits");
  return width == 16 ? _mm256_unpackhi_epi16(a, b) : width == 32 ? _mm256_unpackhi_epi32(a, b) : _mm256_unpackhi_epi64(a, b);
}
DBELL_INLINE Bytes word_of(int value) { return _mm256_set1_epi16(static_cast<short>(value)); }
DBELL_INLINE Bytes add_words(Bytes a, Bytes b) { return _mm256_add_epi16(a, b); }
DBELL_INLINE Bytes subtract_words(Bytes a, Bytes b) { return _mm256_sub_epi16(a, b); }
#endif

// For vector_functions.cpp.
DBELL_INLINE Floats divide(Floats a, Floats b) { return _mm256_div_ps(a, b); }
DBELL_INLINE Floats smaller(Floats a, Floats b) { return _mm256_min_ps(a, b); }
DBELL_INLINE Floats larger(Floats a, Floats b) { return _mm256_max_ps(a, b); }
/// To nearest, ties to even.
DBELL_INLINE Ints to_ints(Floats value) { return _mm256_cvtps_epi32(value); }
/// value where a ≥ b, else 0.
DBELL_INLINE Floats keep_where_not_less(Floats a, Floats b, Floats value) {
  return _mm256_andnot_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ), value);
}
DBELL_INLINE Ints bits_of(Floats value) { return _mm256_castps_si256(value); }
DBELL_INLINE Floats floats_of_bits(Ints bits) { return _mm256_castsi256_ps(bits); }
DBELL_INLINE Ints larger(Ints a, Ints b) { return _mm256_max_epi32(a, b); }
DBELL_INLINE Ints and_ints(Ints a, Ints b) { return _mm256_and_si256(a, b); }
/// Eight integers of −128 … 127 as bytes.
DBELL_INLINE void store_low_bytes(std::int8_t* to, Ints value) {
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(value), _mm256_extracti128_si256(value, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packs_epi16(words, words));
}

/// Eight int8.
DBELL_INLINE Ints load_codes(const std::int8_t* from) {
  return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
}

DBELL_INLINE void prefetch(const void* at) { _mm_prefetch(static_cast<const char*>(at), _MM_HINT_T0); }

/// kLanes rows × 32 codes to 8 registers: quad q holds columns 4q … 4q + 3 of row i in lane i. A null row is zero.
inline void transpose_codes(const std::int8_t* const* rows, Bytes* quads) { transpose_codes_8(rows, quads); }

}  // namespace
}  // namespace dbell::DBELL_KERNEL_SET

#include "kernels/lanes/x86_digits.h"
#ifndef DBELL_DOT
#include "kernels/lanes/x86_sum_tables.h"
#endif
