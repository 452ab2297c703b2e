#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace dbell::numerics {

/// Sorts values ≥ 0 in place, ascending (radix sort by their bits; NaN are not allowed).
void sort_magnitudes(std::vector<float>& values);

/// The quantile at `fraction` (0 … 1) of `zeros` zeros and the sorted `values`, interpolated linearly between neighbours (as numpy.quantile does by default).
/// There must be at least one value or zero.
float quantile_of_sorted(const std::vector<float>& values, std::size_t zeros, double fraction);

}  // namespace dbell::numerics
