#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "numerics/loops.h"

namespace dbell::numerics {

struct UniformGrid {
  std::vector<std::uint8_t> codes;    // [out, in]
  std::vector<std::uint16_t> scales;  // fp16 bits, [out, blocks]
  std::vector<std::uint16_t> offsets; // fp16 bits, [out, blocks]
  /// Scales and offsets that had to be cut to ±65504.
  std::int64_t saturated = 0;
};

/// W_ij ≈ scale · (code − (levels − 1) / 2) + offset, levels = 2^bits, per row and block of `block_size` columns, left to right with error compensation.
/// `factor` is U `[in, in]` or null (then plain rounding). Throws std::invalid_argument naming the row where a weight is, or becomes, not finite.
UniformGrid quantize_uniform(const float* weight, std::size_t out_features, std::size_t in_features,
                             const float* factor, int bits, Compensation compensation, std::size_t block_size);

}  // namespace dbell::numerics
