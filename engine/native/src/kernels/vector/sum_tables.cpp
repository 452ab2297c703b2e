// Tables of sums and the grid linears of one or two planes that are computed with them, one token (vector/sum_tables.h).
#include "kernels/vector/sum_tables.h"

#include "kernels/vector/grid_block.h"
#include "kernels/vector/kernels.h"

#ifdef DBELL_HAS_SUM_TABLES
namespace dbell::DBELL_KERNEL_SET {
namespace {

/// Blocks whose tables stay in the first-level cache (32 KiB), and row groups whose sums are held meanwhile.
constexpr std::size_t kBlocksAtOnce = 32, kGroupsAtOnce = 64;
static_assert(kGroupsAtOnce % kGroupsTogether == 0, "no group is left between");

/// Blocks [begin, end) of kGroupsTogether row groups, added to their accumulators, [kTogether, kLanes].
template <int planes, bool hands_out>
void add_blocks(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t group, std::size_t begin, std::size_t end, float* accumulators, std::int32_t* integers) {
  const std::uint8_t* line[kGroupsTogether];
  for (std::size_t i = 0; i < kGroupsTogether; ++i)
    line[i] = linear.planes + ((group + i) * linear.lines + begin * kLinesPerBlock) * planes * kLineBytes;
  Floats sums[kTogether];
  unroll<kTogether>([&](auto i) DBELL_INLINE_LAMBDA {
    sums[i] = begin == 0 ? zero_floats() : load_floats(accumulators + i * kLanes);
  });
  for (std::size_t block = begin; block < end; ++block) {
    const std::size_t lines = lines_of_block(linear, block);
    const std::uint8_t* entries = activations.sum_tables + block * kLinesPerBlock * kLineSumTableBytes;
    const auto look_up_plane = [&](std::size_t plane) DBELL_INLINE_LAMBDA {
      return look_up_block(lines, entries, [&](std::size_t at, Bytes* registers) DBELL_INLINE_LAMBDA {
        unroll<kTogether>([&](auto i) DBELL_INLINE_LAMBDA {
          const std::uint8_t* bytes = line[i / kRegisters] + (at * planes + plane) * kLineBytes;
          if (i % kRegisters == 0) prefetch(bytes + kPrefetchBytes);
          registers[i] = load_bytes(bytes + i % kRegisters * kRegisterBytes);
        });
      });
    };
    ByteSums words = look_up_plane(0);
    if constexpr (planes == 2) {
      const ByteSums twice = look_up_plane(1);
      words = {add_words(words.even, shift_left<1>(twice.even)), add_words(words.odd, shift_left<1>(twice.odd))};
    }
    Ints found[kTogether];
    widen(words, found);
    // I_b of kernel_table.h.
    constexpr int highest = (1 << planes) - 1;
    const Ints start =
        int_of(2 * highest * activations.least_sums[block] - (linear.levels - 1) * activations.block_sums[block]);
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

void make_sum_tables(const std::int8_t* values, std::size_t blocks, std::uint8_t* tables, std::int32_t* least_sums) {
  for (std::size_t block = 0; block < blocks; ++block) {
    std::int32_t least = 0;
    for (std::size_t line = 0; line < kLinesPerBlock; ++line, values += kColumnsPerLine) {
      for (int j = 0; j < 4; ++j) {
        for (int half = 0; half < 2; ++half, tables += kSumTableBytes)
          least += fill_sum_table<kLowerSumBits>(values + half * kColumnsPerLine / 2 + j, tables);
      }
    }
    least_sums[block] = least;
  }
}

std::size_t decode_by_sum_tables(const PackedLinear& linear, const QuantizedActivations& activations,
                                 std::size_t begin, std::size_t end, float* y, std::int32_t* integers) {
  const auto add = linear.plane_count == 1 ? integers == nullptr ? add_blocks<1, false> : add_blocks<1, true>
                   : integers == nullptr   ? add_blocks<2, false>
                                           : add_blocks<2, true>;
  alignas(64) float accumulators[kGroupsAtOnce * kRowsPerGroup];
  end -= (end - begin) % kGroupsTogether;
  for (std::size_t first = begin; first < end; first += kGroupsAtOnce) {
    const std::size_t last = end - first < kGroupsAtOnce ? end : first + kGroupsAtOnce;
    for (std::size_t block = 0; block < linear.blocks; block += kBlocksAtOnce) {
      const std::size_t blocks_end = linear.blocks - block < kBlocksAtOnce ? linear.blocks : block + kBlocksAtOnce;
      for (std::size_t group = first; group < last; group += kGroupsTogether)
        add(linear, activations, group, block, blocks_end, accumulators + (group - first) * kRowsPerGroup, integers);
    }
    for (std::size_t row = first * kRowsPerGroup; row < last * kRowsPerGroup; row += kLanes)
      finish(linear, row, activations.scales[0], load_floats(accumulators + row - first * kRowsPerGroup), y + row);
  }
  return end;
}

}  // namespace dbell::DBELL_KERNEL_SET
#endif
