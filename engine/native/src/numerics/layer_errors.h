#pragma once
#include <cstddef>

namespace dbell::numerics {

struct LayerErrors {
  double weighted_error = 0;  // tr((W−Q) H (W−Q)ᵀ)
  double weighted_norm = 0;   // tr(W H Wᵀ)
  double squared_error = 0;   // ‖W−Q‖²
  double squared_norm = 0;    // ‖W‖²
};

/// In float64. H is symmetric; its upper triangle is read. W and Q are `[out, in]`, H `[in, in]`.
LayerErrors layer_errors(const float* weight, const float* quantized, const double* hessian, std::size_t out_features,
                         std::size_t in_features);

}  // namespace dbell::numerics
