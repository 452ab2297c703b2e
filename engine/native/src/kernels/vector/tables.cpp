// Tables of 8, 6 and 4 bits (embedding and head) times int8 activations.
#include "kernels/lanes/lanes.h"
#include "kernels/vector/kernels.h"

namespace dbell::DBELL_KERNEL_SET {
namespace {

/// Registers of one group of 32 columns.
constexpr int kQuads = static_cast<int>(kColumnsPerTableGroup) / 4;

/// Sums of a register's rows for the tokens of a pass, [tokens, kLanes], on the way from group to group (order:
/// kernel_table.h). In y they would be a row's width apart, which a cache of few ways has no room for.
struct TableSums {
  const Table& table;
  const TableActivations& activations;
  std::size_t rows, column;
  float* values;

  /// Adds one group's sums of token `first + t`; hands the integers out where they are asked for. `column` is the first
  /// row's place in y, of `rows` in all.
  DBELL_INLINE void add_group(std::size_t group, std::size_t first, std::size_t t, Floats scale, Ints sum,
                              std::int32_t* integers) {
    if (integers) {
      std::int32_t lanes[kLanes];
      store_ints(lanes, sum);
      for (std::size_t i = 0; i < kLanes; ++i)
        integers[((first + t) * rows + column + i) * table.groups + group] = lanes[i];
    }
    float* to = values + t * kLanes;
    const Floats before = group == 0 ? zero_floats() : load_floats(to);
    store_floats(to, add(before, multiply(scale, to_floats(sum))));
  }

