// Plain reference of every kernel, in portable C++: what the formulas of kernel_table.h say, one bit after the other.
// It runs on every CPU and is what the other instruction sets are checked against; no attempt at speed beyond unpacking
// a block's codes once for all tokens.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/half.h"
#include "kernels/base3.h"
#include "kernels/exponential.h"
#include "kernels/kernel_table.h"

namespace dbell {
namespace {

/// Columns of block `block` that have stored lines.
std::size_t stored_columns(const PackedLinear& linear, std::size_t block) {
  const std::size_t lines = linear.lines - block * kLinesPerBlock;
  return (lines < kLinesPerBlock ? lines : kLinesPerBlock) * kColumnsPerLine;
}

/// The same from base-3 bytes; a byte of 243 or more, which no sound file has, gives some code or other.
void unpack_base3(const PackedLinear& linear, std::size_t row_group, std::size_t block, std::uint8_t* codes) {
  const std::size_t columns = columns_of_block(linear, block);
  const std::uint8_t* bytes = base3_block(linear, row_group, block);
  std::memset(codes, 0, stored_columns(linear, block) * kRowsPerGroup);
  for (std::size_t column = 0; column < columns; ++column) {
    const std::size_t first = column / kColumnsPerStrip * kColumnsPerStrip, per_row = strip_row_bytes(columns - first);
    const std::size_t digit = (column - first) / per_row, byte = (column - first) % per_row;
    const std::uint8_t* strip = bytes + first / kColumnsPerStrip * kLineBytes;
    for (std::size_t row = 0; row < kRowsPerGroup; ++row) {
      unsigned value = strip[per_row * row + byte];
      for (std::size_t i = 0; i < digit; ++i) value /= 3;
      codes[column * kRowsPerGroup + row] = static_cast<std::uint8_t>(value % 3);
    }
  }
}

/// Code Σ_p 2^p·bit_p of each column and row of one row group and block, [columns, 16].
void unpack_codes(const PackedLinear& linear, std::size_t row_group, std::size_t block, std::uint8_t* codes) {
  if (linear.base3 != nullptr) return unpack_base3(linear, row_group, block, codes);
  const std::size_t columns = stored_columns(linear, block);
  for (std::size_t column = 0; column < columns; ++column) {
    const std::size_t line = block * kLinesPerBlock + column / kColumnsPerLine;
    const std::size_t bit = column % kColumnsPerLine / 4, byte = column % 4;
    for (std::size_t row = 0; row < kRowsPerGroup; ++row) {
      unsigned code = 0;
      for (int plane = 0; plane < linear.plane_count; ++plane) {
        const std::size_t line_index =
            (row_group * linear.lines + line) * static_cast<std::size_t>(linear.plane_count) +
            static_cast<std::size_t>(plane);
        code |= ((linear.planes[line_index * kLineBytes + 4 * row + byte] >> bit) & 1u) << plane;
      }
      codes[column * kRowsPerGroup + row] = static_cast<std::uint8_t>(code);
    }
  }
}

/// At most kTokensPerPass tokens from `first` on, one row group.
void grid_pass(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t group,
               std::size_t first, std::size_t count, float* y, std::size_t y_stride, std::int32_t* integers) {
  const std::size_t tokens = activations.tokens, rows = linear.row_groups * kRowsPerGroup;
  float accumulators[kTokensPerPass][kRowsPerGroup] = {};
  for (std::size_t block = 0; block < linear.blocks; ++block) {
    std::uint8_t codes[kColumnsPerBlock * kRowsPerGroup];
    unpack_codes(linear, group, block, codes);
    const std::size_t columns = stored_columns(linear, block);
    const std::size_t scale_index = (group * linear.blocks + block) * kRowsPerGroup;
    for (std::size_t t = 0; t < count; ++t) {
      const std::int8_t* x = activations.values + (block * tokens + first + t) * kColumnsPerBlock;
      const std::int32_t block_sum = activations.block_sums[block * tokens + first + t];
      const float step = activations.block_scales[block * tokens + first + t];
      std::int32_t sums[kRowsPerGroup] = {};
      for (std::size_t column = 0; column < columns; ++column) {
        for (std::size_t row = 0; row < kRowsPerGroup; ++row)
          sums[row] += codes[column * kRowsPerGroup + row] * x[column];
      }
      for (std::size_t row = 0; row < kRowsPerGroup; ++row) {
        const std::int32_t integer = 2 * sums[row] - (linear.levels - 1) * block_sum;
        if (integers)
          integers[((first + t) * rows + group * kRowsPerGroup + row) * linear.blocks + block] = integer;
        float& accumulator = accumulators[t][row];
        accumulator += half_to_float(linear.scales[scale_index + row]) * static_cast<float>(integer) * step;
        if (linear.offsets)
          accumulator += half_to_float(linear.offsets[scale_index + row]) * static_cast<float>(2 * block_sum) * step;
      }
    }
  }
  for (std::size_t t = 0; t < count; ++t) {
    const float scale = 0.5f * activations.scales[first + t];
    for (std::size_t row = 0; row < kRowsPerGroup; ++row) {
      const std::size_t out = group * kRowsPerGroup + row;
      float& target = y[(first + t) * y_stride + out];
      target = (linear.bias ? linear.bias[out] : target) + scale * accumulators[t][row];
    }
  }
}

void grid(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t begin, std::size_t end,
          float* y, std::size_t y_stride, std::int32_t* integers) {
  for (std::size_t group = begin; group < end; ++group) {
    for (std::size_t first = 0; first < activations.tokens; first += kTokensPerPass) {
      const std::size_t left = activations.tokens - first, count = left < kTokensPerPass ? left : kTokensPerPass;
      grid_pass(linear, activations, group, first, count, y, y_stride, integers);
    }
  }
}

/// The eight levels of one row of a block: ordinary L00, L10, L01, L11, salient L00, L10, L01, L11 (index: plane 0's
/// bit, then plane 1's).
void structured_levels(const PackedLinear& linear, std::size_t row_group, std::size_t block, std::size_t row,
                       float* levels) {
  float value[kStructuredValues];
  for (std::size_t i = 0; i < kStructuredValues; ++i) {
    value[i] = half_to_float(
        linear.structured_values[((row_group * linear.blocks + block) * kStructuredValues + i) * kRowsPerGroup + row]);
  }
  levels[0] = value[0] - value[1];
  levels[1] = value[0] + value[1];
  levels[2] = value[2] - value[3];
  levels[3] = value[2] + value[3];
  levels[4] = (value[4] - value[5]) - value[6];
  levels[5] = (value[4] + value[5]) - value[6];
  levels[6] = (value[4] - value[5]) + value[6];
  levels[7] = (value[4] + value[5]) + value[6];
}

/// acc + L00·S00 + L10·S10 + L01·S01 + L11·S11, in this order.
float add_levels(float accumulator, const float* levels, std::int32_t a, std::int32_t b, std::int32_t ab,
                 std::int32_t x) {
  accumulator += levels[0] * static_cast<float>(x - a - b + ab);
  accumulator += levels[1] * static_cast<float>(a - ab);
  accumulator += levels[2] * static_cast<float>(b - ab);
  accumulator += levels[3] * static_cast<float>(ab);
  return accumulator;
}

void structured(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t begin, std::size_t end,
                float* y, std::size_t y_stride, std::int32_t* integers) {
  const std::size_t tokens = activations.tokens, rows = linear.row_groups * kRowsPerGroup;
  for (std::size_t group = begin; group < end; ++group) {
    for (std::size_t t = 0; t < tokens; ++t) {
      for (std::size_t row = 0; row < kRowsPerGroup; ++row) y[t * y_stride + group * kRowsPerGroup + row] = 0.0f;
    }
    for (std::size_t block = 0; block < linear.blocks; ++block) {
      std::uint8_t codes[kColumnsPerBlock * kRowsPerGroup];
      unpack_codes(linear, group, block, codes);
      const std::size_t columns = stored_columns(linear, block);
      float levels[kRowsPerGroup][8];
      for (std::size_t row = 0; row < kRowsPerGroup; ++row) structured_levels(linear, group, block, row, levels[row]);
      for (std::size_t t = 0; t < tokens; ++t) {
        const std::int8_t* x = activations.values + (block * tokens + t) * kColumnsPerBlock;
        const std::int8_t* salient = activations.salient_values + (block * tokens + t) * kColumnsPerBlock;
        // A, B, AB of the ordinary columns, then of the salient ones; −(bit) is all ones or zero.
        std::int32_t sums[kStructuredIntegers][kRowsPerGroup] = {};
        for (std::size_t column = 0; column < columns; ++column) {
          const std::int32_t ordinary_x = x[column] - salient[column], salient_x = salient[column];
          for (std::size_t row = 0; row < kRowsPerGroup; ++row) {
            const std::int32_t code = codes[column * kRowsPerGroup + row], a = -(code & 1), b = -(code >> 1);
            sums[0][row] += ordinary_x & a;
            sums[1][row] += ordinary_x & b;
            sums[2][row] += ordinary_x & a & b;
            sums[3][row] += salient_x & a;
            sums[4][row] += salient_x & b;
            sums[5][row] += salient_x & a & b;
          }
        }
        const std::int32_t salient_sum = activations.salient_sums[block * tokens + t];
        const std::int32_t ordinary_sum = activations.block_sums[block * tokens + t] - salient_sum;
        for (std::size_t row = 0; row < kRowsPerGroup; ++row) {
          const std::size_t out = group * kRowsPerGroup + row;
          if (integers) {
            for (std::size_t i = 0; i < kStructuredIntegers; ++i) {
              integers[((t * rows + out) * linear.blocks + block) * kStructuredIntegers + i] = sums[i][row];
            }
          }
          float& accumulator = y[t * y_stride + out];
          accumulator = add_levels(accumulator, levels[row], sums[0][row], sums[1][row], sums[2][row], ordinary_sum);
          accumulator = add_levels(accumulator, levels[row] + 4, sums[3][row], sums[4][row], sums[5][row], salient_sum);
        }
      }
    }
    for (std::size_t t = 0; t < tokens; ++t) {
      for (std::size_t row = 0; row < kRowsPerGroup; ++row) {
        const std::size_t out = group * kRowsPerGroup + row;
        y[t * y_stride + out] = linear.bias[out] + activations.scales[t] * y[t * y_stride + out];
      }
    }
  }
}

void expand(const PackedLinear& linear, std::size_t row_group, std::size_t block, const std::uint8_t* salient_mask,
            float* tile) {
  std::uint8_t codes[kColumnsPerBlock * kRowsPerGroup];
  unpack_codes(linear, row_group, block, codes);
  const std::size_t columns = stored_columns(linear, block);
  for (std::size_t row = 0; row < kRowsPerGroup; ++row) {
    if (linear.layout == LinearLayout::grid) {
      const std::size_t scale_index = (row_group * linear.blocks + block) * kRowsPerGroup + row;
      const float scale = half_to_float(linear.scales[scale_index]);
      const float centre = 0.5f * static_cast<float>(linear.levels - 1);
      for (std::size_t column = 0; column < columns; ++column) {
        float weight = scale * (static_cast<float>(codes[column * kRowsPerGroup + row]) - centre);
        if (linear.offsets) weight += half_to_float(linear.offsets[scale_index]);
        tile[column * kRowsPerGroup + row] = weight;
      }
    } else {
      float levels[8];
      structured_levels(linear, row_group, block, row, levels);
      for (std::size_t column = 0; column < columns; ++column) {
        const bool is_salient = (salient_mask[column / 8] >> (column % 8)) & 1;
        tile[column * kRowsPerGroup + row] = levels[codes[column * kRowsPerGroup + row] + (is_salient ? 4 : 0)];
      }
    }
  }
  for (std::size_t i = columns * kRowsPerGroup; i < kColumnsPerBlock * kRowsPerGroup; ++i) tile[i] = 0.0f;
}

void expand_table(const Table& table, std::size_t row_group, std::size_t begin, std::size_t count, float* tile) {
  for (std::size_t row = 0; row < kRowsPerGroup; ++row) {
    const std::size_t index = row_group * kRowsPerGroup + row;
    for (std::size_t column = 0; column < count; ++column) {
      float value = 0.0f;
      if (index < table.rows) {
        const std::size_t at = index * table.columns + begin + column;
        value = table.type == TableType::f16 ? half_to_float(static_cast<const std::uint16_t*>(table.values)[at])
                                             : static_cast<const float*>(table.values)[at];
      }
      tile[column * kRowsPerGroup + row] = value;
    }
  }
}

/// sums_i ← sums_i + x·w_i, rounded once, for 16 values. In float64 the product is exact and the sum all but exact: rounding
/// that to float32 is what a fused operation gives, unless it lies on the border between two floats, where the part that
/// the float64 sum lost decides (S. Boldo, G. Melquiond: When double rounding is odd, 2005).
void add_fused(float x, const float* weights, float* sums) {
#ifdef FP_FAST_FMAF
  for (std::size_t i = 0; i < kRowsPerGroup; ++i) sums[i] = std::fma(x, weights[i], sums[i]);
#else
  double exact[kRowsPerGroup];
  std::uint64_t bits[kRowsPerGroup];
  for (std::size_t i = 0; i < kRowsPerGroup; ++i)
    exact[i] = static_cast<double>(x) * static_cast<double>(weights[i]) + static_cast<double>(sums[i]);
  std::memcpy(bits, exact, sizeof exact);
  std::uint64_t borders = 0;
  for (std::size_t i = 0; i < kRowsPerGroup; ++i) borders |= (bits[i] & 0x1FFFFFFFu) == 0x10000000u ? 1u : 0u;
  if (borders != 0) {
    for (std::size_t i = 0; i < kRowsPerGroup; ++i) {
      if ((bits[i] & 0x1FFFFFFFu) != 0x10000000u || !std::isfinite(exact[i])) continue;
      // What the sum lost (T. J. Dekker, 1971): exact for any two numbers.
      const double product = static_cast<double>(x) * static_cast<double>(weights[i]), addend = sums[i];
      const double part = exact[i] - product;
      const double lost = (product - (exact[i] - part)) + (addend - part);
      if (lost != 0) bits[i] += (lost > 0) == (exact[i] > 0) ? 1 : std::uint64_t{0} - 1;
    }
    std::memcpy(exact, bits, sizeof exact);
  }
  for (std::size_t i = 0; i < kRowsPerGroup; ++i) sums[i] = static_cast<float>(exact[i]);
#endif
}

void multiply(const float* a, std::size_t lda, std::size_t tokens, std::size_t depth, const float* b, std::size_t ldb,
              std::size_t panel_stride, std::size_t panels, float* c, std::size_t ldc, bool accumulate) {
  for (std::size_t panel = 0; panel < panels; ++panel) {
    for (std::size_t t = 0; t < tokens; ++t) {
      float* out = c + t * ldc + panel * kRowsPerGroup;
      float sums[kRowsPerGroup] = {};
      if (accumulate) std::memcpy(sums, out, sizeof sums);
      for (std::size_t k = 0; k < depth; ++k) add_fused(a[t * lda + k], b + panel * panel_stride + k * ldb, sums);
      std::memcpy(out, sums, sizeof sums);
    }
  }
}

void table_q8(const Table& table, const TableActivations& activations, std::size_t begin, std::size_t end, float* y,
              std::size_t y_stride, std::int32_t* integers) {
  const std::size_t width = table.groups * kColumnsPerTableGroup, rows = (end - begin) * kRowsPerGroup;
  for (std::size_t t = 0; t < activations.tokens; ++t) {
    for (std::size_t row = 0; row < rows; ++row) {
      const std::size_t index = begin * kRowsPerGroup + row;
      float accumulator = 0.0f;
      for (std::size_t group = 0; group < table.groups; ++group) {
        std::int32_t sum = 0;
        if (index < table.rows) {
          const std::int8_t* codes =
              static_cast<const std::int8_t*>(table.values) + index * width + group * kColumnsPerTableGroup;
          const std::int8_t* x = activations.values + t * width + group * kColumnsPerTableGroup;
          for (std::size_t j = 0; j < kColumnsPerTableGroup; ++j) sum += codes[j] * x[j];
          accumulator += half_to_float(table.scales[index * table.groups + group]) * static_cast<float>(sum);
        }
        if (integers) integers[(t * rows + row) * table.groups + group] = sum;
      }
      y[t * y_stride + row] = activations.scales[t] * accumulator;
    }
  }
}

/// Code of one entry: lines 0 … 3 hold the low nibbles (columns 0 … 15 of the group in the low half of a byte, 16 … 31 in
/// the high one), with 6 bits lines 4 and 5 the two bits above.
int packed_table_code(const Table& table, std::size_t row, std::size_t group, std::size_t column) {
  const bool is_six = table.type == TableType::q6;
  const std::size_t lines = is_six ? kLinesPerTableGroup6 : kLinesPerTableGroup4;
  const std::uint8_t* first = static_cast<const std::uint8_t*>(table.values) +
                              (row / kRowsPerGroup * table.groups + group) * lines * kLineBytes;
  const std::size_t half = column / 16, quad = column % 16 / 4, byte = 4 * (row % kRowsPerGroup) + column % 4;
  const int nibble = (first[quad * kLineBytes + byte] >> (4 * half)) & 15;
  if (!is_six) return nibble - 8;
  return (((first[(4 + half) * kLineBytes + byte] >> (2 * quad)) & 3) << 4) + nibble - 32;
}

void table_packed(const Table& table, const TableActivations& activations, std::size_t begin, std::size_t end, float* y,
                  std::size_t y_stride, std::int32_t* integers) {
  const std::size_t width = table.groups * kColumnsPerTableGroup, rows = (end - begin) * kRowsPerGroup;
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t index = begin * kRowsPerGroup + row;
    for (std::size_t t = 0; t < activations.tokens; ++t) y[t * y_stride + row] = 0.0f;
    for (std::size_t group = 0; group < table.groups; ++group) {
      int codes[kColumnsPerTableGroup];
      for (std::size_t j = 0; j < kColumnsPerTableGroup; ++j) codes[j] = packed_table_code(table, index, group, j);
      const std::size_t scale_index = (index / kRowsPerGroup * table.groups + group) * kRowsPerGroup;
      const float scale = half_to_float(table.scales[scale_index + index % kRowsPerGroup]);
      for (std::size_t t = 0; t < activations.tokens; ++t) {
        const std::int8_t* x = activations.values + t * width + group * kColumnsPerTableGroup;
        std::int32_t sum = 0;
        for (std::size_t j = 0; j < kColumnsPerTableGroup; ++j) sum += codes[j] * x[j];
        if (integers) integers[(t * rows + row) * table.groups + group] = sum;
        y[t * y_stride + row] += scale * static_cast<float>(sum);
      }
    }
    for (std::size_t t = 0; t < activations.tokens; ++t)
      y[t * y_stride + row] = activations.scales[t] * y[t * y_stride + row];
  }
}

float quantize(const float* x, const float* column_scale, std::size_t count, int limit, std::int8_t* quantized) {
  // Magnitudes are compared as bits: those of infinities and NaN are larger than those of every number.
  std::uint32_t largest_bits = 0;
  for (std::size_t j = 0; j < count; ++j) {
    const float value = column_scale ? column_scale[j] * x[j] : x[j];
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits &= 0x7FFFFFFFu;
    largest_bits = bits > largest_bits ? bits : largest_bits;
  }
  if (largest_bits >= 0x7F800000u) return -1.0f;
  float largest;
  std::memcpy(&largest, &largest_bits, sizeof largest);
  const float bound = static_cast<float>(limit);
  float scale = largest / bound;
  if (scale == 0.0f) scale = 1.0f;
  // Adding and taking away 1.5·2^23 rounds to the nearest integer, ties to even, for magnitudes below 2^22.
  const float rounder = 12582912.0f;
  for (std::size_t j = 0; j < count; ++j) {
    float value = (column_scale ? column_scale[j] * x[j] : x[j]) / scale;
    value = value > bound ? bound : value < -bound ? -bound : value;
    quantized[j] = static_cast<std::int8_t>((value + rounder) - rounder);
  }
  return scale;
}

void exponentials(float* x, std::size_t count, float maximum) {
  // Adding and taking away 1.5·2^23 rounds to the nearest integer, as in quantize.
  const float rounder = 12582912.0f;
  for (std::size_t j = 0; j < count; ++j) {
    const float value = x[j] - maximum;
    const float raised = value > kLowestExponent ? value : kLowestExponent;
    const float clamped = raised < kHighestExponent ? raised : kHighestExponent;
    const float n = (clamped * kInverseLn2 + rounder) - rounder;
    const float r = (clamped - n * kLn2High) - n * kLn2Low;
    float sum = kExponentialCoefficients[0];
    for (int i = 1; i < 5; ++i) sum = sum * r + kExponentialCoefficients[i];
    sum = sum * r + 1.0f;
    sum = sum * r + 1.0f;
    const std::uint32_t bits = static_cast<std::uint32_t>(static_cast<std::int32_t>(n) + 127) << 23;
    float power;
    std::memcpy(&power, &bits, sizeof power);
    x[j] = value < kLowestExponent ? 0.0f : sum * power;
  }
}

void softmax(float* scores, std::size_t rows, const SeenPositions* seen, SoftmaxState* states, float* factors) {
  for (std::size_t row = 0; row < rows; ++row, scores += kPositionsPerSegment) {
    const std::size_t first = seen[row].first, last = seen[row].last;
    factors[row] = 1.0f;
    if (first >= last) {
      std::fill_n(scores, kPositionsPerSegment, 0.0f);
      continue;
    }
    float maximum = states[row].maximum;
    for (std::size_t j = first; j < last; ++j) maximum = scores[j] > maximum ? scores[j] : maximum;
    std::fill(scores, scores + first, 0.0f);
    std::fill(scores + last, scores + kPositionsPerSegment, 0.0f);
    exponentials(scores + first, last - first, maximum);
    float sums[kPositionsPerSegment];
    std::copy_n(scores, kPositionsPerSegment, sums);
    for (std::size_t width = kPositionsPerSegment / 2; width > 0; width /= 2) {
      for (std::size_t j = 0; j < width; ++j) sums[j] += sums[j + width];
    }
    factors[row] = states[row].maximum;
    exponentials(factors + row, 1, maximum);
    states[row] = {maximum, states[row].total * factors[row] + sums[0]};
  }
}

void expand_halves(const std::uint16_t* halves, std::size_t count, float* out) {
  for (std::size_t j = 0; j < count; ++j) out[j] = half_to_float(halves[j]);
}

void expand_codes(const std::int8_t* codes, const float* steps, std::size_t rows, float* out) {
  for (std::size_t j = 0; j < rows * kRowsPerGroup; ++j)
    out[j] = steps[j % kRowsPerGroup] * static_cast<float>(codes[j]);
}

}  // namespace

const KernelTable& generic_kernels() {
  static constexpr KernelTable table = {
      "generic",    grid,     structured,   nullptr,  expand,      expand_table, multiply,
      table_q8,     table_packed, quantize, exponentials, softmax, expand_halves, expand_codes};
  return table;
}

}  // namespace dbell
