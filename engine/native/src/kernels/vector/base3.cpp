// Grid linears of three levels whose codes stand in base 3, five to a byte.
#include "kernels/base3.h"

#include "kernels/vector/grid_block.h"
#include "kernels/vector/kernels.h"

namespace dbell::DBELL_KERNEL_SET {
namespace {

constexpr int kDigits = static_cast<int>(kDigitsPerByte);

/// The inverse of an odd number modulo 2^32, by Newton's iteration; each step doubles the bits that are right.
constexpr std::uint32_t inverse_of(std::uint32_t odd) {
  std::uint32_t inverse = odd;
  for (int step = 0; step < 5; ++step) inverse *= 2 - odd * inverse;
  return inverse;
}

/// The rows of register `part` of a strip of `bytes` bytes a row, the row's bytes at the low end of its lane, zeros
/// behind them.
template <int bytes>
DBELL_INLINE Bytes load_strip(const std::uint8_t* strip, std::size_t part) {
  const std::uint8_t* rows = strip + part * kLanes * bytes;
  if constexpr (bytes == 4) {
    return load_bytes(rows);
  } else if constexpr (bytes == 2) {
    return load_byte_pairs(rows);
  } else {
    std::uint8_t lanes[kRegisterBytes] = {};
    for (std::size_t row = 0; row < kLanes; ++row) {
      for (std::size_t j = 0; j < bytes; ++j) lanes[4 * row + j] = rows[bytes * row + j];
    }
    return load_bytes(lanes);
  }
}

/// `bytes` activations, repeated in every lane; whatever meets the other bytes of a lane is multiplied with zero.
template <int bytes>
DBELL_INLINE Bytes values_at(const std::int8_t* x) {
  std::int32_t values = 0;
  std::memcpy(&values, x, bytes);
  return bytes_of_lane(values);
}

/// Sums of a block's digits times activations, for one register of rows.
struct DigitSums {
  Partial part[kDigitsPerByte];
  Ints wide[kDigitsPerByte];
};

/// Adds the strip's `digits` lowest digits times x̂; the others must be zero.
template <int bytes, int digits>
DBELL_INLINE void add_strip(Bytes strip, const std::int8_t* x, DigitSums& sums) {
  Bytes parts[kDigitsPerByte];
  split_parts(strip, parts);
  unroll<digits>([&](auto k) DBELL_INLINE_LAMBDA {
    const Bytes values = values_at<bytes>(x + bytes * k);
    if constexpr (kIsWidePart[k]) {
      sums.wide[k] = add_products_wide(sums.wide[k], parts[k], values);
    } else {
      sums.part[k] = add_products(sums.part[k], parts[k], values);
    }
  });
}

/// A strip of which `columns` columns are left; it begins at column `first` of its block. Never reads activations
/// beyond the block's 128: those of digits that the last strip of a whole block does not have.
inline void add_last_strip(const std::uint8_t* strip, std::size_t part, std::size_t first, std::size_t columns,
                           const std::int8_t* x, DigitSums& sums) {
  switch (strip_row_bytes(columns)) {
    case 1:
      return add_strip<1, 5>(load_strip<1>(strip, part), x, sums);
    case 2:
      return first + 2 * kDigitsPerByte > kColumnsPerBlock ? add_strip<2, 4>(load_strip<2>(strip, part), x, sums)
                                                           : add_strip<2, 5>(load_strip<2>(strip, part), x, sums);
    case 3:
      return add_strip<3, 5>(load_strip<3>(strip, part), x, sums);
    default:
      return add_strip<4, 5>(load_strip<4>(strip, part), x, sums);
  }
}

/// The digits' sums together: sums of parts are divided exactly, by multiplying with the inverse of their factor.
DBELL_INLINE Ints total_of(const DigitSums& sums) {
  Ints total = zero_ints();
  unroll<kDigits>([&](auto k) DBELL_INLINE_LAMBDA {
    const Ints sum = kIsWidePart[k] ? sums.wide[k] : sums_of(sums.part[k]);
    constexpr std::uint32_t inverse = inverse_of(static_cast<std::uint32_t>(kPartFactors[k]));
    if constexpr (kPartFactors[k] == 1) {
      total = add(total, sum);
    } else if constexpr (kPartFactors[k] == -1) {
      total = subtract(total, sum);
    } else {
      total = add(total, multiply(sum, int_of(static_cast<std::int32_t>(inverse))));
    }
  });
  return total;
}

DBELL_INLINE Ints sum_block(const std::uint8_t* strip, std::size_t part, std::size_t columns, const std::int8_t* x) {
  DigitSums sums;
  unroll<kDigits>([&](auto k) DBELL_INLINE_LAMBDA {
    sums.part[k] = zero_partial();
    sums.wide[k] = zero_ints();
  });
  std::size_t first = 0;
  for (; first + kColumnsPerStrip <= columns; first += kColumnsPerStrip, strip += kLineBytes) {
    if (part == 0) prefetch(strip + kPrefetchBytes);
    add_strip<4, 5>(load_strip<4>(strip, part), x + first, sums);
  }
  if (first < columns) add_last_strip(strip, part, first, columns - first, x + first, sums);
  return total_of(sums);
}

/// The block's last strip to quads [quad, 32): digit k of `bytes` bytes begins at byte bytes·k of the row's codes.
template <int bytes>
void unpack_last_strip(const std::uint8_t* strip, std::size_t quad, std::uint8_t* codes) {
  for (std::size_t part = 0; part < kRegisters; ++part) {
    Bytes digits[kDigitsPerByte];
    split_digits(load_strip<bytes>(strip, part), digits);
    std::uint8_t lanes[kDigitsPerByte][kRegisterBytes];
    for (std::size_t k = 0; k < kDigitsPerByte; ++k) store_bytes(lanes[k], digits[k]);
    for (std::size_t i = quad; i < kQuadsPerBlock; ++i) {
      std::uint8_t* out = codes + i * kLineBytes + part * kRegisterBytes;
      for (std::size_t j = 0; j < 4; ++j) {
        const std::size_t column = 4 * (i - quad) + j, digit = column / bytes;
        for (std::size_t row = 0; row < kLanes; ++row)
          out[4 * row + j] = digit < kDigitsPerByte ? lanes[digit][4 * row + column % bytes] : std::uint8_t{0};
      }
    }
  }
}

}  // namespace

void unpack_base3(const PackedLinear& linear, std::size_t group, std::size_t block, std::uint8_t* codes) {
  const std::uint8_t* strip = base3_block(linear, group, block);
  std::size_t left = columns_of_block(linear, block), quad = 0;
  for (; left >= kColumnsPerStrip; left -= kColumnsPerStrip, strip += kLineBytes, quad += kDigitsPerByte) {
    for (std::size_t part = 0; part < kRegisters; ++part) {
      Bytes digits[kDigitsPerByte];
      split_digits(load_strip<4>(strip, part), digits);
      unroll<kDigits>([&](auto k) DBELL_INLINE_LAMBDA {
        store_bytes(codes + (quad + k) * kLineBytes + part * kRegisterBytes, digits[k]);
      });
    }
  }
  switch (left == 0 ? 0 : strip_row_bytes(left)) {
    case 0:
      std::memset(codes + quad * kLineBytes, 0, (kQuadsPerBlock - quad) * kLineBytes);
      return;
    case 1:
      return unpack_last_strip<1>(strip, quad, codes);
    case 2:
      return unpack_last_strip<2>(strip, quad, codes);
    case 3:
      return unpack_last_strip<3>(strip, quad, codes);
    default:
      return unpack_last_strip<4>(strip, quad, codes);
  }
}

void decode_base3(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t group, float* y,
                  std::int32_t* integers) {
  Floats accumulators[kRegisters];
  for (std::size_t part = 0; part < kRegisters; ++part) accumulators[part] = zero_floats();
  for (std::size_t block = 0; block < linear.blocks; ++block) {
    const std::uint8_t* strip = base3_block(linear, group, block);
    const std::int8_t* x = activations.values + block * kColumnsPerBlock;
    for (std::size_t part = 0; part < kRegisters; ++part) {
      const Ints sums = sum_block(strip, part, columns_of_block(linear, block), x);
      accumulators[part] =
          add_block(linear, group, part, block, sums, activations, 0, accumulators[part], integers);
    }
  }
  for (std::size_t part = 0; part < kRegisters; ++part) {
    const std::size_t row = group * kRowsPerGroup + part * kLanes;
    finish(linear, row, activations.scales[0], accumulators[part], y + row);
  }
}

}  // namespace dbell::DBELL_KERNEL_SET
