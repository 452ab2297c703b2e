#include "numerics/layer_errors.h"

#include <algorithm>
#include <vector>

#include "common/thread_pool.h"
#include "numerics/loops.h"

namespace dbell::numerics {
namespace {

constexpr std::size_t rows_per_chunk = 64;
constexpr std::size_t columns_per_strip = 128;

/// Σ_i v_i H v_iᵀ of `rows` rows v `[rows, n]`, from the upper triangle: the diagonal once, what is above it twice.
double weighted_square(const Loops& loop, const std::vector<double>& values, std::size_t rows, std::size_t n,
                       const double* hessian, std::vector<double>& triangle, std::vector<double>& products) {
  double total = 0;
  for (std::size_t j0 = 0; j0 < n; j0 += columns_per_strip) {
    const std::size_t width = std::min(columns_per_strip, n - j0);
    std::fill(products.begin(), products.end(), 0.0);
    // Rows of H above this strip, then the strip's own diagonal block with half its diagonal.
    loop.subtract_product_double(products.data(), columns_per_strip, values.data(), n, hessian + j0, n, rows, width,
                                 j0);
    for (std::size_t i = 0; i < width; ++i)
      for (std::size_t j = 0; j < width; ++j) {
        const double value = hessian[(j0 + i) * n + j0 + j];
        triangle[i * columns_per_strip + j] = j < i ? 0.0 : j == i ? 0.5 * value : value;
      }
    loop.subtract_product_double(products.data(), columns_per_strip, values.data() + j0, n, triangle.data(),
                                 columns_per_strip, rows, width, width);
    for (std::size_t i = 0; i < rows; ++i)
      for (std::size_t j = 0; j < width; ++j)
        total -= 2.0 * products[i * columns_per_strip + j] * values[i * n + j0 + j];
  }
  return total;
}

}  // namespace

LayerErrors layer_errors(const float* weight, const float* quantized, const double* hessian, std::size_t out_features,
                         std::size_t in_features) {
  const Loops& loop = loops();
  const std::size_t chunks = (out_features + rows_per_chunk - 1) / rows_per_chunk;
  std::vector<LayerErrors> parts(chunks);
  parallel_for(chunks, 1, [&](std::size_t begin, std::size_t end) {
    std::vector<double> triangle(columns_per_strip * columns_per_strip);
    std::vector<double> products(rows_per_chunk * columns_per_strip);
    std::vector<double> weights(rows_per_chunk * in_features), differences(rows_per_chunk * in_features);
    for (std::size_t chunk = begin; chunk < end; ++chunk) {
      const std::size_t row = chunk * rows_per_chunk;
      const std::size_t rows = std::min(rows_per_chunk, out_features - row);
      LayerErrors part;
      for (std::size_t k = 0; k < rows * in_features; ++k) {
        const double value = weight[row * in_features + k];
        const double difference = value - quantized[row * in_features + k];
        weights[k] = value;
        differences[k] = difference;
        part.squared_norm += value * value;
        part.squared_error += difference * difference;
      }
      part.weighted_norm = weighted_square(loop, weights, rows, in_features, hessian, triangle, products);
      part.weighted_error = weighted_square(loop, differences, rows, in_features, hessian, triangle, products);
      parts[chunk] = part;
    }
  });
  LayerErrors total;
  for (const LayerErrors& part : parts) {
    total.weighted_error += part.weighted_error;
    total.weighted_norm += part.weighted_norm;
    total.squared_error += part.squared_error;
    total.squared_norm += part.squared_norm;
  }
  return total;
}

}  // namespace dbell::numerics
