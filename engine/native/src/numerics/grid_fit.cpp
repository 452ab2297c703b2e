#include "numerics/grid_fit.h"

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

/// r as it is stored, which is what the last sweep works with.
std::int64_t round_row_scales(GridLayer& layer, std::vector<std::uint16_t>& stored) {
  std::int64_t saturated = 0;
  stored.resize(layer.row_scale.size());
  for (std::size_t k = 0; k < stored.size(); ++k) {
    float& scale = layer.row_scale[k];
    if (scale >= 65520.0f) {
      ++saturated;
      scale = largest_half;
    }
    stored[k] = float_to_half(scale);
    scale = half_to_float(stored[k]);
  }
  return saturated;
}

}  // namespace

GridFit fit_grid(const float* target, const double* hessian, std::size_t out_features, std::size_t in_features,
                 const GridFitOptions& options) {
  check_target(target, out_features, in_features);
  const GridMetric metric = grid_metric(hessian, in_features, options.damping, options.maximum_damping);
  GridLayer layer;
  layer.target = target;
  layer.out_features = out_features;
  layer.in_features = in_features;
  layer.block_size = options.block_size;
  layer.blocks = (in_features + options.block_size - 1) / options.block_size;
  layer.levels = options.levels;
  layer.metric = &metric;

  GridFit fit;
  fit.damping_used = metric.damping_used;
  fit.dead_columns = metric.dead_columns;
  fit.start_loss = metric.loss_scale * start_grid(layer);
  for (int round = 0; round < options.rounds; ++round) {
    solve_row_scales(layer, options.row_ridge);
    if (options.column_scale) {
      solve_column_scale(layer, options.column_ridge);
      solve_row_scales(layer, options.row_ridge);
    }
    fit.losses.push_back(metric.loss_scale * descend_grid_codes(layer, options.sweeps).loss);
  }
  fit.saturated = round_row_scales(layer, fit.scales);
  fit.loss = metric.loss_scale * descend_grid_codes(layer, 1).loss;
  fit.codes = std::move(layer.codes);
  fit.column_scale = std::move(layer.column_scale);
  return fit;
}

}  // namespace dbell::numerics
