#pragma once
// 128-bit registers: NEON of 64-bit ARM, and its dot product of bytes where DBELL_DOT is defined.
#include <arm_neon.h>

#include <cstring>

namespace dbell::DBELL_KERNEL_SET {
namespace {

typedef uint8x16_t Bytes;
typedef int32x4_t Ints;
typedef float32x4_t Floats;

constexpr int kLanes = 4;
/// Registers × tokens that a tile of the integer product has; what 32 registers hold.
#ifdef DBELL_DOT
typedef int32x4_t Partial;
constexpr int kTileRegisters = 4, kTileTokens = 4, kSmallTileTokens = 2;
constexpr int kFieldBits = 7, kNarrowFieldBits = 7, kProductsPerSum = 0;
constexpr int kStructuredTileTokens = 4;
#else
/// Products of rows 0 and 1, of rows 2 and 3, each in four int16.
struct Partial {
  int16x8_t low, high;
};
constexpr int kTileRegisters = 4, kTileTokens = 2, kSmallTileTokens = 2;
constexpr int kFieldBits = 4, kNarrowFieldBits = 4, kProductsPerSum = 1;
constexpr int kStructuredTileTokens = 2;
#endif
constexpr int kStructuredFieldBits = 4;
constexpr int kFloatTileTokens = 4, kFloatTilePanels = 1;
constexpr int kFloatSmallTileTokens = 2, kFloatSmallTilePanels = 2, kFloatRowPanels = 4;

DBELL_INLINE Bytes load_bytes(const void* from) { return vld1q_u8(static_cast<const std::uint8_t*>(from)); }
DBELL_INLINE void store_bytes(void* to, Bytes value) { vst1q_u8(static_cast<std::uint8_t*>(to), value); }
DBELL_INLINE Bytes zero_bytes() { return vdupq_n_u8(0); }
DBELL_INLINE Bytes byte_of(int value) { return vdupq_n_u8(static_cast<std::uint8_t>(value)); }
DBELL_INLINE Bytes bytes_of_lane(std::int32_t four) { return vreinterpretq_u8_s32(vdupq_n_s32(four)); }
/// 16 bits for each lane, zeros above them.
DBELL_INLINE Bytes load_byte_pairs(const void* from) {
  return vreinterpretq_u8_u32(vmovl_u16(vreinterpret_u16_u8(vld1_u8(static_cast<const std::uint8_t*>(from)))));
}
DBELL_INLINE Bytes bit_and(Bytes a, Bytes b) { return vandq_u8(a, b); }
DBELL_INLINE Bytes bit_or(Bytes a, Bytes b) { return vorrq_u8(a, b); }
DBELL_INLINE Bytes select(Bytes mask, Bytes yes, Bytes no) { return vbslq_u8(mask, yes, no); }
DBELL_INLINE Bytes add_bytes(Bytes a, Bytes b) { return vaddq_u8(a, b); }
template <int count>
DBELL_INLINE Bytes shift_right(Bytes a) {
  if constexpr (count == 0) {
    return a;
  } else {
    return vshrq_n_u8(a, count);
  }
}
template <int count>
DBELL_INLINE Bytes shift_left(Bytes a) {
  return vshlq_n_u8(a, count);
}
DBELL_INLINE Bytes shift_right(Bytes a, int count) {
  return vshlq_u8(a, vdupq_n_s8(static_cast<std::int8_t>(-count)));
}

DBELL_INLINE Ints zero_ints() { return vdupq_n_s32(0); }
DBELL_INLINE Ints int_of(std::int32_t value) { return vdupq_n_s32(value); }
DBELL_INLINE Ints add(Ints a, Ints b) { return vaddq_s32(a, b); }
DBELL_INLINE Ints subtract(Ints a, Ints b) { return vsubq_s32(a, b); }
DBELL_INLINE Ints multiply(Ints a, Ints b) { return vmulq_s32(a, b); }
template <int count>
DBELL_INLINE Ints shift_lanes_left(Ints a) {
  return vshlq_n_s32(a, count);
}
template <int count>
DBELL_INLINE Ints shift_lanes_right(Ints a) {
  if constexpr (count == 0) {
    return a;
  } else {
    return vshrq_n_s32(a, count);
  }
}
/// Byte `index` of each lane, zero-extended.
template <int index>
DBELL_INLINE Ints byte_of_lane(Bytes a) {
  const uint32x4_t lanes = vreinterpretq_u32_u8(a);
  if constexpr (index == 3) {
    return vreinterpretq_s32_u32(vshrq_n_u32(lanes, 24));
  } else if constexpr (index == 0) {
    return vreinterpretq_s32_u32(vandq_u32(lanes, vdupq_n_u32(0xFF)));
  } else {
    return vreinterpretq_s32_u32(vandq_u32(vshrq_n_u32(lanes, 8 * index), vdupq_n_u32(0xFF)));
  }
}
DBELL_INLINE void store_ints(std::int32_t* to, Ints value) { vst1q_s32(to, value); }

DBELL_INLINE Floats load_floats(const float* from) { return vld1q_f32(from); }
DBELL_INLINE void store_floats(float* to, Floats value) { vst1q_f32(to, value); }
DBELL_INLINE Floats zero_floats() { return vdupq_n_f32(0.0f); }
DBELL_INLINE Floats float_of(float value) { return vdupq_n_f32(value); }
DBELL_INLINE Floats to_floats(Ints value) { return vcvtq_f32_s32(value); }
DBELL_INLINE Floats half_floats(const std::uint16_t* from) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from)));
}
DBELL_INLINE Floats add(Floats a, Floats b) { return vaddq_f32(a, b); }
DBELL_INLINE Floats subtract(Floats a, Floats b) { return vsubq_f32(a, b); }
DBELL_INLINE Floats multiply(Floats a, Floats b) { return vmulq_f32(a, b); }
/// a·b + c, rounded once.
DBELL_INLINE Floats multiply_add(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
/// table[code mod 4] in each lane.
DBELL_INLINE Floats look_up_four(Ints code, const Floats* table) {
  const uint32x4_t low = vtstq_s32(code, vdupq_n_s32(1)), high = vtstq_s32(code, vdupq_n_s32(2));
  return vbslq_f32(high, vbslq_f32(low, table[3], table[2]), vbslq_f32(low, table[1], table[0]));
}

DBELL_INLINE int8x16_t as_signed(Bytes bytes) { return vreinterpretq_s8_u8(bytes); }

#ifdef DBELL_DOT
DBELL_INLINE Partial zero_partial() { return vdupq_n_s32(0); }
DBELL_INLINE Partial add_partials(Partial a, Partial b) { return add(a, b); }
DBELL_INLINE Ints sums_of(Partial partial) { return partial; }
DBELL_INLINE Ints twice_sums_of(Partial partial) { return shift_lanes_left<1>(sums_of(partial)); }
DBELL_INLINE Partial add_products(Partial sum, Bytes codes, Bytes values) {
  return vdotq_s32(sum, as_signed(codes), as_signed(values));
}
DBELL_INLINE Ints add_products_wide(Ints sum, Bytes codes, Bytes values) { return add_products(sum, codes, values); }
/// Codes of either sign.
DBELL_INLINE Ints add_signed_products(Ints sum, Bytes codes, Bytes values) { return add_products(sum, codes, values); }

#define DBELL_HAS_QUAD_OPERANDS
/// `count` quads of activations, four to a register: sdot multiplies with one of them as it stands there.
template <int count>
struct Quads {
  int8x16_t four[count / 4];
};
template <int count>
DBELL_INLINE Quads<count> load_quads(const std::int8_t* x) {
  Quads<count> quads;
  for (int i = 0; i < count / 4; ++i) quads.four[i] = vld1q_s8(x + 16 * i);
  return quads;
}
template <int index, int count>
DBELL_INLINE Partial add_products(Partial sum, Bytes codes, const Quads<count>& quads) {
  return vdotq_laneq_s32(sum, as_signed(codes), quads.four[index / 4], index % 4);
}
#else
DBELL_INLINE Partial zero_partial() { return {vdupq_n_s16(0), vdupq_n_s16(0)}; }
DBELL_INLINE Partial add_partials(Partial a, Partial b) { return {vaddq_s16(a.low, b.low), vaddq_s16(a.high, b.high)}; }
DBELL_INLINE Ints sums_of(Partial partial) { return vpaddq_s32(vpaddlq_s16(partial.low), vpaddlq_s16(partial.high)); }
DBELL_INLINE Ints twice_sums_of(Partial partial) { return shift_lanes_left<1>(sums_of(partial)); }
DBELL_INLINE Partial add_products(Partial sum, Bytes codes, Bytes values) {
  return {vmlal_s8(sum.low, vget_low_s8(as_signed(codes)), vget_low_s8(as_signed(values))),
          vmlal_high_s8(sum.high, as_signed(codes), as_signed(values))};
}
/// The same with int32 sums, whatever Partial is; a product must fit int16.
DBELL_INLINE Ints add_products_wide(Ints sum, Bytes codes, Bytes values) {
  return add(sum, sums_of(add_products(zero_partial(), codes, values)));
}
/// Codes of either sign; |code·x̂| is at most 128·127.
DBELL_INLINE Ints add_signed_products(Ints sum, Bytes codes, Bytes values) {
  return add_products_wide(sum, codes, values);
}
#endif
DBELL_INLINE Ints signed_excess(Ints sum, Bytes) { return sum; }

#if defined(_MSC_VER) && !defined(__clang__)
DBELL_INLINE void prefetch(const void* at) { __prefetch(at); }
#else
DBELL_INLINE void prefetch(const void* at) { __builtin_prefetch(at); }
#endif

/// 4 × 4 lanes of 32 bits: row i of the result is column i.
DBELL_INLINE void transpose_lanes(const int32x4_t* rows, int32x4_t* columns) {
  const int32x4_t low01 = vzip1q_s32(rows[0], rows[1]), high01 = vzip2q_s32(rows[0], rows[1]);
  const int32x4_t low23 = vzip1q_s32(rows[2], rows[3]), high23 = vzip2q_s32(rows[2], rows[3]);
  const auto join_low = [](int32x4_t a, int32x4_t b) {
    return vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
  };
  const auto join_high = [](int32x4_t a, int32x4_t b) {
    return vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
  };
  columns[0] = join_low(low01, low23);
  columns[1] = join_high(low01, low23);
  columns[2] = join_low(high01, high23);
  columns[3] = join_high(high01, high23);
}

/// kLanes rows × 32 codes to 8 registers: quad q holds columns 4q … 4q + 3 of row i in lane i. A null row is zero.
inline void transpose_codes(const std::int8_t* const* rows, Bytes* quads) {
  for (int half = 0; half < 2; ++half) {
    int32x4_t row[4], columns[4];
    for (int i = 0; i < 4; ++i)
      row[i] = rows[i] ? vreinterpretq_s32_u8(load_bytes(rows[i] + 16 * half)) : zero_ints();
    transpose_lanes(row, columns);
    for (int i = 0; i < 4; ++i) quads[4 * half + i] = vreinterpretq_u8_s32(columns[i]);
  }
}

/// Rows and columns that load_transposed turns at once.
constexpr std::size_t kTransposed = 4;

/// Four values of each of four rows (fp16 or float32; a null row is zero), transposed: column j to out + j·stride.
inline void load_transposed(const void* const* rows, bool is_half, float* out, std::size_t stride) {
  int32x4_t row[4], columns[4];
  for (int i = 0; i < 4; ++i) {
    row[i] = rows[i] == nullptr ? zero_ints()
             : vreinterpretq_s32_f32(is_half ? vcvt_f32_f16(vreinterpret_f16_u8(
                                                   vld1_u8(static_cast<const std::uint8_t*>(rows[i]))))
                                             : load_floats(static_cast<const float*>(rows[i])));
  }
  transpose_lanes(row, columns);
  for (std::size_t j = 0; j < 4; ++j) store_floats(out + j * stride, vreinterpretq_f32_s32(columns[j]));
}

inline float half_float(std::uint16_t value) {
  return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(value))), 0);
}

