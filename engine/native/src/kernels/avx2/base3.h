#pragma once
// Codes of three levels in base 3, for the grid kernels of this folder (layout: packed_linear.h).
#include "kernels/packed_linear.h"

namespace dbell::avx2 {

/// Codes of one row group and block as bytes, [32 quads, 16 rows, 4 columns], zero behind the block's last column.
void unpack_base3(const PackedLinear&, std::size_t group, std::size_t block, std::uint8_t* codes);

/// One token through one row group, as kernel_table.h's grid.
void decode_base3(const PackedLinear&, const QuantizedActivations&, std::size_t group, float* y,
                  std::int32_t* integers);

}  // namespace dbell::avx2
