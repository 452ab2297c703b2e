#include "common/table_packing.h"

#include <cstring>

#include "common/half.h"
#include "common/plane_packing.h"
#include "common/thread_pool.h"

namespace dbell {
namespace {

std::size_t ceil_divide(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

/// Where an entry's bits stand within the lines of its 16 rows × 32 columns.
struct Place {
  std::size_t nibble_byte, pair_byte;
  int nibble_shift, pair_shift;
};

Place place_of(std::size_t row, std::size_t column) {
  const std::size_t k = column % columns_per_table_group, half = k / 16, quad = k % 16 / 4;
  const std::size_t byte = 4 * (row % rows_per_group) + k % 4;
  return {quad * bytes_per_line + byte, (4 + half) * bytes_per_line + byte, static_cast<int>(4 * half),
          static_cast<int>(2 * quad)};
}

std::size_t group_offset(std::size_t groups, int bits, std::size_t row, std::size_t column) {
  return (row / rows_per_group * groups + column / columns_per_table_group) * table_lines(bits) * bytes_per_line;
}

}  // namespace

std::size_t packed_table_bytes(std::size_t rows, std::size_t columns, int bits) {
  return ceil_divide(rows, rows_per_group) * ceil_divide(columns, columns_per_table_group) * table_lines(bits) *
         bytes_per_line;
}

std::uint8_t table_field(const std::uint8_t* lines, std::size_t groups, int bits, std::size_t row, std::size_t column) {
  const std::uint8_t* first = lines + group_offset(groups, bits, row, column);
  const Place place = place_of(row, column);
  unsigned field = (first[place.nibble_byte] >> place.nibble_shift) & 15u;
  if (bits == 6) field |= ((first[place.pair_byte] >> place.pair_shift) & 3u) << 4;
  return static_cast<std::uint8_t>(field);
}

void pack_table(const std::uint8_t* fields, std::size_t rows, std::size_t columns, int bits, std::uint8_t* target) {
  const std::size_t groups = ceil_divide(columns, columns_per_table_group);
  std::memset(target, 0, packed_table_bytes(rows, columns, bits));
  parallel_for(ceil_divide(rows, rows_per_group), 4, [&](std::size_t begin, std::size_t end) {
    const std::size_t last = end * rows_per_group < rows ? end * rows_per_group : rows;
    for (std::size_t row = begin * rows_per_group; row < last; ++row) {
      for (std::size_t column = 0; column < columns; ++column) {
        const unsigned field = fields[row * columns + column];
        std::uint8_t* first = target + group_offset(groups, bits, row, column);
        const Place place = place_of(row, column);
        first[place.nibble_byte] |= static_cast<std::uint8_t>((field & 15u) << place.nibble_shift);
        if (bits == 6) first[place.pair_byte] |= static_cast<std::uint8_t>((field >> 4 & 3u) << place.pair_shift);
      }
    }
  });
}

void pack_table_scales(const std::uint16_t* scales, std::size_t rows, std::size_t groups, std::uint16_t* target) {
  std::memset(target, 0, ceil_divide(rows, rows_per_group) * groups * rows_per_group * sizeof(std::uint16_t));
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t group = 0; group < groups; ++group) {
      target[(row / rows_per_group * groups + group) * rows_per_group + row % rows_per_group] =
          scales[row * groups + group];
    }
  }
}

void dequantize_packed_table(const std::uint8_t* lines, const std::uint16_t* scales, std::size_t rows,
                             std::size_t columns, int bits, float* values) {
  const std::size_t groups = ceil_divide(columns, columns_per_table_group);
  parallel_for(rows, 16, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      for (std::size_t column = 0; column < columns; ++column) {
        const std::size_t group = row / rows_per_group * groups + column / columns_per_table_group;
        values[row * columns + column] = half_to_float(scales[group * rows_per_group + row % rows_per_group]) *
                                         static_cast<float>(table_code(lines, groups, bits, row, column));
      }
    }
  });
}

bool find_table_padding(const std::uint8_t* lines, std::size_t rows, std::size_t columns, int bits, std::size_t* row,
                        std::size_t* column) {
  const std::size_t groups = ceil_divide(columns, columns_per_table_group), width = groups * columns_per_table_group;
  const std::size_t stored_rows = ceil_divide(rows, rows_per_group) * rows_per_group;
  for (std::size_t i = 0; i < stored_rows; ++i) {
    for (std::size_t j = i < rows ? columns : 0; j < width; ++j) {
      if (table_field(lines, groups, bits, i, j) == 0) continue;
      *row = i;
      *column = j;
      return true;
    }
  }
  return false;
}

}  // namespace dbell