// Base-3 digits come off a byte from the highest. Comparisons count its negative, which multiply-accumulate takes off.
constexpr int kDigitPowers[kDigitsPerByte] = {1, 3, 9, 27, 81};
/// What split_parts leaves of digit k is the digit times this.
constexpr int kPartFactors[kDigitsPerByte] = {1, -1, -1, -1, -1};
/// True where a block's sums of the part would not fit a Partial.
constexpr bool kIsWidePart[kDigitsPerByte] = {};

/// Digits times kPartFactors, as operands of add_products.
DBELL_INLINE void split_parts(Bytes value, Bytes* parts) {
  unroll<static_cast<int>(kDigitsPerByte) - 1>([&](auto i) DBELL_INLINE_LAMBDA {
    constexpr int k = static_cast<int>(kDigitsPerByte) - 1 - i, power = kDigitPowers[k];
    parts[k] = vaddq_u8(vcgeq_u8(value, byte_of(power)), vcgeq_u8(value, byte_of(2 * power)));
    value = vmlaq_u8(value, parts[k], byte_of(power));
  });
  parts[0] = value;
}

DBELL_INLINE void split_digits(Bytes value, Bytes* digits) {
  split_parts(value, digits);
  unroll<static_cast<int>(kDigitsPerByte) - 1>([&](auto i) DBELL_INLINE_LAMBDA {
    digits[i + 1] = vreinterpretq_u8_s8(vnegq_s8(as_signed(digits[i + 1])));
  });
}