  /// Writes `count` tokens from `first` on, with their scales.
  DBELL_INLINE void finish(std::size_t first, std::size_t count, float* y, std::size_t y_stride) const {
    for (std::size_t t = 0; t < count; ++t)
      store_floats(y + (first + t) * y_stride + column,
                   multiply(float_of(activations.scales[first + t]), load_floats(values + t * kLanes)));
  }
};

/// Fields of the rows of one register × 32 columns: register q holds columns 4q … 4q + 3 of row i in lane i. `lines`
/// points at the rows' part of the first line.
template <bool is_six>
DBELL_INLINE void load_table_fields(const std::uint8_t* lines, Bytes* quads) {
  const Bytes nibble = byte_of(15), two_bits = byte_of(48);
  unroll<4>([&](auto q) DBELL_INLINE_LAMBDA {
    const Bytes line = load_bytes(lines + q * kLineBytes);
    quads[q] = bit_and(line, nibble);
    quads[q + 4] = bit_and(shift_right<4>(line), nibble);
  });
  if constexpr (is_six) {
    unroll<2>([&](auto half) DBELL_INLINE_LAMBDA {
      const Bytes line = load_bytes(lines + (4 + half) * kLineBytes);
      Bytes* to = quads + 4 * half;
      to[0] = bit_or(to[0], bit_and(shift_left<4>(line), two_bits));
      to[1] = bit_or(to[1], bit_and(shift_left<2>(line), two_bits));
      to[2] = bit_or(to[2], bit_and(line, two_bits));
      to[3] = bit_or(to[3], bit_and(shift_right<2>(line), two_bits));
    });
  }
}

template <bool is_six>
void multiply_packed(const Table& table, const TableActivations& activations, std::size_t begin, std::size_t end,
                     float* y, std::size_t y_stride, std::int32_t* integers) {
  constexpr std::size_t kLines = is_six ? kLinesPerTableGroup6 : kLinesPerTableGroup4;
  constexpr int kOffsetShift = is_six ? 5 : 3;
  constexpr std::size_t fitting = quads_that_fit(is_six ? 63 : 15);
  constexpr int chunk = fitting < 4 ? 2 : fitting < kQuads ? 4 : kQuads;
  static_assert(fitting >= 2, "two quads' sums fit a Partial");
  const std::size_t width = table.groups * kColumnsPerTableGroup, rows = (end - begin) * kRowsPerGroup;
  alignas(64) float values[kTokensPerPass * kLanes];
  for (std::size_t first = 0; first < activations.tokens; first += kTokensPerPass) {
    const std::size_t left = activations.tokens - first, tokens = left < kTokensPerPass ? left : kTokensPerPass;
    for (std::size_t part = begin * kRegisters; part < end * kRegisters; ++part) {
      const std::size_t row_group = part / kRegisters, in_group = part % kRegisters;
      TableSums sums = {table, activations, rows, (part - begin * kRegisters) * kLanes, values};
      for (std::size_t group = 0; group < table.groups; ++group) {
        const std::size_t at = row_group * table.groups + group;
        Bytes quads[kQuads];
        load_table_fields<is_six>(
            static_cast<const std::uint8_t*>(table.values) + at * kLines * kLineBytes + in_group * kRegisterBytes, quads);
        const Floats scale = half_floats(table.scales + at * kRowsPerGroup + in_group * kLanes);
        for (std::size_t t = 0; t < tokens; ++t) {
          const std::size_t token = first + t;
          const auto x = load_quads<kQuads>(activations.values + token * width + group * kColumnsPerTableGroup);
          Ints sum = int_of(-(activations.group_sums[token * table.groups + group] * (1 << kOffsetShift)));
          // Two sums, as each product waits for the one before it.
          unroll<kQuads / chunk>([&](auto c) DBELL_INLINE_LAMBDA {
            Partial even = zero_partial(), odd = zero_partial();
            unroll<chunk / 2>([&](auto i) DBELL_INLINE_LAMBDA {
              constexpr int q = c * chunk + 2 * i;
              even = add_products<q>(even, quads[q], x);
              DBELL_ADD_IN_ORDER(even);
              odd = add_products<q + 1>(odd, quads[q + 1], x);
              DBELL_ADD_IN_ORDER(odd);
            });
            sum = add(sum, sums_of(add_partials(even, odd)));
          });
          sums.add_group(group, first, t, scale, sum, integers);
        }
      }
      sums.finish(first, tokens, y, y_stride);
    }
  }
}

}  // namespace

void table_packed(const Table& table, const TableActivations& activations, std::size_t begin, std::size_t end, float* y,
                  std::size_t y_stride, std::int32_t* integers) {
  const auto multiply_table = table.type == TableType::q6 ? multiply_packed<true> : multiply_packed<false>;
  multiply_table(table, activations, begin, end, y, y_stride, integers);
}

void table_q8(const Table& table, const TableActivations& activations, std::size_t begin, std::size_t end, float* y,
              std::size_t y_stride, std::int32_t* integers) {
  const std::size_t width = table.groups * kColumnsPerTableGroup, rows = (end - begin) * kRowsPerGroup;
  alignas(64) float values[kTokensPerPass * kLanes];
  for (std::size_t first = 0; first < activations.tokens; first += kTokensPerPass) {
    const std::size_t left = activations.tokens - first, tokens = left < kTokensPerPass ? left : kTokensPerPass;
    for (std::size_t part = begin * kRegisters; part < end * kRegisters; ++part) {
      const std::size_t first_row = part * kLanes;
      TableSums sums = {table, activations, rows, (part - begin * kRegisters) * kLanes, values};
      for (std::size_t group = 0; group < table.groups; ++group) {
        const std::int8_t* pointers[kLanes];
        alignas(64) std::uint16_t halves[kLanes];
        for (std::size_t i = 0; i < kLanes; ++i) {
          const std::size_t row = first_row + i;
          const bool is_stored = row < table.rows;
          pointers[i] = is_stored ? static_cast<const std::int8_t*>(table.values) + row * width +
                                        group * kColumnsPerTableGroup
                                  : nullptr;
          halves[i] = is_stored ? table.scales[row * table.groups + group] : static_cast<std::uint16_t>(0);
        }
        Bytes quads[kQuads];
        transpose_codes(pointers, quads);
        Ints excess = zero_ints();
        unroll<kQuads>([&](auto q) DBELL_INLINE_LAMBDA { excess = signed_excess(excess, quads[q]); });
        const Floats scale = half_floats(halves);
        for (std::size_t t = 0; t < tokens; ++t) {
          const std::int8_t* x = activations.values + (first + t) * width + group * kColumnsPerTableGroup;
          Ints even = zero_ints(), odd = zero_ints();
          unroll<kQuads / 2>([&](auto i) DBELL_INLINE_LAMBDA {
            even = add_signed_products(even, quads[2 * i], quad_at(x + 8 * i));
            odd = add_signed_products(odd, quads[2 * i + 1], quad_at(x + 8 * i + 4));
          });
          sums.add_group(group, first, t, scale, subtract(add(even, odd), excess), integers);
        }
      }
      sums.finish(first, tokens, y, y_stride);
    }
  }
}

}  // namespace dbell::DBELL_KERNEL_SET
