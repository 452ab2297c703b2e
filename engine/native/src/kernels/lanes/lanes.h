#pragma once
// Registers of one instruction set, for the kernels in kernels/vector, which are compiled once for each set. A 64-byte
// line (16 rows, four bytes each) is kRegisters registers; a register has a row in each of its kLanes 32-bit lanes.
//
// The sets differ in how bytes are multiplied and summed. `Partial` is what products are summed in:
//   dpbusd (AVX-VNNI, AVX-512 VNNI) and sdot (NEON with dot product): int32, a row's four products at once
//   maddubs (SSE4.1, AVX2, AVX-512):                                  int16, two products in each
//   smlal (NEON without dot product):                                 int16, one product in each, two registers
// Bytes that are multiplied are codes, 0 … 255 or 0 … 127 (kFieldBits), with activations, −127 … 127. Fields of one and two
// bits use no more than kNarrowFieldBits of a byte, those of the structured layout kStructuredFieldBits: where that is 4, they
// need half as many sums, which the registers then hold.
//
// Everything has internal linkage: nothing compiled here may be merged with code for other CPUs.
#include <cstring>

#include "kernels/lanes/unroll.h"
#include "kernels/packed_linear.h"

#if DBELL_LANE_BITS == 512
#include "kernels/lanes/x86_512.h"
#elif DBELL_LANE_BITS == 256
#include "kernels/lanes/x86_256.h"
#elif defined(DBELL_NEON)
#include "kernels/lanes/neon.h"
#else
#include "kernels/lanes/x86_128.h"
#endif

// Has the compiler add products to a Partial one after the other: GCC else keeps those of several steps, more than there
// are registers, until it adds them all up. No instruction; for x86's sets without a dot product, where it was measured to
// gain (AVX-512's prompts 1.75 times).
#if defined(__GNUC__) && !defined(DBELL_DOT) && !defined(DBELL_NEON)
#define DBELL_ADD_IN_ORDER(sum) asm volatile("" : "+v"(sum))
#else
#define DBELL_ADD_IN_ORDER(sum)
#endif

namespace dbell::DBELL_KERNEL_SET {
namespace {

constexpr int kRegisters = static_cast<int>(kRowsPerGroup) / kLanes;
constexpr std::size_t kRegisterBytes = kLineBytes / kRegisters;
/// Decoding one token streams the weights once; without a hint the memory latency shows.
constexpr std::size_t kPrefetchBytes = 4096;

/// Quads (four products a row each) of codes up to `highest` that a Partial holds.
constexpr std::size_t quads_that_fit(int highest) {
  return kProductsPerSum == 0 ? ~std::size_t{0}
                              : static_cast<std::size_t>(32767 / (kProductsPerSum * 127 * highest));
}

/// Four activations, repeated in every lane.
DBELL_INLINE Bytes quad_at(const std::int8_t* x) {
  std::int32_t quad;
  std::memcpy(&quad, x, sizeof quad);
  return bytes_of_lane(quad);
}

#ifndef DBELL_HAS_QUAD_OPERANDS
/// `count` quads of activations; a set that multiplies with a lane of a register keeps them in registers.
struct Quads {
  const std::int8_t* first;
};
template <int count>
DBELL_INLINE Quads load_quads(const std::int8_t* x) {
  return {x};
}
template <int index>
DBELL_INLINE Partial add_products(Partial sum, Bytes codes, Quads quads) {
  return add_products(sum, codes, quad_at(quads.first + 4 * index));
}
#endif

inline std::size_t lines_of_block(const PackedLinear& linear, std::size_t block) {
  const std::size_t left = linear.lines - block * kLinesPerBlock;
  return left < kLinesPerBlock ? left : kLinesPerBlock;
}

/// The field of `width` bits from bit `position` on, alone in each byte, times 2^field_scale. Fields that reach beyond
/// the `limit` lowest bits are shifted down, so that what stands in a byte stays below 2^limit.
template <int position, int width, int limit>
DBELL_INLINE Bytes field(Bytes bytes) {
  constexpr int mask = (1 << width) - 1;
  if constexpr (position + width <= limit) {
    return bit_and(bytes, byte_of(mask << position));
  } else if constexpr (limit == 4) {
    return bit_and(shift_right<4>(bytes), byte_of(mask << (position - 4)));
  } else {
    static_assert(limit == 7 && position + width == 8, "the highest field of a set with signed bytes");
    return shift_right<position>(bytes);  // NEON's shifts stay within bytes
  }
}
constexpr int field_scale(int position, int width, int limit) {
  return position + width <= limit ? position : limit == 4 ? position - 4 : 0;
}

/// `per_row` integers of each lane, [per_row, kLanes], to `out`, where a row's stand together, the next row's
/// blocks · per_row behind them. Only verification asks for integers; kept out of the loops.
DBELL_NO_INLINE void hand_out(const std::int32_t* lanes, std::size_t per_row, std::size_t blocks, std::int32_t* out) {
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    for (std::size_t i = 0; i < per_row; ++i) out[lane * blocks * per_row + i] = lanes[i * kLanes + lane];
  }
}

/// Bit `bit` of each byte, as 0 or 1.
DBELL_INLINE Bytes bit_at(Bytes bytes, int bit) { return bit_and(shift_right(bytes, bit), byte_of(1)); }

}  // namespace
}  // namespace dbell::DBELL_KERNEL_SET
