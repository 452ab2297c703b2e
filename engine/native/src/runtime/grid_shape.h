#pragma once
#include <cstddef>

#include "kernels/packed_linear.h"

namespace dbell {

inline std::size_t ceil_div(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

/// A grid linear `[out, in]` of so many levels without its data.
inline PackedLinear make_grid(std::size_t out, std::size_t in, int levels) {
  PackedLinear packed{};
  packed.layout = LinearLayout::grid;
  packed.out_features = out;
  packed.in_features = in;
  packed.row_groups = ceil_div(out, kRowsPerGroup);
  packed.lines = ceil_div(in, kColumnsPerLine);
  packed.blocks = ceil_div(in, kColumnsPerBlock);
  packed.levels = levels;
  packed.plane_count = 1;
  while ((1 << packed.plane_count) < levels) ++packed.plane_count;
  return packed;
}

}  // namespace dbell
