#pragma once
// What attention's softmax keeps of a query from segment to segment (kernel_table.h, softmax).
#include <cstddef>
#include <limits>

namespace dbell {

/// Positions that the cache grows by (growing copies nothing) and that attention takes at once.
constexpr std::size_t kPositionsPerSegment = 128;

/// Positions [first, last) of a segment that a query sees; last ≤ first where it sees none.
struct SeenPositions {
  std::size_t first, last;
};

/// Of the segments so far.
struct SoftmaxState {
  float maximum = -std::numeric_limits<float>::infinity();
  float total = 0;  ///< Σ of the shares, relative to `maximum`
};

}  // namespace dbell
