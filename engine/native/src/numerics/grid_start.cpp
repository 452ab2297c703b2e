#include <cmath>
#include <stdexcept>

#include "common/thread_pool.h"
#include "numerics/grid_layer.h"
#include "numerics/loops.h"

namespace dbell::numerics {
namespace {

/// Step of the grid that is best for normal weights, in units of their mean absolute value.
float start_factor(int levels) {
  switch (levels) {
    case 2: return 2.0f;
    case 3: return 1.534f;
    case 4: return 1.248f;
    case 8: return 0.734f;
    case 16: return 0.420f;
    default: throw std::invalid_argument("a grid has 2, 3, 4, 8 or 16 levels");
  }
}

/// Real weights have heavier tails than normal ones, and the compensated weights of a correlated H spread further: coordinate descent does not come back
/// from codes that the start has cut, so the scale is searched for first coarsely, then finely.
constexpr float coarse[] = {0.6f, 0.8f, 1.0f, 1.3f, 1.7f, 2.2f, 3.0f, 4.0f, 5.5f, 7.5f};
constexpr float fine[] = {0.87f, 1.13f};
constexpr float finest[] = {0.935f, 1.065f};
constexpr ScaleSearch search{{coarse, fine, finest}, {10, 2, 2}};

void start_scales(GridLayer& layer, std::size_t row) {
  const float* target = layer.target + row * layer.in_features;
  for (std::size_t b = 0; b < layer.blocks.size(); ++b) {
    const GridBlock& block = layer.blocks[b];
    double sum = 0, weights = 0;
    for (std::size_t j = block.first; j < block.last(); ++j) {
      const double weight = layer.diagonal[j];
      sum += weight * static_cast<double>(std::fabs(target[j]));
      weights += weight;
    }
    layer.row_scale[row * layer.blocks.size() + b] = start_factor(block.levels) * static_cast<float>(sum / weights);
  }
}

}  // namespace

double start_grid(GridLayer& layer, const std::vector<float>& factor) {
  const Loops& loop = loops();
  const std::size_t in = layer.in_features, out = layer.out_features, blocks = layer.blocks.size();
  layer.codes.assign(out * in, 0);
  layer.row_scale.assign(out * blocks, 0.0f);
  layer.column_scale.assign(in, 1.0f);
  layer.target_product.assign(out * in, 0.0f);
  const bool compensated = !factor.empty();
  std::size_t widest = 0;
  for (const GridBlock& block : layer.blocks) widest = std::max(widest, block.width);
  const std::size_t tasks = grid_tasks(layer);
  std::vector<double> losses(tasks);
  parallel_for(tasks, 1, [&](std::size_t begin, std::size_t end) {
    std::vector<float> current, error(grid_rows_per_task * widest);
    for (std::size_t task = begin; task < end; ++task) {
      const std::size_t row = task * grid_rows_per_task;
      const std::size_t rows = std::min(grid_rows_per_task, out - row);
      for (std::size_t i = row; i < row + rows; ++i) start_scales(layer, i);
      // W̃H, as the negative of the product that is subtracted.
      current.resize(rows * in);
      for (std::size_t k = 0; k < rows * in; ++k) current[k] = -layer.target[row * in + k];
      loop.subtract_product_float(layer.target_product.data() + row * in, in, current.data(), in, layer.hessian.data(),
                                  in, rows, in, in);

      std::copy_n(layer.target + row * in, rows * in, current.begin());
      for (std::size_t b = 0; b < blocks; ++b) {
        const auto [first, width, levels] = layer.blocks[b];
        const std::size_t behind = first + width;
        const BlockRows block{current.data() + first,
                              in,
                              rows,
                              width,
                              compensated ? factor.data() + first * in + first : nullptr,
                              in,
                              Compensation::column,
                              error.data()};
        const GridRows grid{rows, width, levels, layer.codes.data() + row * in + first, in,
                            layer.row_scale.data() + row * blocks + b, blocks};
        loop.round_grid(block, grid, search);
        // GPTQ's loss is the sum of its compensated errors squared.
        for (std::size_t k = 0; k < rows * width; ++k)
          losses[task] += static_cast<double>(error[k]) * static_cast<double>(error[k]);
        if (compensated && behind < in)
          loop.subtract_product_float(current.data() + behind, in, error.data(), width,
                                      factor.data() + first * in + behind, in, rows, in - behind, width);
      }
    }
  });
  double loss = 0;
  for (const double part : losses) loss += part;
  return loss;
}

}  // namespace dbell::numerics
