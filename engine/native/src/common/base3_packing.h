#pragma once
// The base-3 byte order of codes with three levels (docs/format.md) and the conversions around it. Results do not depend on
// the number of threads.
#include <cstddef>
#include <cstdint>

namespace dbell {

/// Bytes of `[ceil(rows/16), 16 · Σ_blocks ceil(columns of the block / 5)]`.
std::size_t packed_base3_bytes(std::size_t rows, std::size_t columns);

/// codes `[rows, columns]`, each below 3, to base-3 bytes; every byte of `target` is written, padding with zero.
void pack_base3(const std::uint8_t* codes, std::size_t rows, std::size_t columns, std::uint8_t* target);

/// The inverse; padding is not looked at. Bytes of 243 and more give codes that mean nothing.
void unpack_base3(const std::uint8_t* source, std::size_t rows, std::size_t columns, std::uint8_t* codes);

/// What is wrong with base-3 bytes that come from a file: `code` is the byte, or the digit in the padding.
struct Base3Fault {
  enum class Kind { none, byte_out_of_range, padding_not_zero };
  Kind kind = Kind::none;
  std::size_t row = 0;
  std::size_t column = 0;
  int code = 0;
};

/// First fault in the order of rows, then columns: a byte ≥ 243 (at its first column), or a digit in a padding row or column.
Base3Fault check_base3(const std::uint8_t* source, std::size_t rows, std::size_t columns);

/// Whether any byte is ≥ 243: a plain scan, many times faster than `check_base3`, which says where and looks at padding too.
bool has_base3_byte_out_of_range(const std::uint8_t* source, std::size_t count);

}  // namespace dbell
