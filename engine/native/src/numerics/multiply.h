#pragma once
#include <cstddef>
#include <vector>

namespace dbell::numerics {

/// A·B in float64, `[rows, columns]`: A `[rows, inner]`, B `[inner, columns]`.
std::vector<double> multiply(const float* a, const double* b, std::size_t rows, std::size_t inner,
                             std::size_t columns);

}  // namespace dbell::numerics
