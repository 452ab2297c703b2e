#include <cmath>
#include <stdexcept>
#include <string>

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

void start_scales(GridLayer& layer, std::size_t row) {
  const float* target = layer.target + row * layer.in_features;
  const float factor = start_factor(layer.levels);
  for (std::size_t b = 0; b < layer.blocks; ++b) {
    const std::size_t first = b * layer.block_size;
    double sum = 0, weights = 0;
    for (std::size_t j = first; j < first + layer.block_width(b); ++j) {
      const double weight = layer.metric->diagonal[j];
      sum += weight * static_cast<double>(std::fabs(target[j]));
      weights += weight;
    }
    layer.row_scale[row * layer.blocks + b] = factor * static_cast<float>(sum / weights);
  }
}

}  // namespace

double start_grid(GridLayer& layer) {
  const Loops& loop = loops();
  const std::size_t in = layer.in_features, out = layer.out_features;
  layer.codes.assign(out * in, 0);
  layer.row_scale.assign(out * layer.blocks, 0.0f);
  layer.column_scale.assign(in, 1.0f);
  layer.target_product.assign(out * in, 0.0f);
  const bool compensated = !layer.metric->factor.empty();
  const float* factor = layer.metric->factor.data();
  const std::size_t tasks = grid_tasks(layer);
  std::vector<double> losses(tasks);
  parallel_for(tasks, 1, [&](std::size_t begin, std::size_t end) {
    std::vector<float> current, error(grid_rows_per_task * std::min(layer.block_size, in));
    for (std::size_t task = begin; task < end; ++task) {
      const std::size_t row = task * grid_rows_per_task;
      const std::size_t rows = std::min(grid_rows_per_task, out - row);
      for (std::size_t i = row; i < row + rows; ++i) start_scales(layer, i);
      // W̃H, as the negative of the product that is subtracted.
      float* product = layer.target_product.data() + row * in;
      current.resize(rows * in);
      for (std::size_t k = 0; k < rows * in; ++k) current[k] = -layer.target[row * in + k];
      loop.subtract_product_float(product, in, current.data(), in, layer.metric->hessian.data(), in, rows, in, in);

      std::copy_n(layer.target + row * in, rows * in, current.begin());
      for (std::size_t b = 0; b < layer.blocks; ++b) {
        const std::size_t first = b * layer.block_size, width = layer.block_width(b), behind = first + width;
        const BlockRows block{current.data() + first,
                              in,
                              rows,
                              width,
                              compensated ? factor + first * in + first : nullptr,
                              in,
                              Compensation::column,
                              compensated ? error.data() : nullptr};
        const GridRows grid{rows, width, layer.levels, layer.codes.data() + row * in + first, in,
                            layer.row_scale.data() + row * layer.blocks + b, layer.blocks};
        loop.round_grid(block, grid);
        if (!compensated) continue;
        // GPTQ's loss is the sum of its compensated errors squared.
        for (std::size_t k = 0; k < rows * width; ++k) losses[task] += static_cast<double>(error[k]) * error[k];
        if (behind < in)
          loop.subtract_product_float(current.data() + behind, in, error.data(), width, factor + first * in + behind,
                                      in, rows, in - behind, width);
      }
    }
  });
  double loss = 0;
  for (const double part : losses) loss += part;
  return loss;
}

}  // namespace dbell::numerics
