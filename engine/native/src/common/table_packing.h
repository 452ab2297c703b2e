#pragma once
// The byte order of embedding and head tables of 6 and 4 bits (docs/format.md, section 4). A field u of b bits stands for the code u − 2^(b−1).
// Results do not depend on the number of threads.
#include <cstddef>
#include <cstdint>

namespace dbell {

/// Lines of 64 bytes that 16 rows × 32 columns take.
constexpr std::size_t table_lines(int bits) { return bits == 6 ? 6 : 4; }

/// Bytes of `[ceil(rows/16), ceil(columns/32), 6 or 4, 64]`.
std::size_t packed_table_bytes(std::size_t rows, std::size_t columns, int bits);

/// Field of one entry, as stored.
std::uint8_t table_field(const std::uint8_t* lines, std::size_t groups, int bits, std::size_t row, std::size_t column);

/// Its code, −2^(b−1) … 2^(b−1) − 1.
inline int table_code(const std::uint8_t* lines, std::size_t groups, int bits, std::size_t row, std::size_t column) {
  return static_cast<int>(table_field(lines, groups, bits, row, column)) - (1 << (bits - 1));
}

/// Fields `[rows, columns]` below 2^bits to lines; every byte of `target` is written, padding with zero.
void pack_table(const std::uint8_t* fields, std::size_t rows, std::size_t columns, int bits, std::uint8_t* target);

/// fp16 scales `[rows, groups]` to `[ceil(rows/16), groups, 16]`, padding with zero.
void pack_table_scales(const std::uint16_t* scales, std::size_t rows, std::size_t groups, std::uint16_t* target);

/// values `[rows, columns]` = scale · code in float32, from packed fields and packed scales.
void dequantize_packed_table(const std::uint8_t* lines, const std::uint16_t* scales, std::size_t rows,
                             std::size_t columns, int bits, float* values);

/// First padding entry (row, column) whose field is not zero, in the order of rows; false where there is none.
bool find_table_padding(const std::uint8_t* lines, std::size_t rows, std::size_t columns, int bits, std::size_t* row,
                        std::size_t* column);

}  // namespace dbell
