#pragma once
// Levels of the structured layout, for its integer path and for expanded weights.
#include "kernels/lanes/lanes.h"

namespace dbell::DBELL_KERNEL_SET {
namespace {

/// Ordinary L00, L10, L01, L11, salient L00, L10, L01, L11 of the rows of register `part`.
struct Levels {
  Floats level[8];
};

inline Levels load_levels(const PackedLinear& linear, std::size_t group, std::size_t part, std::size_t block) {
  const std::uint16_t* values = linear.structured_values +
                                (group * linear.blocks + block) * kStructuredValues * kRowsPerGroup + part * kLanes;
  Floats value[kStructuredValues];
  for (std::size_t i = 0; i < kStructuredValues; ++i) value[i] = half_floats(values + i * kRowsPerGroup);
  const Floats lower = subtract(value[4], value[5]), upper = add(value[4], value[5]);
  return {{subtract(value[0], value[1]), add(value[0], value[1]), subtract(value[2], value[3]),
           add(value[2], value[3]), subtract(lower, value[6]), subtract(upper, value[6]), add(lower, value[6]),
           add(upper, value[6])}};
}

}  // namespace
}  // namespace dbell::DBELL_KERNEL_SET
