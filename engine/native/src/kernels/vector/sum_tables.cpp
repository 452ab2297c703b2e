// Grid linears of one or two planes, one token: sums of activations are looked up, four columns at a time. The idea is T-MAC's
// (Wei et al. 2024, arXiv:2407.00088).
//
// A nibble of a line's byte has four columns of a row (4b + j for four b), and every row has the same four in the same
// place; once the bytes of as many rows stand side by side, one instruction finds all their sums in a table of sixteen
// entries. An entry is Σ x̂ over the set bits less the least such sum: 0 … 508, nine bits, the lower six in one table of
// bytes, the upper three in another. They are added up as bytes: four lower parts are at most 252, the upper ones of a
// block, 32 a row, at most 224.
//
// 7.5 instructions for 128 products of a plane, where masks, products and sums (grid.cpp) take 12.5 without a dot product
// and 8 with one: so only the sets without have tables. Two planes take 15 here and 17 there; from three on, fields are
// faster.
#include "kernels/vector/grid_block.h"
#include "kernels/vector/kernels.h"

namespace dbell::DBELL_KERNEL_SET {

#ifdef DBELL_HAS_SUM_TABLES
namespace {

/// Registers of rows that are looked up together, and the row groups that these are.
constexpr int kTogether = 4;
constexpr std::size_t kGroupsTogether = kTogether / kRegisters;
/// With fewer row groups to a call, making the tables costs more than they bring.
constexpr std::size_t kLeastGroups = 16;
/// Blocks whose tables are held at once (32 KiB), and row groups whose sums are.
constexpr std::size_t kBlocksAtOnce = 32, kGroupsAtOnce = 64;
static_assert(kGroupsAtOnce % kGroupsTogether == 0, "no group is left between");

constexpr int kLowerBits = 6;
constexpr std::size_t kEntries = 16;
/// Of one nibble, lower parts and upper ones; a line has eight nibbles: columns j = 0 … 3 of quads 0 … 3, then 4 … 7.
constexpr std::size_t kNibbleTableBytes = 2 * kEntries;
constexpr std::size_t kLineTableBytes = 8 * kNibbleTableBytes;

/// Four rows of four columns, as columns of four rows.
alignas(16) constexpr std::uint8_t kByColumn[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};

struct SumTables {
  alignas(64) std::uint8_t entries[kBlocksAtOnce * kLinesPerBlock * kLineTableBytes];
  /// What a block's entries are less than the sums, together.
  std::int32_t least[kBlocksAtOnce];
};

/// Tables of blocks [begin, end) of one token.
void fill_tables(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t begin,
                 std::size_t end, SumTables& tables) {
  std::uint8_t* entries = tables.entries;
  for (std::size_t block = begin; block < end; ++block) {
    const std::int8_t* x = activations.values + block * kColumnsPerBlock;
    std::int32_t least = 0;
    for (std::size_t line = 0; line < lines_of_block(linear, block); ++line, x += kColumnsPerLine) {
      for (int j = 0; j < 4; ++j) {
        for (int half = 0; half < 2; ++half, entries += kNibbleTableBytes)
          least += fill_sum_table<kLowerBits>(x + half * kColumnsPerLine / 2 + j, entries);
      }
    }
    tables.least[block - begin] = least;
  }
}

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

/// Sums over the set bits of one plane of `lines` lines, less the block's least ones. `plane` has the plane's first line
/// of each row group.
template <int planes>
DBELL_INLINE ByteSums look_up_block(const std::uint8_t* const* plane, std::size_t lines, const std::uint8_t* entries) {
  // Words of lower parts with the odd byte's 256-fold in them; those of odd bytes by themselves; bytes of upper parts.
  Bytes both = zero_bytes(), odd = zero_bytes(), upper = zero_bytes();
  const Bytes nibble = byte_of(15);
  constexpr std::size_t stride = planes * kLineBytes;
  for (std::size_t at = 0; at < lines * stride; at += stride, entries += kLineTableBytes) {
    Bytes registers[kTogether], columns[kTogether];
    unroll<kTogether>([&](auto i) DBELL_INLINE_LAMBDA {
      const std::uint8_t* bytes = plane[i / kRegisters] + at;
      if (i % kRegisters == 0) prefetch(bytes + kPrefetchBytes);
      registers[i] = load_bytes(bytes + i % kRegisters * kRegisterBytes);
    });
    gather_columns(registers, columns);
    unroll<2>([&](auto pair) DBELL_INLINE_LAMBDA {
      Bytes found[4];
      unroll<4>([&](auto i) DBELL_INLINE_LAMBDA {
        constexpr int j = 2 * pair + i / 2, half = i % 2;
        const std::uint8_t* table = entries + (2 * j + half) * kNibbleTableBytes;
        const Bytes indices = bit_and(half == 0 ? columns[j] : shift_right<4>(columns[j]), nibble);
        found[i] = look_up(load_table(table), indices);
        upper = add_bytes(upper, look_up(load_table(table + kEntries), indices));
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
  return {add_words(even, shift_left<kLowerBits>(bit_and(upper, word_of(0xFF)))),
          add_words(odd, shift_left<kLowerBits>(shift_right<8>(upper)))};
}

/// The words of `sums`, at most 3 · 32 · 508, as integers, a register for each of those that were looked up together.
DBELL_INLINE void widen(const ByteSums& sums, Ints* integers) {
  const Bytes words[2] = {interleave_low<16>(sums.even, sums.odd), interleave_high<16>(sums.even, sums.odd)};
  unroll<2>([&](auto i) DBELL_INLINE_LAMBDA {
    integers[2 * i] = interleave_low<16>(words[i], zero_bytes());
    integers[2 * i + 1] = interleave_high<16>(words[i], zero_bytes());
  });
}

/// Blocks [begin, end) of kGroupsTogether row groups, added to their accumulators, [kTogether, kLanes].
template <int planes, bool hands_out>
void add_blocks(const PackedLinear& linear, const QuantizedActivations& activations, const SumTables& tables,
                std::size_t group, std::size_t begin, std::size_t end, float* accumulators, std::int32_t* integers) {
  const std::uint8_t* line[kGroupsTogether];
  for (std::size_t i = 0; i < kGroupsTogether; ++i)
    line[i] = linear.planes + ((group + i) * linear.lines + begin * kLinesPerBlock) * planes * kLineBytes;
  Floats sums[kTogether];
  unroll<kTogether>([&](auto i) DBELL_INLINE_LAMBDA {
    sums[i] = begin == 0 ? zero_floats() : load_floats(accumulators + i * kLanes);
  });
  for (std::size_t block = begin; block < end; ++block) {
    const std::size_t lines = lines_of_block(linear, block);
    const std::uint8_t* entries = tables.entries + (block - begin) * kLinesPerBlock * kLineTableBytes;
    ByteSums words = look_up_block<planes>(line, lines, entries);
    if constexpr (planes == 2) {
      const std::uint8_t* second[kGroupsTogether];
      for (std::size_t i = 0; i < kGroupsTogether; ++i) second[i] = line[i] + kLineBytes;
      const ByteSums twice = look_up_block<planes>(second, lines, entries);
      words = {add_words(words.even, shift_left<1>(twice.even)), add_words(words.odd, shift_left<1>(twice.odd))};
    }
    Ints found[kTogether];
    widen(words, found);
    // I_b of kernel_table.h.
    constexpr int highest = (1 << planes) - 1;
    const Ints start =
        int_of(2 * highest * tables.least[block - begin] - (linear.levels - 1) * activations.block_sums[block]);
    unroll<kTogether>([&](auto i) DBELL_INLINE_LAMBDA {
      const std::size_t in_group = group + i / kRegisters, part = i % kRegisters;
      const Ints integer = add(shift_lanes_left<1>(found[i]), start);
      if constexpr (hands_out) hand_out_block(linear, in_group, part, block, 0, integer, integers);
      sums[i] = add_scaled(linear, load_block_scale(linear, in_group, part, block), integer, activations, block, sums[i]);
    });
    for (std::size_t i = 0; i < kGroupsTogether; ++i) line[i] += lines * planes * kLineBytes;
  }
  unroll<kTogether>([&](auto i) DBELL_INLINE_LAMBDA { store_floats(accumulators + i * kLanes, sums[i]); });
}

}  // namespace

std::size_t decode_by_sum_tables(const PackedLinear& linear, const QuantizedActivations& activations,
                                 std::size_t begin, std::size_t end, float* y, std::int32_t* integers) {
  if (end - begin < kLeastGroups || linear.plane_count > 2) return begin;
  const auto add = linear.plane_count == 1 ? integers == nullptr ? add_blocks<1, false> : add_blocks<1, true>
                   : integers == nullptr   ? add_blocks<2, false>
                                           : add_blocks<2, true>;
  SumTables tables;
  alignas(64) float accumulators[kGroupsAtOnce * kRowsPerGroup];
  end -= (end - begin) % kGroupsTogether;
  for (std::size_t first = begin; first < end; first += kGroupsAtOnce) {
    const std::size_t last = end - first < kGroupsAtOnce ? end : first + kGroupsAtOnce;
    for (std::size_t block = 0; block < linear.blocks; block += kBlocksAtOnce) {
      const std::size_t blocks_end = linear.blocks - block < kBlocksAtOnce ? linear.blocks : block + kBlocksAtOnce;
      // Tables of all blocks serve all rows.
      if (first == begin || linear.blocks > kBlocksAtOnce) fill_tables(linear, activations, block, blocks_end, tables);
      for (std::size_t group = first; group < last; group += kGroupsTogether)
        add(linear, activations, tables, group, block, blocks_end, accumulators + (group - first) * kRowsPerGroup,
            integers);
    }
    for (std::size_t row = first * kRowsPerGroup; row < last * kRowsPerGroup; row += kLanes)
      finish(linear, row, activations.scales[0], load_floats(accumulators + row - first * kRowsPerGroup), y + row);
  }
  return end;
}

#else

std::size_t decode_by_sum_tables(const PackedLinear&, const QuantizedActivations&, std::size_t begin, std::size_t,
                                 float*, std::int32_t*) {
  return begin;
}

#endif

}  // namespace dbell::DBELL_KERNEL_SET
