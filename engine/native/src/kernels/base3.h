#pragma once
// Where base-3 codes stand. `static`: every kernel source keeps its own copy (packed_linear.h).
#include "kernels/packed_linear.h"

namespace dbell {

/// True columns of a block, 1 … 128.
static inline std::size_t columns_of_block(const PackedLinear& linear, std::size_t block) {
  const std::size_t left = linear.in_features - block * kColumnsPerBlock;
  return left < kColumnsPerBlock ? left : kColumnsPerBlock;
}

/// The block's first strip; its strips follow each other, and every block in front of it is a whole one.
static inline const std::uint8_t* base3_block(const PackedLinear& linear, std::size_t row_group, std::size_t block) {
  return linear.base3 + row_group * linear.base3_group_bytes + block * kBase3BlockBytes;
}

/// Bytes that each row has in a strip of which `columns` columns are left in the block.
static inline std::size_t strip_row_bytes(std::size_t columns) {
  const std::size_t bytes = (columns + kDigitsPerByte - 1) / kDigitsPerByte;
  return bytes < kStripRowBytes ? bytes : kStripRowBytes;
}

}  // namespace dbell