// For vector_functions.cpp.
DBELL_INLINE Floats divide(Floats a, Floats b) { return vdivq_f32(a, b); }
DBELL_INLINE Floats smaller(Floats a, Floats b) { return vminq_f32(a, b); }
DBELL_INLINE Floats larger(Floats a, Floats b) { return vmaxq_f32(a, b); }
/// To nearest, ties to even.
DBELL_INLINE Ints to_ints(Floats value) { return vcvtnq_s32_f32(value); }
/// value where a ≥ b, else 0.
DBELL_INLINE Floats keep_where_not_less(Floats a, Floats b, Floats value) {
  return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(value), vcltq_f32(a, b)));
}
DBELL_INLINE Ints bits_of(Floats value) { return vreinterpretq_s32_f32(value); }
DBELL_INLINE Floats floats_of_bits(Ints bits) { return vreinterpretq_f32_s32(bits); }
DBELL_INLINE Ints larger(Ints a, Ints b) { return vmaxq_s32(a, b); }
DBELL_INLINE Ints and_ints(Ints a, Ints b) { return vandq_s32(a, b); }
/// Four integers of −128 … 127 as bytes.
DBELL_INLINE void store_low_bytes(std::int8_t* to, Ints value) {
  const int16x4_t words = vmovn_s32(value);
  const std::int32_t bytes = vget_lane_s32(vreinterpret_s32_s8(vmovn_s16(vcombine_s16(words, words))), 0);
  std::memcpy(to, &bytes, sizeof bytes);
}
/// Four int8.
DBELL_INLINE Ints load_codes(const std::int8_t* from) {
  std::int32_t bytes;
  std::memcpy(&bytes, from, sizeof bytes);
  return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(bytes)))));
}

}  // namespace
}  // namespace dbell::DBELL_KERNEL_SET
