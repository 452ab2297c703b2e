#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "numerics/loops.h"

namespace dbell::numerics {

struct QuantizedTable {
  /// code + 2^(bits − 1), `[rows, columns]`.
  std::vector<std::uint8_t> fields;
  /// fp16, `[rows, ceil(columns / 32)]`.
  std::vector<std::uint16_t> scales;
  TableErrors errors;
  /// Scales that compensation drove out of fp16's range and that were cut to ±65504.
  std::int64_t saturated = 0;
  /// Index of the first weight that is not finite or too large for an fp16 scale, or rows · columns; the rest is empty then.
  std::size_t first_overflow = 0;
};

/// Embedding or head rows at 4 or 6 bits (docs/method.md, section 9): without a metric rounding to the scale of least squared error; with M `[columns, columns]` (symmetric, positive
/// definite) a start from left to right with its factor U (M⁻¹ = UᵀU; null: rounding) and `sweeps` sweeps of coordinate descent over codes and scales. Rows are independent of
/// each other. Throws std::invalid_argument where a weight becomes not finite by compensation; the message names the row.
QuantizedTable quantize_table(const float* weight, std::size_t rows, std::size_t columns, int bits, const float* metric,
                              const float* factor, int sweeps);

}  // namespace dbell::numerics
