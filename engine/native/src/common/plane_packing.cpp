#include "common/plane_packing.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <mutex>

#include "common/half.h"
#include "common/thread_pool.h"

namespace dbell {

namespace {

std::size_t ceil_divide(std::size_t value, std::size_t by) { return (value + by - 1) / by; }

std::uint32_t load_little_endian(const std::uint8_t* bytes) {
  return static_cast<std::uint32_t>(bytes[0]) | (static_cast<std::uint32_t>(bytes[1]) << 8) |
         (static_cast<std::uint32_t>(bytes[2]) << 16) | (static_cast<std::uint32_t>(bytes[3]) << 24);
}

void store_little_endian(std::uint32_t word, std::uint8_t* bytes) {
  bytes[0] = static_cast<std::uint8_t>(word);
  bytes[1] = static_cast<std::uint8_t>(word >> 8);
  bytes[2] = static_cast<std::uint8_t>(word >> 16);
  bytes[3] = static_cast<std::uint8_t>(word >> 24);
}

// Four neighbouring columns 4b … 4b+3 of one row are the four bytes of a word; their bit p, shifted to bit b of each byte, is what
// the line wants (byte j, bit b ↔ column 4b + j).
constexpr std::uint32_t lowest_bits = 0x01010101u;

/// Codes of up to 32 columns, zero-extended to 32.
void unpack_line(const std::uint8_t* line, std::size_t row, int planes, std::uint8_t* codes) {
  std::uint32_t words[8];
  for (int plane = 0; plane < planes; ++plane) {
    words[plane] = load_little_endian(line + static_cast<std::size_t>(plane) * bytes_per_line + 4 * row);
  }
  for (int b = 0; b < 8; ++b) {
    std::uint32_t four = 0;
    for (int plane = 0; plane < planes; ++plane) four |= ((words[plane] >> b) & lowest_bits) << plane;
    store_little_endian(four, codes + 4 * b);
  }
}

constexpr std::size_t element_grain = 1 << 16;

/// First index for which `bad` holds, over parallel ranges, or `count`.
template <typename Predicate>
std::size_t first_index(std::size_t count, const Predicate& bad) {
  std::atomic<std::size_t> first{count};
  parallel_for(count, element_grain, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      if (!bad(i)) continue;
      std::size_t seen = first.load();
      while (i < seen && !first.compare_exchange_weak(seen, i)) {
      }
      return;
    }
  });
  return first.load();
}

bool half_is_finite(std::uint16_t half) { return (half & 0x7C00u) != 0x7C00u; }

}  // namespace

std::size_t packed_plane_bytes(std::size_t rows, std::size_t columns, int planes) {
  return ceil_divide(rows, rows_per_group) * ceil_divide(columns, columns_per_line) *
         static_cast<std::size_t>(planes) * bytes_per_line;
}

void pack_planes(const std::uint8_t* codes, std::size_t rows, std::size_t columns, int planes, std::uint8_t* target) {
  const std::size_t lines = ceil_divide(columns, columns_per_line);
  const std::size_t line_stride = static_cast<std::size_t>(planes) * bytes_per_line;
  parallel_for(ceil_divide(rows, rows_per_group), 4, [&](std::size_t begin, std::size_t end) {
    for (std::size_t group = begin; group < end; ++group) {
      std::uint8_t* group_target = target + group * lines * line_stride;
      std::memset(group_target, 0, lines * line_stride);
      const std::size_t rows_here = std::min(rows_per_group, rows - group * rows_per_group);
      for (std::size_t row = 0; row < rows_here; ++row) {
        const std::uint8_t* row_codes = codes + (group * rows_per_group + row) * columns;
        for (std::size_t line = 0; line < lines; ++line) {
          const std::size_t first_column = line * columns_per_line;
          const std::size_t columns_here = std::min(columns_per_line, columns - first_column);
          std::uint8_t padded[columns_per_line] = {};
          std::memcpy(padded, row_codes + first_column, columns_here);
          std::uint8_t* line_target = group_target + line * line_stride + 4 * row;
          for (int plane = 0; plane < planes; ++plane) {
            std::uint32_t word = 0;
            for (int b = 0; b < 8; ++b) word |= ((load_little_endian(padded + 4 * b) >> plane) & lowest_bits) << b;
            store_little_endian(word, line_target + static_cast<std::size_t>(plane) * bytes_per_line);
          }
        }
      }
    }
  });
}

void unpack_planes(const std::uint8_t* source, std::size_t rows, std::size_t columns, int planes, std::uint8_t* codes) {
  const std::size_t lines = ceil_divide(columns, columns_per_line);
  const std::size_t line_stride = static_cast<std::size_t>(planes) * bytes_per_line;
  parallel_for(rows, 64, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      const std::uint8_t* group_source = source + row / rows_per_group * lines * line_stride;
      for (std::size_t line = 0; line < lines; ++line) {
        std::uint8_t padded[columns_per_line];
        unpack_line(group_source + line * line_stride, row % rows_per_group, planes, padded);
        const std::size_t first_column = line * columns_per_line;
        std::memcpy(codes + row * columns + first_column, padded, std::min(columns_per_line, columns - first_column));
      }
    }
  });
}

