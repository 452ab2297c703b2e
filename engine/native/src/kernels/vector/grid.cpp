// Integer path of the grid layout: sums of codes times activations, exact, whatever a Partial is.
#include "kernels/vector/fields.h"
#include "kernels/vector/grid_block.h"
#include "kernels/vector/kernels.h"

namespace dbell::DBELL_KERNEL_SET {
namespace {

constexpr int kMaximumDigits = 2;
/// Row groups that a tile of the product takes at once, so that its registers are full.
constexpr int kTileGroups = kTileRegisters > kRegisters ? kTileRegisters / kRegisters : 1;
constexpr int kQuadsPerLine = static_cast<int>(kColumnsPerLine) / 4;
constexpr std::size_t kDigitCodeBytes = kQuadsPerBlock * kLineBytes;
constexpr std::size_t kGroupCodeBytes = kMaximumDigits * kDigitCodeBytes;

// A block of the widest fields: 8 quads a line in fours that share a Partial, at most 15 · 2^0, 12 or 8 each.
static_assert(kProductsPerSum == 0 || 2 * kLinesPerBlock <= quads_that_fit(15), "a block's sums fit a Partial");
// A line of whole codes.
static_assert(kProductsPerSum == 0 || kQuadsPerLine <= quads_that_fit(15), "a line's sums fit a Partial");

/// Lowest bits of a byte that fields of a width are multiplied in.
constexpr int field_bits(int width) { return width == 4 ? kFieldBits : kNarrowFieldBits; }

/// Sums that a block's fields go to, and which one a quad's field does. Fields of one sum have the same scale; more sums
/// than one for a scale, so that a product need not wait for the one before it.
template <int width>
constexpr int kFieldSums = field_bits(width) == 4 || width == 4 ? 4 : 8;
constexpr int sum_of_quad(int quad, int width) {
  return field_bits(width) == 4 ? quad % 4 : width == 4 ? quad / 4 * 2 + quad % 2 : quad;
}
constexpr int scale_of_quad(int quad, int width) { return field_scale(quad - quad % width, width, field_bits(width)); }
constexpr bool is_first_of_sum(int quad, int width) {
  for (int before = 0; before < quad; ++before) {
    if (sum_of_quad(before, width) == sum_of_quad(quad, width)) return false;
  }
  return true;
}
constexpr bool is_scale_used(int scale, int width) {
  for (int quad = 0; quad < 8; ++quad) {
    if (scale_of_quad(quad, width) == scale) return true;
  }
  return false;
}

/// Σ code·x̂ of one block for one register of rows: `planes` planes of `lines` lines. A field is left where it stands in
/// its byte, so that one AND isolates it; sums of the same shift are put into place at the end of the block, which
/// loses nothing, as each is a multiple of that power of two. With
/// `prefetches` it asks for lines to come.
template <int planes>
DBELL_INLINE Ints sum_block(const std::uint8_t* line, std::size_t line_stride, std::size_t lines, const std::int8_t* x,
                            bool prefetches) {
  constexpr int width = kFieldWidth<planes>, count = kFieldSums<width>;
  Partial sums[count];
  unroll<count>([&](auto i) DBELL_INLINE_LAMBDA { sums[i] = zero_partial(); });
  for (; lines > 0; --lines, line += line_stride, x += kColumnsPerLine) {
    if (prefetches) {
      unroll<planes>([&](auto plane) DBELL_INLINE_LAMBDA { prefetch(line + plane * kLineBytes + kPrefetchBytes); });
    }
    Bytes fields[width];
    load_fields<planes>(line, fields);
    const auto quads = load_quads<8>(x);
    unroll<8>([&](auto quad) DBELL_INLINE_LAMBDA {
      constexpr int index = quad % width, position = quad - index;
      Partial& sum = sums[sum_of_quad(quad, width)];
      sum = add_products<quad>(sum, field<position, width, field_bits(width)>(fields[index]), quads);
    });
  }
  Ints total = zero_ints();
  unroll<8>([&](auto shift) DBELL_INLINE_LAMBDA {
    Ints same = zero_ints();
    unroll<8>([&](auto quad) DBELL_INLINE_LAMBDA {
      // Each sum once, by the first quad that goes there.
      if constexpr (scale_of_quad(quad, width) == shift && is_first_of_sum(quad, width))
        same = add(same, sums_of(sums[sum_of_quad(quad, width)]));
    });
    if constexpr (is_scale_used(shift, width)) total = add(total, shift_lanes_right<shift>(same));
  });
  return total;
}

/// The same out of line, for codes of more than four planes.
template <int planes>
DBELL_NO_INLINE Ints sum_digit(const std::uint8_t* line, std::size_t line_stride, std::size_t lines,
                               const std::int8_t* x) {
  return sum_block<planes>(line, line_stride, lines, x, true);
}
inline Ints sum_second_digit(int planes, const std::uint8_t* line, std::size_t line_stride, std::size_t lines,
                             const std::int8_t* x) {
  switch (planes) {
    case 1:
      return sum_digit<1>(line, line_stride, lines, x);
    case 2:
      return sum_digit<2>(line, line_stride, lines, x);
    case 3:
      return sum_digit<3>(line, line_stride, lines, x);
    default:
      return sum_digit<4>(line, line_stride, lines, x);
  }
}

/// One token; `planes` 1 … 4, or 5 for as many as there are beyond four.
template <int planes>
void decode(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t begin, std::size_t end,
            float* y, std::int32_t* integers) {
  const std::size_t stride = static_cast<std::size_t>(linear.plane_count) * kLineBytes;
  for (std::size_t group = begin; group < end; ++group) {
    const std::uint8_t* bytes = linear.planes + group * linear.lines * stride;
    Floats accumulators[kRegisters];
    for (std::size_t part = 0; part < kRegisters; ++part) accumulators[part] = zero_floats();
    for (std::size_t block = 0; block < linear.blocks; ++block) {
      const std::size_t lines = lines_of_block(linear, block);
      const std::int8_t* x = activations.values + block * kColumnsPerBlock;
      for (std::size_t part = 0; part < kRegisters; ++part) {
        const std::uint8_t* first = bytes + part * kRegisterBytes;
        Ints sums;
        if constexpr (planes <= kPlanesPerDigit) {
          sums = sum_block<planes>(first, planes * kLineBytes, lines, x, part == 0);
        } else {
          const Ints second = sum_second_digit(linear.plane_count - kPlanesPerDigit, first + kPlanesPerDigit * kLineBytes,
                                               stride, lines, x);
          sums = add(sum_digit<kPlanesPerDigit>(first, stride, lines, x), shift_lanes_left<kPlanesPerDigit>(second));
        }
        accumulators[part] =
            add_block(linear, group, part, block, sums, activations, 0, accumulators[part], integers);
      }
      bytes += lines * stride;
    }
    for (std::size_t part = 0; part < kRegisters; ++part) {
      const std::size_t row = group * kRowsPerGroup + part * kLanes;
      finish(linear, row, activations.scales[0], accumulators[part], y + row);
    }
  }
}

/// Codes of `lines` lines as bytes, [quads, 16 rows, 4 columns].
template <int planes>
void unpack_lines(const std::uint8_t* line, std::size_t line_stride, std::size_t lines, std::uint8_t* codes) {
  constexpr int width = kFieldWidth<planes>;
  for (; lines > 0; --lines, line += line_stride, codes += 8 * kLineBytes) {
    for (std::size_t part = 0; part < kRegisters; ++part) {
      Bytes fields[width];
      load_fields<planes>(line + part * kRegisterBytes, fields);
      unroll<8>([&](auto quad) DBELL_INLINE_LAMBDA {
        constexpr int index = quad % width, position = quad - index;
        const Bytes code = bit_and(shift_right<position>(fields[index]), byte_of((1 << width) - 1));
        store_bytes(codes + quad * kLineBytes + part * kRegisterBytes, code);
      });
    }
  }
}

void unpack_digit(int planes, const std::uint8_t* line, std::size_t line_stride, std::size_t lines,
                  std::uint8_t* codes) {
  switch (planes) {
    case 1:
      return unpack_lines<1>(line, line_stride, lines, codes);
    case 2:
      return unpack_lines<2>(line, line_stride, lines, codes);
    case 3:
      return unpack_lines<3>(line, line_stride, lines, codes);
    default:
      return unpack_lines<4>(line, line_stride, lines, codes);
  }
}

/// Codes of one row group and block, one array [32 quads, 16 rows, 4 columns] for each digit.
void unpack_codes(const PackedLinear& linear, std::size_t group, std::size_t block, std::uint8_t* codes) {
  if (linear.base3 != nullptr) return unpack_base3(linear, group, block, codes);
  const std::size_t stride = static_cast<std::size_t>(linear.plane_count) * kLineBytes;
  const std::uint8_t* line = linear.planes + (group * linear.lines + block * kLinesPerBlock) * stride;
  for (int first = 0; first < linear.plane_count; first += kPlanesPerDigit) {
    const int left = linear.plane_count - first;
    unpack_digit(left < kPlanesPerDigit ? left : kPlanesPerDigit, line, stride, lines_of_block(linear, block), codes);
    line += kPlanesPerDigit * kLineBytes;
    codes += kDigitCodeBytes;
  }
}

/// Where a tile of the product begins: the codes of its first row group, and its first register there.
struct TilePlace {
  std::size_t group, part;
  const std::uint8_t* codes;
};

/// sums (+)= codes times activations of one line, for `registers` registers and `count` tokens. Written out whole: the
/// loop is what a processor that shares its core with another thread feels most.
template <int count, int registers>
DBELL_INLINE void multiply_line(const std::uint8_t* codes, const std::int8_t* x, Partial (&sums)[count][registers]) {
  unroll<kQuadsPerLine>([&](auto quad) DBELL_INLINE_LAMBDA {
    Bytes code[registers];
    unroll<registers>([&](auto r) DBELL_INLINE_LAMBDA {
      constexpr std::size_t at = r / kRegisters * kGroupCodeBytes + r % kRegisters * kRegisterBytes;
      code[r] = load_bytes(codes + at + quad * kLineBytes);
    });
    unroll<count>([&](auto t) DBELL_INLINE_LAMBDA {
      const auto values = load_quads<kQuadsPerLine>(x + t * kColumnsPerBlock);
      unroll<registers>([&](auto r) DBELL_INLINE_LAMBDA {
        sums[t][r] = add_products<quad>(sums[t][r], code[r], values);
        DBELL_ADD_IN_ORDER(sums[t][r]);
      });
    });
  });
}

/// Integers of `lines` lines: twice the sums of codes times activations, added to `totals`. A line's sums fit a Partial
/// (asserted above); a Partial of int32 holds a block's.
template <int digit, int count, int registers>
DBELL_INLINE void add_lines(std::size_t lines, const std::uint8_t* codes, const std::int8_t* x,
                            Ints (&totals)[count][registers]) {
  Partial sums[count][registers];
  const auto clear = [&]() DBELL_INLINE_LAMBDA {
    unroll<count>([&](auto t) DBELL_INLINE_LAMBDA {
      unroll<registers>([&](auto r) DBELL_INLINE_LAMBDA { sums[t][r] = zero_partial(); });
    });
  };
  const auto add_sums = [&]() DBELL_INLINE_LAMBDA {
    unroll<count>([&](auto t) DBELL_INLINE_LAMBDA {
      unroll<registers>([&](auto r) DBELL_INLINE_LAMBDA {
        const Ints twice = twice_sums_of(sums[t][r]);
        totals[t][r] = add(totals[t][r], digit == 0 ? twice : shift_lanes_left<digit * kPlanesPerDigit>(twice));
      });
    });
  };
  if (kProductsPerSum == 0) clear();
  for (std::size_t line = 0; line < lines; ++line) {
    if (kProductsPerSum != 0) clear();
    multiply_line<count, registers>(codes + line * kQuadsPerLine * kLineBytes, x + line * kColumnsPerLine, sums);
    if (kProductsPerSum != 0) add_sums();
  }
  if (kProductsPerSum == 0) add_sums();
}

/// `registers` registers of codes of `digits` digits times `count` tokens from `token` on, for one block.
template <int count, int registers, int digits>
inline void multiply_block(const PackedLinear& linear, const QuantizedActivations& activations, const TilePlace& tile,
                           std::size_t block, std::size_t token, float* accumulators, std::int32_t* integers) {
  const std::int8_t* x = activations.values + (block * activations.tokens + token) * kColumnsPerBlock;
  const std::int32_t* block_sums = activations.block_sums + block * activations.tokens + token;
  const std::size_t lines = lines_of_block(linear, block);
  // The block's integers, I_b of kernel_table.h, from −(levels − 1)·X_b on.
  Ints totals[count][registers];
  unroll<count>([&](auto t) DBELL_INLINE_LAMBDA {
    const Ints start = multiply(int_of(block_sums[t]), int_of(1 - linear.levels));
    unroll<registers>([&](auto r) DBELL_INLINE_LAMBDA { totals[t][r] = start; });
  });
  unroll<digits>([&](auto digit) DBELL_INLINE_LAMBDA {
    add_lines<digit, count, registers>(lines, tile.codes + digit * kDigitCodeBytes, x, totals);
  });
  unroll<registers>([&](auto r) DBELL_INLINE_LAMBDA {
    const std::size_t group = tile.group + r / kRegisters, part = tile.part + r % kRegisters;
    const BlockScale by = load_block_scale(linear, group, part, block);
    unroll<count>([&](auto t) DBELL_INLINE_LAMBDA {
      const std::size_t at = block * activations.tokens + token + t;
      float* accumulator = accumulators + t * kTileGroups * kRowsPerGroup + r * kLanes;
      const Floats before = block == 0 ? zero_floats() : load_floats(accumulator);
      store_floats(accumulator, add_scaled(linear, by, totals[t][r], activations, at, before));
    });
  });
  if (integers) {
    unroll<registers>([&](auto r) DBELL_INLINE_LAMBDA {
      unroll<count>([&](auto t) DBELL_INLINE_LAMBDA {
        hand_out_block(linear, tile.group + r / kRegisters, tile.part + r % kRegisters, block, token + t, totals[t][r],
                       integers);
      });
    });
  }
}

/// Many tokens: a block's codes are unpacked once for up to kTokensPerPass tokens. `groups` adjacent row groups.
template <int groups, int digits>
void prefill(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t group, float* y,
             std::size_t y_stride, std::int32_t* integers) {
  constexpr int registers = kTileRegisters < groups * kRegisters ? kTileRegisters : groups * kRegisters;
  constexpr std::size_t width = kTileGroups * kRowsPerGroup;
  alignas(64) std::uint8_t codes[groups * kGroupCodeBytes];
  alignas(64) float accumulators[kTokensPerPass * width];
  for (std::size_t first = 0; first < activations.tokens; first += kTokensPerPass) {
    const std::size_t left = activations.tokens - first, tokens = left < kTokensPerPass ? left : kTokensPerPass;
    for (std::size_t block = 0; block < linear.blocks; ++block) {
      for (std::size_t g = 0; g < groups; ++g) unpack_codes(linear, group + g, block, codes + g * kGroupCodeBytes);
      for (std::size_t part = 0; part < groups * kRegisters; part += registers) {
        const TilePlace tile = {group, part, codes + part * kRegisterBytes};
        const auto multiply = [&](auto count, std::size_t t) {
          // Outputs of one token stand a row of y apart from the next one's: each is asked for before it is written.
          if (block + 1 == linear.blocks)
            unroll<count>([&](auto i) DBELL_INLINE_LAMBDA {
              prefetch(y + (first + t + i) * y_stride + group * kRowsPerGroup + part * kLanes);
            });
          multiply_block<count, registers, digits>(linear, activations, tile, block, first + t,
                                                   accumulators + t * width + part * kLanes, integers);
        };
        std::size_t t = 0;
        for (; t + kTileTokens <= tokens; t += kTileTokens) multiply(Index<kTileTokens>{}, t);
        for (; t + kSmallTileTokens <= tokens; t += kSmallTileTokens) multiply(Index<kSmallTileTokens>{}, t);
        for (; t < tokens; ++t) multiply(Index<1>{}, t);
      }
    }
    for (std::size_t t = 0; t < tokens; ++t) {
      for (std::size_t part = 0; part < groups * kRegisters; ++part) {
        const std::size_t row = group * kRowsPerGroup + part * kLanes;
        finish(linear, row, activations.scales[first + t], load_floats(accumulators + t * width + part * kLanes),
               y + (first + t) * y_stride + row);
      }
    }
  }
}

template <int digits>
void prefill_all(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t begin,
                 std::size_t end, float* y, std::size_t y_stride, std::int32_t* integers) {
  std::size_t group = begin;
  for (; group + kTileGroups <= end; group += kTileGroups)
    prefill<kTileGroups, digits>(linear, activations, group, y, y_stride, integers);
  for (; group < end; ++group) prefill<1, digits>(linear, activations, group, y, y_stride, integers);
}

}  // namespace

void grid(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t begin, std::size_t end,
          float* y, std::size_t y_stride, std::int32_t* integers) {
  if (activations.tokens == 1) {
    if (linear.base3 != nullptr) {
      for (std::size_t group = begin; group < end; ++group) decode_base3(linear, activations, group, y, integers);
      return;
    }
#ifdef DBELL_HAS_SUM_TABLES
    if (activations.sum_tables != nullptr && linear.plane_count <= 2)
      begin = decode_by_sum_tables(linear, activations, begin, end, y, integers);
#endif
    switch (linear.plane_count) {
      case 1:
        return decode<1>(linear, activations, begin, end, y, integers);
      case 2:
        return decode<2>(linear, activations, begin, end, y, integers);
      case 3:
        return decode<3>(linear, activations, begin, end, y, integers);
      case 4:
        return decode<4>(linear, activations, begin, end, y, integers);
      default:
        return decode<5>(linear, activations, begin, end, y, integers);
    }
  }
  const auto prefill_rows = linear.plane_count <= kPlanesPerDigit ? prefill_all<1> : prefill_all<2>;
  prefill_rows(linear, activations, begin, end, y, y_stride, integers);
}

}  // namespace dbell::DBELL_KERNEL_SET
