#include "numerics/grid_fit.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "common/half.h"
#include "numerics/grid_layer.h"

namespace dbell::numerics {
namespace {

/// Larger targets could overflow float32 in products with H; fp16 scales end at 65504 anyway.
constexpr float largest_target = 1e15f;
constexpr float largest_half = 65504.0f;

void check_target(const float* target, std::size_t out_features, std::size_t in_features) {
  for (std::size_t i = 0; i < out_features; ++i)
    for (std::size_t j = 0; j < in_features; ++j)
      if (!(std::fabs(target[i * in_features + j]) <= largest_target))
        throw std::invalid_argument("the target in row " + std::to_string(i) + ", column " + std::to_string(j) +
                                    " is not finite or larger than 1e15");
}

void check_activations(const ActivationSample& sample, std::size_t in_features) {
  for (std::size_t t = 0; t < sample.tokens; ++t) {
    bool good = std::isfinite(sample.weights[t]) && sample.weights[t] >= 0;
    for (std::size_t j = 0; j < in_features; ++j) good = good && std::isfinite(sample.inputs[t * in_features + j]);
    if (!good)
      throw std::invalid_argument("token " + std::to_string(t) +
                                  " of the activations is not finite, or has a negative weight");
  }
}

/// Factor of the price of activation rounding in the first round, while the codes have not settled around a c: they follow it only slowly afterwards. Kept up
/// longer it costs the weights more than rounding gains (docs/method.md, section 8).
constexpr double first_price = 8;

/// r as it is stored, which is what the last sweep works with; `[out, blocks]` fp16 bits.
std::vector<std::uint16_t> round_row_scales(GridLayer& layer, std::int64_t& saturated) {
  std::vector<std::uint16_t> stored(layer.row_scale.size());
  for (std::size_t k = 0; k < stored.size(); ++k) {
    float& scale = layer.row_scale[k];
    if (scale >= 65520.0f) {
      ++saturated;
      scale = largest_half;
    }
    stored[k] = float_to_half(scale);
    scale = half_to_float(stored[k]);
  }
  return stored;
}

/// Columns first … first + width of a matrix.
template <class Element>
std::vector<Element> part_of(const std::vector<Element>& matrix, std::size_t rows, std::size_t columns,
                             std::size_t first, std::size_t width) {
  std::vector<Element> part(rows * width);
  for (std::size_t i = 0; i < rows; ++i)
    std::copy_n(matrix.begin() + static_cast<std::ptrdiff_t>(i * columns + first), width,
                part.begin() + static_cast<std::ptrdiff_t>(i * width));
  return part;
}

}  // namespace

GridFit fit_grid(const float* target, const double* hessian, std::size_t out_features, std::size_t in_features,
                 const GridFitOptions& options) {
  check_target(target, out_features, in_features);
  check_activations(options.activations, in_features);
  GridMetric metric = grid_metric(hessian, in_features, options.damping, options.maximum_damping);
  GridLayer layer;
  layer.target = target;
  layer.out_features = out_features;
  layer.in_features = layer.columns = in_features;
  for (std::size_t first = 0; first < in_features; first += options.block_size)
    layer.blocks.push_back({first, std::min(options.block_size, in_features - first), options.levels});
  const std::size_t main_blocks = layer.blocks.size();
  layer.hessian = std::move(metric.hessian);
  layer.diagonal = std::move(metric.diagonal);
  layer.penalty.assign(in_features, 0.0f);

  GridFit fit;
  fit.damping_used = metric.damping_used;
  fit.dead_columns = metric.dead_columns;
  fit.start_loss = metric.loss_scale * start_grid(layer, metric.factor);
  // Weights in the units of the scaled H.
  ActivationSample activations = options.column_scale ? options.activations : ActivationSample{};
  std::vector<float> token_weights(activations.weights, activations.weights + activations.tokens);
  activations.weights = token_weights.data();

  for (int round = 0; round < options.rounds; ++round) {
    solve_row_scales(layer, options.row_ridge);
    for (std::size_t t = 0; t < token_weights.size(); ++t)
      token_weights[t] = static_cast<float>((round == 0 ? first_price : 1.0) * static_cast<double>(options.activations.weights[t]) /
                                            metric.loss_scale);
    if (options.column_scale) {
      solve_column_scale(layer, options.column_ridge, activations);
      solve_row_scales(layer, options.row_ridge);
    }
    if (round == 0) {
      add_residual_columns(layer, options.residual_columns, options.block_size, metric.factor);
      metric.factor = {};
      if (options.residual_columns > 0) solve_row_scales(layer, options.row_ridge);
    }
    fit.losses.push_back(metric.loss_scale * descend_grid_codes(layer, options.sweeps).loss);
  }
  const std::vector<std::uint16_t> scales = round_row_scales(layer, fit.saturated);
  fit.loss = metric.loss_scale * descend_grid_codes(layer, 1).loss;

  const std::size_t blocks = layer.blocks.size(), count = layer.columns - in_features;
  fit.codes = part_of(layer.codes, out_features, layer.columns, 0, in_features);
  fit.scales = part_of(scales, out_features, blocks, 0, main_blocks);
  fit.column_scale = part_of(layer.column_scale, 1, layer.columns, 0, in_features);
  fit.residual_columns.assign(layer.source.begin(), layer.source.end());
  fit.residual_codes = part_of(layer.codes, out_features, layer.columns, in_features, count);
  fit.residual_scales = part_of(scales, out_features, blocks, main_blocks, blocks - main_blocks);
  return fit;
}

}  // namespace dbell::numerics