PlaneFault check_planes(const std::uint8_t* source, std::size_t rows, std::size_t columns, int planes, int levels) {
  const std::size_t lines = ceil_divide(columns, columns_per_line);
  const std::size_t line_stride = static_cast<std::size_t>(planes) * bytes_per_line;
  const std::size_t padded_rows = ceil_divide(rows, rows_per_group) * rows_per_group;
  const bool every_code_valid = levels == (1 << planes);
  PlaneFault first;
  std::mutex mutex;
  parallel_for(padded_rows, 64, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      const std::uint8_t* group_source = source + row / rows_per_group * lines * line_stride;
      // A whole row within the matrix whose every code is allowed has only its last line to be looked at.
      const std::size_t first_line = row < rows && every_code_valid ? columns / columns_per_line : 0;
      for (std::size_t line = first_line; line < lines; ++line) {
        std::uint8_t codes[columns_per_line];
        unpack_line(group_source + line * line_stride, row % rows_per_group, planes, codes);
        for (std::size_t c = 0; c < columns_per_line; ++c) {
          const std::size_t column = line * columns_per_line + c;
          const bool padding = row >= rows || column >= columns;
          if (padding ? codes[c] == 0 : codes[c] < levels) continue;
          const std::lock_guard<std::mutex> lock(mutex);
          const bool earlier = first.kind == PlaneFault::Kind::none || row < first.row ||
                               (row == first.row && column < first.column);
          if (earlier) {
            first = {padding ? PlaneFault::Kind::padding_not_zero : PlaneFault::Kind::code_out_of_range, row, column,
                     codes[c]};
          }
          return;
        }
      }
    }
  });
  return first;
}

std::size_t floats_to_halfs(const float* values, std::size_t count, std::uint16_t* halfs) {
  return first_index(count, [&](std::size_t i) {
    halfs[i] = float_to_half(values[i]);
    return !half_is_finite(halfs[i]);
  });
}

void halfs_to_floats(const std::uint16_t* halfs, std::size_t count, float* values) {
  parallel_for(count, element_grain, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) values[i] = half_to_float(halfs[i]);
  });
}

std::size_t first_non_finite_half(const std::uint16_t* halfs, std::size_t count) {
  return first_index(count, [&](std::size_t i) { return !half_is_finite(halfs[i]); });
}

std::size_t first_non_finite_float(const float* values, std::size_t count) {
  return first_index(count, [&](std::size_t i) { return !std::isfinite(values[i]); });
}

std::size_t quantize_table_8(const float* values, std::size_t rows, std::size_t columns, std::int8_t* codes,
                             std::uint16_t* scales) {
  const std::size_t groups = ceil_divide(columns, columns_per_table_group);
  std::atomic<std::size_t> first_bad{rows * columns};
  parallel_for(rows, 16, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      for (std::size_t group = 0; group < groups; ++group) {
        const std::size_t first_column = group * columns_per_table_group;
        const std::size_t columns_here = std::min(columns_per_table_group, columns - first_column);
        const float* source = values + row * columns + first_column;
        std::int8_t* target = codes + (row * groups + group) * columns_per_table_group;
        float maximum = 0;
        bool finite = true;
        std::size_t largest = 0;
        for (std::size_t c = 0; c < columns_here; ++c) {
          const float magnitude = std::fabs(source[c]);
          if (!std::isfinite(magnitude) && finite) {
            finite = false;
            largest = c;
          }
          if (finite && magnitude > maximum) {
            maximum = magnitude;
            largest = c;
          }
        }
        std::uint16_t half = finite ? float_to_half(maximum / 127.0f) : std::uint16_t{0x7C00u};
        // Rounding down (far down among fp16's subnormal numbers) would clip the largest value.
        if (half_is_finite(half) && static_cast<double>(maximum) > 127.5 * static_cast<double>(half_to_float(half))) {
          ++half;
        }
        if (!half_is_finite(half)) {
          const std::size_t index = row * columns + first_column + largest;
          std::size_t seen = first_bad.load();
          while (index < seen && !first_bad.compare_exchange_weak(seen, index)) {
          }
          half = 0;
        }
        scales[row * groups + group] = half;
        const double scale = static_cast<double>(half_to_float(half));
        for (std::size_t c = 0; c < columns_per_table_group; ++c) {
          double code = 0;
          if (c < columns_here && scale > 0) code = std::nearbyint(static_cast<double>(source[c]) / scale);
          target[c] = static_cast<std::int8_t>(std::max(-127.0, std::min(127.0, code)));
        }
      }
    }
  });
  return first_bad.load();
}

void dequantize_table_8(const std::int8_t* codes, const std::uint16_t* scales, std::size_t rows, std::size_t columns,
                        float* values) {
  const std::size_t groups = ceil_divide(columns, columns_per_table_group);
  parallel_for(rows, 16, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      for (std::size_t column = 0; column < columns; ++column) {
        const float scale = half_to_float(scales[row * groups + column / columns_per_table_group]);
        values[row * columns + column] =
            scale * static_cast<float>(codes[row * groups * columns_per_table_group + column]);
      }
    }
  });
}

}  // namespace dbell
