// Integer path of the structured layout: three masked sums over all columns and three over the salient ones; the ordinary
// sums are their exact differences. Only quads with a salient column are visited for the latter.
#include "kernels/vector/kernels.h"
#include "kernels/vector/structured_levels.h"
#include "kernels/vector/sum_tables.h"

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#endif

namespace dbell::DBELL_KERNEL_SET {
namespace {

/// Masked sums: bits of plane 0, of plane 1, of both.
constexpr int kMasks = 3;
constexpr std::size_t kMaskBytes = kQuadsPerBlock * kLineBytes;

static_assert(kProductsPerSum == 0 || 2 * kLinesPerBlock <= quads_that_fit(8), "a block's sums fit a Partial");

DBELL_INLINE Floats add_levels(Floats accumulator, const Floats* level, Ints a, Ints b, Ints ab, std::int32_t x) {
  const Ints s10 = subtract(a, ab), s01 = subtract(b, ab), s00 = subtract(subtract(int_of(x), a), s01);
  accumulator = add(accumulator, multiply(level[0], to_floats(s00)));
  accumulator = add(accumulator, multiply(level[1], to_floats(s10)));
  accumulator = add(accumulator, multiply(level[2], to_floats(s01)));
  return add(accumulator, multiply(level[3], to_floats(ab)));
}

/// Adds one block's contribution from its sums over all columns and over the salient ones.
DBELL_INLINE Floats add_structured_block(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t group,
                              std::size_t part, std::size_t block, std::size_t token, const Levels& levels,
                              const Ints* all, const Ints* salient, Floats accumulator, std::int32_t* integers) {
  Ints ordinary[kMasks];
  unroll<kMasks>([&](auto i) DBELL_INLINE_LAMBDA { ordinary[i] = subtract(all[i], salient[i]); });
  if (integers) {
    std::int32_t lanes[kStructuredIntegers][kLanes];
    unroll<kMasks>([&](auto i) DBELL_INLINE_LAMBDA {
      store_ints(lanes[i], ordinary[i]);
      store_ints(lanes[i + kMasks], salient[i]);
    });
    const std::size_t row = (token * linear.row_groups + group) * kRowsPerGroup + part * kLanes;
    hand_out(lanes[0], kStructuredIntegers, linear.blocks, integers + (row * linear.blocks + block) * kStructuredIntegers);
  }
  const std::size_t index = block * activations.tokens + token;
  const std::int32_t salient_sum = activations.salient_sums[index];
  accumulator = add_levels(accumulator, levels.level, ordinary[0], ordinary[1], ordinary[2],
                           activations.block_sums[index] - salient_sum);
  return add_levels(accumulator, levels.level + 4, salient[0], salient[1], salient[2], salient_sum);
}

DBELL_INLINE void finish_structured(const PackedLinear& linear, std::size_t row, float scale, Floats accumulator, float* y) {
  store_floats(y, add(load_floats(linear.bias + row), multiply(float_of(scale), accumulator)));
}

/// The lowest set bit's index; `bits` is not 0.
inline std::size_t lowest_bit(std::uint32_t bits) {
#if defined(_MSC_VER) && !defined(__clang__)
  unsigned long index;
  _BitScanForward(&index, bits);
  return index;
#else
  return static_cast<std::size_t>(__builtin_ctz(bits));
#endif
}

/// Three sums over all columns of one block; bits stay where they are in their bytes, as in grid.cpp.
/// With `prefetches` it asks for lines to come.
DBELL_INLINE void sum_all(const std::uint8_t* line, std::size_t lines, const std::int8_t* x, bool prefetches,
                          Ints* all) {
  constexpr int limit = kStructuredFieldBits, count = limit == 4 ? 4 : 8;
  Partial sums[kMasks][count];
  unroll<count>([&](auto i) DBELL_INLINE_LAMBDA { sums[0][i] = sums[1][i] = sums[2][i] = zero_partial(); });
  for (; lines > 0; --lines, line += 2 * kLineBytes, x += kColumnsPerLine) {
    if (prefetches) {
      prefetch(line + kPrefetchBytes);
      prefetch(line + kLineBytes + kPrefetchBytes);
    }
    const Bytes a = load_bytes(line), b = load_bytes(line + kLineBytes);
    const Bytes masks[kMasks] = {a, b, bit_and(a, b)};
    const auto quads = load_quads<8>(x);
    unroll<8>([&](auto quad) DBELL_INLINE_LAMBDA {
      unroll<kMasks>([&](auto i) DBELL_INLINE_LAMBDA {
        Partial& sum = sums[i][quad % count];
        sum = add_products<quad>(sum, field<quad, 1, limit>(masks[i]), quads);
      });
    });
  }
  unroll<kMasks>([&](auto i) DBELL_INLINE_LAMBDA {
    all[i] = zero_ints();
    unroll<count>([&](auto bit) DBELL_INLINE_LAMBDA {
      all[i] = add(all[i], shift_lanes_right<field_scale(bit, 1, limit)>(sums_of(sums[i][bit])));
    });
  });
}

/// Three sums over one block's salient columns, one token; `line` is the register's part of the block's first line.
DBELL_INLINE void sum_salient(const std::uint8_t* line, const QuantizedActivations& activations, std::size_t block,
                              Ints* salient) {
  const std::int8_t* values = activations.salient_values + block * kColumnsPerBlock;
  Partial sums[kMasks] = {zero_partial(), zero_partial(), zero_partial()};
  for (std::uint32_t left = activations.salient_quads[block]; left != 0; left &= left - 1) {
    const std::size_t quad = lowest_bit(left);
    const std::uint8_t* bytes = line + quad / 8 * 2 * kLineBytes;
    const Bytes a = bit_at(load_bytes(bytes), quad % 8), b = bit_at(load_bytes(bytes + kLineBytes), quad % 8);
    const Bytes four = quad_at(values + 4 * quad);
    sums[0] = add_products(sums[0], a, four);
    sums[1] = add_products(sums[1], b, four);
    sums[2] = add_products(sums[2], bit_and(a, b), four);
  }
  unroll<kMasks>([&](auto i) DBELL_INLINE_LAMBDA { salient[i] = sums_of(sums[i]); });
}

void decode_structured(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t group, float* y,
            std::int32_t* integers) {
  Floats accumulators[kRegisters];
  for (std::size_t part = 0; part < kRegisters; ++part) accumulators[part] = zero_floats();
  const std::uint8_t* bytes = linear.planes + group * linear.lines * 2 * kLineBytes;
  for (std::size_t block = 0; block < linear.blocks; ++block) {
    const std::size_t lines = lines_of_block(linear, block);
    for (std::size_t part = 0; part < kRegisters; ++part) {
      Ints all[kMasks], salient[kMasks];
      sum_all(bytes + part * kRegisterBytes, lines, activations.values + block * kColumnsPerBlock, part == 0, all);
      sum_salient(bytes + part * kRegisterBytes, activations, block, salient);
      accumulators[part] = add_structured_block(linear, activations, group, part, block, 0, load_levels(linear, group, part, block),
                                     all, salient, accumulators[part], integers);
    }
    bytes += lines * 2 * kLineBytes;
  }
  for (std::size_t part = 0; part < kRegisters; ++part) {
    const std::size_t row = group * kRowsPerGroup + part * kLanes;
    finish_structured(linear, row, activations.scales[0], accumulators[part], y + row);
  }
}

/// Bits of plane 0, plane 1 and both, as bytes 0 or 1, [3, quads, 16 rows, 4 columns].
void unpack_bits(const PackedLinear& linear, std::size_t group, std::size_t block, std::uint8_t* bits) {
  const std::uint8_t* line = linear.planes + (group * linear.lines + block * kLinesPerBlock) * 2 * kLineBytes;
  for (std::size_t lines = lines_of_block(linear, block); lines > 0; --lines, line += 2 * kLineBytes) {
    for (std::size_t part = 0; part < kRegisters; ++part) {
      const Bytes first = load_bytes(line + part * kRegisterBytes),
                  second = load_bytes(line + kLineBytes + part * kRegisterBytes);
      unroll<8>([&](auto quad) DBELL_INLINE_LAMBDA {
        const Bytes one = byte_of(1), a = bit_and(shift_right<quad>(first), one),
                    b = bit_and(shift_right<quad>(second), one);
        std::uint8_t* out = bits + quad * kLineBytes + part * kRegisterBytes;
        store_bytes(out, a);
        store_bytes(out + kMaskBytes, b);
        store_bytes(out + 2 * kMaskBytes, bit_and(a, b));
      });
    }
    bits += 8 * kLineBytes;
  }
}

template <int count>
DBELL_INLINE void add_quad(const std::uint8_t* bits, const std::int8_t* x, Partial (*sums)[kMasks]) {
  Bytes mask[kMasks];
  unroll<kMasks>([&](auto i) DBELL_INLINE_LAMBDA { mask[i] = load_bytes(bits + i * kMaskBytes); });
  unroll<count>([&](auto t) DBELL_INLINE_LAMBDA {
    const Bytes values = quad_at(x + t * kColumnsPerBlock);
    unroll<kMasks>([&](auto i) DBELL_INLINE_LAMBDA {
      sums[t][i] = add_products(sums[t][i], mask[i], values);
      DBELL_ADD_IN_ORDER(sums[t][i]);
    });
  });
}

template <int count>
inline void multiply_structured_block(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t group,
                           std::size_t part, std::size_t block, const std::uint8_t* bits, const Levels& levels,
                           std::size_t token, float* accumulators, std::int32_t* integers) {
  const std::size_t row = (block * activations.tokens + token) * kColumnsPerBlock;
  Partial sums[count][kMasks];
  Ints all[count][kMasks];
  const auto clear = [&]() DBELL_INLINE_LAMBDA {
    unroll<count>([&](auto t) DBELL_INLINE_LAMBDA { sums[t][0] = sums[t][1] = sums[t][2] = zero_partial(); });
  };
  clear();
  const std::size_t lines = lines_of_block(linear, block);
  const std::uint8_t* of_line = bits;
  const std::int8_t* x = activations.values + row;
  // A line written out whole, as in grid.cpp.
  for (std::size_t line = 0; line < lines; ++line, of_line += 8 * kLineBytes, x += kColumnsPerLine) {
    unroll<8>([&](auto quad) DBELL_INLINE_LAMBDA { add_quad<count>(of_line + quad * kLineBytes, x + 4 * quad, sums); });
  }
  unroll<count>([&](auto t) DBELL_INLINE_LAMBDA {
    unroll<kMasks>([&](auto i) DBELL_INLINE_LAMBDA { all[t][i] = sums_of(sums[t][i]); });
  });
  clear();
  for (std::uint32_t left = activations.salient_quads[block]; left != 0; left &= left - 1) {
    const std::size_t quad = lowest_bit(left);
    add_quad<count>(bits + quad * kLineBytes, activations.salient_values + row + 4 * quad, sums);
  }
  unroll<count>([&](auto t) DBELL_INLINE_LAMBDA {
    Ints salient[kMasks];
    unroll<kMasks>([&](auto i) DBELL_INLINE_LAMBDA { salient[i] = sums_of(sums[t][i]); });
    float* accumulator = accumulators + t * kRowsPerGroup;
    const Floats before = block == 0 ? zero_floats() : load_floats(accumulator);
    store_floats(accumulator, add_structured_block(linear, activations, group, part, block, token + t, levels, all[t], salient,
                                        before, integers));
  });
}

void prefill_structured(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t group, float* y,
             std::size_t y_stride, std::int32_t* integers) {
  alignas(64) std::uint8_t bits[kMasks * kMaskBytes];
  alignas(64) float accumulators[kTokensPerPass * kRowsPerGroup];
  for (std::size_t first = 0; first < activations.tokens; first += kTokensPerPass) {
    const std::size_t left = activations.tokens - first, tokens = left < kTokensPerPass ? left : kTokensPerPass;
    for (std::size_t block = 0; block < linear.blocks; ++block) {
      unpack_bits(linear, group, block, bits);
      for (std::size_t part = 0; part < kRegisters; ++part) {
        const Levels levels = load_levels(linear, group, part, block);
        const auto multiply = [&](auto count, std::size_t t) {
          multiply_structured_block<count>(linear, activations, group, part, block, bits + part * kRegisterBytes, levels, first + t,
                                accumulators + t * kRowsPerGroup + part * kLanes, integers);
        };
        std::size_t t = 0;
        for (; t + kStructuredTileTokens <= tokens; t += kStructuredTileTokens)
          multiply(Index<kStructuredTileTokens>{}, t);
        for (; t < tokens; ++t) multiply(Index<1>{}, t);
      }
    }
    for (std::size_t t = 0; t < tokens; ++t) {
      for (std::size_t part = 0; part < kRegisters; ++part) {
        const std::size_t row = group * kRowsPerGroup + part * kLanes;
        finish_structured(linear, row, activations.scales[first + t],
               load_floats(accumulators + t * kRowsPerGroup + part * kLanes), y + (first + t) * y_stride + row);
      }
    }
  }
}

}  // namespace

#ifdef DBELL_HAS_SUM_TABLES
std::size_t decode_structured_by_sum_tables(const PackedLinear& linear, const QuantizedActivations& activations,
                                            std::size_t begin, std::size_t end, float* y, std::int32_t* integers) {
  constexpr std::size_t stride = 2 * kLineBytes;
  end -= (end - begin) % kGroupsTogether;
  for (std::size_t group = begin; group < end; group += kGroupsTogether) {
    const std::uint8_t* line[kGroupsTogether];
    for (std::size_t i = 0; i < kGroupsTogether; ++i) line[i] = linear.planes + (group + i) * linear.lines * stride;
    Floats accumulators[kTogether];
    unroll<kTogether>([&](auto i) DBELL_INLINE_LAMBDA { accumulators[i] = zero_floats(); });
    for (std::size_t block = 0; block < linear.blocks; ++block) {
      const std::size_t lines = lines_of_block(linear, block);
      const std::uint8_t* entries = activations.sum_tables + block * kLinesPerBlock * kLineSumTableBytes;
      const auto bytes_at = [&](std::size_t at, int i, std::size_t plane) DBELL_INLINE_LAMBDA {
        return load_bytes(line[i / kRegisters] + at * stride + plane * kLineBytes + i % kRegisters * kRegisterBytes);
      };
      Ints found[kMasks][kTogether];
      unroll<kMasks>([&](auto mask) DBELL_INLINE_LAMBDA {
        const ByteSums words = look_up_block(lines, entries, [&](std::size_t at, Bytes* registers) DBELL_INLINE_LAMBDA {
          unroll<kTogether>([&](auto i) DBELL_INLINE_LAMBDA {
            if (mask < 2 && i % kRegisters == 0)
              prefetch(line[i / kRegisters] + at * stride + mask * kLineBytes + kPrefetchBytes);
            registers[i] = mask < 2 ? bytes_at(at, i, mask) : bit_and(bytes_at(at, i, 0), bytes_at(at, i, 1));
          });
        });
        widen(words, found[mask]);
      });
      const Ints least = int_of(activations.least_sums[block]);
      unroll<kTogether>([&](auto i) DBELL_INLINE_LAMBDA {
        const std::size_t in_group = group + i / kRegisters, part = i % kRegisters;
        Ints all[kMasks], salient[kMasks];
        unroll<kMasks>([&](auto mask) DBELL_INLINE_LAMBDA { all[mask] = add(found[mask][i], least); });
        sum_salient(line[i / kRegisters] + part * kRegisterBytes, activations, block, salient);
        accumulators[i] = add_structured_block(linear, activations, in_group, part, block, 0,
                                               load_levels(linear, in_group, part, block), all, salient,
                                               accumulators[i], integers);
      });
      for (std::size_t i = 0; i < kGroupsTogether; ++i) line[i] += lines * stride;
    }
    unroll<kTogether>([&](auto i) DBELL_INLINE_LAMBDA {
      const std::size_t row = group * kRowsPerGroup + i * kLanes;
      finish_structured(linear, row, activations.scales[0], accumulators[i], y + row);
    });
  }
  return end;
}
#endif

void structured(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t begin, std::size_t end,
                float* y, std::size_t y_stride, std::int32_t* integers) {
#ifdef DBELL_HAS_SUM_TABLES
  if (activations.sum_tables != nullptr)
    begin = decode_structured_by_sum_tables(linear, activations, begin, end, y, integers);
#endif
  for (std::size_t group = begin; group < end; ++group) {
    if (activations.tokens == 1) {
      decode_structured(linear, activations, group, y, integers);
    } else {
      prefill_structured(linear, activations, group, y, y_stride, integers);
    }
  }
}

}  // namespace dbell::DBELL_KERNEL_SET
