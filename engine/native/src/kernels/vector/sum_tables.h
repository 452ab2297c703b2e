#pragma once
// Looking sums of activations up, four columns at a time. The idea is T-MAC's (Wei et al. 2024, arXiv:2407.00088).
//
// A nibble of a line's byte has four columns of a row (4b + j for four b), and every row has the same four in the same
// place; once the bytes of as many rows stand side by side, one instruction finds all their sums in a table of sixteen
// entries. An entry is Σ x̂ over the set bits less the least such sum: 0 … 508, nine bits, the lower six in one table of
// bytes, the upper three in another. They are added up as bytes: four lower parts are at most 252, the upper ones of a
// block, 32 a row, at most 224.
//
// 7.5 instructions for 128 products of a plane, where masks, products and sums (grid.cpp) take 12.5 without a dot product
// and 8 with one: so only the sets without have tables. Two planes take 15 here and 17 there; from three on, fields are
// faster. The structured layout's three masked sums take 22.5 here and 38 there.
#include "kernels/lanes/lanes.h"

#ifdef DBELL_HAS_SUM_TABLES
namespace dbell::DBELL_KERNEL_SET {
namespace {

/// Registers of rows that are looked up together, and the row groups that these are.
constexpr int kTogether = 4;
constexpr std::size_t kGroupsTogether = kTogether / kRegisters;
/// Bits of a sum in the table of lower parts.
constexpr int kLowerSumBits = 6;

/// Four rows of four columns, as columns of four rows.
alignas(16) constexpr std::uint8_t kByColumn[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};

/// Sixteen-bit sums of what was looked up as bytes: those of even bytes and those of odd ones.
struct ByteSums {
  Bytes even, odd;
};

/// The bytes of kTogether registers, [rows, 4 columns j], as one register for each j; in each 128 bits stand four rows of
/// the first register, then of the second, and so on.
DBELL_INLINE void gather_columns(const Bytes* registers, Bytes* columns) {
  Bytes rows[kTogether];
  unroll<kTogether>([&](auto i) DBELL_INLINE_LAMBDA { rows[i] = look_up(registers[i], load_table(kByColumn)); });
  const Bytes first = interleave_low<32>(rows[0], rows[1]), second = interleave_low<32>(rows[2], rows[3]);
  const Bytes third = interleave_high<32>(rows[0], rows[1]), fourth = interleave_high<32>(rows[2], rows[3]);
  columns[0] = interleave_low<64>(first, second);
  columns[1] = interleave_high<64>(first, second);
  columns[2] = interleave_low<64>(third, fourth);
  columns[3] = interleave_high<64>(third, fourth);
}

/// Sums over the set bits of one block of `lines` lines, less the block's least ones; `load` gives the kTogether registers
/// of a line's bits.
template <class Load>
DBELL_INLINE ByteSums look_up_block(std::size_t lines, const std::uint8_t* entries, const Load& load) {
  // Words of lower parts with the odd byte's 256-fold in them; those of odd bytes by themselves; bytes of upper parts.
  Bytes both = zero_bytes(), odd = zero_bytes(), upper = zero_bytes();
  const Bytes nibble = byte_of(15);
  for (std::size_t line = 0; line < lines; ++line, entries += kLineSumTableBytes) {
    Bytes registers[kTogether], columns[kTogether];
    load(line, registers);
    gather_columns(registers, columns);
    unroll<2>([&](auto pair) DBELL_INLINE_LAMBDA {
      Bytes found[4];
      unroll<4>([&](auto i) DBELL_INLINE_LAMBDA {
        constexpr int j = 2 * pair + i / 2, half = i % 2;
        const std::uint8_t* table = entries + (2 * j + half) * kSumTableBytes;
        const Bytes indices = bit_and(half == 0 ? columns[j] : shift_right<4>(columns[j]), nibble);
        found[i] = look_up(load_table(table), indices);
        upper = add_bytes(upper, look_up(load_table(table + kSumTableEntries), indices));
      });
      const Bytes lower = add_bytes(add_bytes(found[0], found[1]), add_bytes(found[2], found[3]));
      both = add_words(both, lower);
      odd = add_words(odd, shift_right<8>(lower));
      DBELL_ADD_IN_ORDER(both);
      DBELL_ADD_IN_ORDER(odd);
      DBELL_ADD_IN_ORDER(upper);
    });
  }
  const Bytes even = subtract_words(both, shift_left<8>(odd));
  return {add_words(even, shift_left<kLowerSumBits>(bit_and(upper, word_of(0xFF)))),
          add_words(odd, shift_left<kLowerSumBits>(shift_right<8>(upper)))};
}

/// The words of `sums`, at most 3 · 32 · 508, as integers, a register for each of those that were looked up together.
DBELL_INLINE void widen(const ByteSums& sums, Ints* integers) {
  const Bytes words[2] = {interleave_low<16>(sums.even, sums.odd), interleave_high<16>(sums.even, sums.odd)};
  unroll<2>([&](auto i) DBELL_INLINE_LAMBDA {
    integers[2 * i] = interleave_low<16>(words[i], zero_bytes());
    integers[2 * i + 1] = interleave_high<16>(words[i], zero_bytes());
  });
}

}  // namespace
}  // namespace dbell::DBELL_KERNEL_SET
#endif
