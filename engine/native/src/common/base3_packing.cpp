#include "common/base3_packing.h"

#include <algorithm>
#include <atomic>
#include <mutex>

#include "common/thread_pool.h"

namespace dbell {
namespace {

constexpr std::size_t rows_per_group = 16;
constexpr std::size_t columns_per_block = 128;
constexpr std::size_t columns_per_strip = 20;
constexpr std::size_t digits_per_byte = 5;
constexpr std::size_t strip_row_bytes = 4;
constexpr int byte_values = 243;
constexpr std::size_t rows_per_task = 64;
constexpr std::size_t bytes_per_scan_task = 1 << 18;

std::size_t ceil_divide(std::size_t value, std::size_t by) { return (value + by - 1) / by; }

/// Bytes of one row: 26 for 128 columns.
std::size_t row_bytes(std::size_t columns) {
  const std::size_t whole = columns / columns_per_block;
  return whole * ceil_divide(columns_per_block, digits_per_byte) +
         ceil_divide(columns % columns_per_block, digits_per_byte);
}

/// Calls visit(offset, first, step, end) for every byte of one row, in the order of strips, until it returns false: the byte stands
/// at `offset` of its row group, its digits are those of the columns first, first + step …, the block ends at column `end`. `row` is
/// the one within its group.
template <typename Visit>
void visit_row(std::size_t row, std::size_t columns, const Visit& visit) {
  std::size_t strip_offset = 0;
  for (std::size_t block = 0; block < columns; block += columns_per_block) {
    const std::size_t end = std::min(block + columns_per_block, columns);
    for (std::size_t first = block; first < end; first += columns_per_strip) {
      const std::size_t bytes = std::min(strip_row_bytes, ceil_divide(end - first, digits_per_byte));
      for (std::size_t j = 0; j < bytes; ++j) {
        if (!visit(strip_offset + bytes * row + j, first + j, bytes, end)) return;
      }
      strip_offset += bytes * rows_per_group;
    }
  }
}

}  // namespace

std::size_t packed_base3_bytes(std::size_t rows, std::size_t columns) {
  return ceil_divide(rows, rows_per_group) * rows_per_group * row_bytes(columns);
}

void pack_base3(const std::uint8_t* codes, std::size_t rows, std::size_t columns, std::uint8_t* target) {
  const std::size_t group_bytes = rows_per_group * row_bytes(columns);
  parallel_for(ceil_divide(rows, rows_per_group) * rows_per_group, rows_per_task, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      std::uint8_t* group = target + row / rows_per_group * group_bytes;
      const std::uint8_t* row_codes = row < rows ? codes + row * columns : nullptr;
      visit_row(row % rows_per_group, columns, [&](std::size_t at, std::size_t first, std::size_t step, std::size_t stop) {
        int value = 0;
        for (std::size_t digit = digits_per_byte; digit-- > 0;) {
          const std::size_t column = first + digit * step;
          value = 3 * value + (row_codes != nullptr && column < stop ? row_codes[column] : 0);
        }
        group[at] = static_cast<std::uint8_t>(value);
        return true;
      });
    }
  });
}

void unpack_base3(const std::uint8_t* source, std::size_t rows, std::size_t columns, std::uint8_t* codes) {
  const std::size_t group_bytes = rows_per_group * row_bytes(columns);
  parallel_for(rows, rows_per_task, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      const std::uint8_t* group = source + row / rows_per_group * group_bytes;
      std::uint8_t* row_codes = codes + row * columns;
      visit_row(row % rows_per_group, columns, [&](std::size_t at, std::size_t first, std::size_t step, std::size_t stop) {
        int value = group[at];
        for (std::size_t column = first; column < stop && column < first + digits_per_byte * step; column += step) {
          row_codes[column] = static_cast<std::uint8_t>(value % 3);
          value /= 3;
        }
        return true;
      });
    }
  });
}

Base3Fault check_base3(const std::uint8_t* source, std::size_t rows, std::size_t columns) {
  const std::size_t group_bytes = rows_per_group * row_bytes(columns);
  Base3Fault first_fault;
  std::mutex mutex;
  parallel_for(ceil_divide(rows, rows_per_group) * rows_per_group, rows_per_task, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      const std::uint8_t* group = source + row / rows_per_group * group_bytes;
      Base3Fault fault;
      visit_row(row % rows_per_group, columns, [&](std::size_t at, std::size_t first, std::size_t step, std::size_t stop) {
        int value = group[at];
        if (value >= byte_values) {
          fault = {Base3Fault::Kind::byte_out_of_range, row, first, value};
          return false;
        }
        if (row < rows && first + (digits_per_byte - 1) * step < stop) return true;
        for (std::size_t digit = 0; digit < digits_per_byte; ++digit, value /= 3) {
          const std::size_t column = first + digit * step;
          if (value % 3 == 0 || (row < rows && column < stop)) continue;
          fault = {Base3Fault::Kind::padding_not_zero, row, column, value % 3};
          return false;
        }
        return true;
      });
      if (fault.kind == Base3Fault::Kind::none) continue;
      const std::lock_guard<std::mutex> lock(mutex);
      if (first_fault.kind == Base3Fault::Kind::none || fault.row < first_fault.row) first_fault = fault;
      return;
    }
  });
  return first_fault;
}

bool has_base3_byte_out_of_range(const std::uint8_t* source, std::size_t count) {
  std::atomic<bool> found{false};
  parallel_for(count, bytes_per_scan_task, [&](std::size_t begin, std::size_t end) {
    std::uint8_t largest = 0;
    for (std::size_t i = begin; i < end; ++i) largest = std::max(largest, source[i]);
    if (largest >= byte_values) found = true;
  });
  return found;
}

}  // namespace dbell
