#pragma once
// The byte order of packed weights (docs/format.md) and the conversions around it. Results do not depend on the number of threads.
#include <cstddef>
#include <cstdint>

namespace dbell {

constexpr std::size_t rows_per_group = 16;
constexpr std::size_t columns_per_line = 32;
constexpr std::size_t bytes_per_line = 64;
constexpr std::size_t columns_per_table_group = 32;

/// Bytes of `[ceil(rows/16), ceil(columns/32), planes, 64]`.
std::size_t packed_plane_bytes(std::size_t rows, std::size_t columns, int planes);

/// codes `[rows, columns]` to planes `[rowGroups, lines, planes, 64]`; every byte of `target` is written, padding with zero.
void pack_planes(const std::uint8_t* codes, std::size_t rows, std::size_t columns, int planes, std::uint8_t* target);

/// The inverse; padding is not looked at.
void unpack_planes(const std::uint8_t* source, std::size_t rows, std::size_t columns, int planes, std::uint8_t* codes);

/// What is wrong with packed planes that come from a file.
struct PlaneFault {
  enum class Kind { none, code_out_of_range, padding_not_zero };
  Kind kind = Kind::none;
  std::size_t row = 0;
  std::size_t column = 0;
  int code = 0;
};

/// First fault in the order of rows, then columns: a code ≥ levels, or a bit set in a padding row or column.
PlaneFault check_planes(const std::uint8_t* source, std::size_t rows, std::size_t columns, int planes, int levels);

/// Index of the first value that is NaN, infinite or would round to infinity in fp16, or `count`; values before it are converted.
std::size_t floats_to_halfs(const float* values, std::size_t count, std::uint16_t* halfs);

void halfs_to_floats(const std::uint16_t* halfs, std::size_t count, float* values);

/// Index of the first NaN or infinity, or `count`.
std::size_t first_non_finite_half(const std::uint16_t* halfs, std::size_t count);
std::size_t first_non_finite_float(const float* values, std::size_t count);

/// Row-wise symmetric 8 bits in groups of 32 columns: scale = max|w| / 127 in fp16, raised to the next fp16 where the largest value would
/// be clipped; code = round(w / scale), ties to even, in −127 … 127; a zero group has scale 0. codes `[rows, groups · 32]`, scales `[rows, groups]`.
/// Returns the index of the first value that is not finite or too large for an fp16 scale, or rows · columns.
std::size_t quantize_table_8(const float* values, std::size_t rows, std::size_t columns, std::int8_t* codes,
                             std::uint16_t* scales);

/// values `[rows, columns]` = scale · code in float32.
void dequantize_table_8(const std::int8_t* codes, const std::uint16_t* scales, std::size_t rows, std::size_t columns,
                        float* values);

}  // namespace dbell
