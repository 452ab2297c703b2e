#pragma once
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "numerics/loops.h"

namespace dbell::numerics {

/// Rows that one task of a quantizer treats: enough to repay packing a strip of U, few enough to share out a small layer.
constexpr std::size_t rows_per_task = 32;

inline void throw_if_not_finite(const RowsReport& report, std::size_t first_row, std::size_t first_column) {
  if (report.non_finite_row < 0) return;
  throw std::invalid_argument("the weight in row " +
                              std::to_string(first_row + static_cast<std::size_t>(report.non_finite_row)) +
                              " is not finite in the block of columns that begins at " + std::to_string(first_column) +
                              " (NaN or infinity in the model, or an error compensation that overflowed)");
}

/// The same for columns first … first + width of all rows.
inline void throw_if_any_not_finite(const std::vector<float>& weight, std::size_t rows, std::size_t stride,
                                    std::size_t first, std::size_t width) {
  for (std::size_t i = 0; i < rows; ++i) {
    float sum = 0;
    for (std::size_t j = 0; j < width; ++j) sum += weight[i * stride + first + j] * 0.0f;
    RowsReport report;
    if (!(sum == 0.0f)) report.non_finite_row = static_cast<std::int64_t>(i);
    throw_if_not_finite(report, 0, first);
  }
}

}  // namespace dbell::numerics
