#include "common/thread_pool.h"
#include "numerics/grid_layer.h"
#include "numerics/loops.h"

namespace dbell::numerics {
namespace {

/// Ŵ of one row.
void dequantize_row(const GridLayer& layer, std::size_t row, float* to) {
  for (std::size_t b = 0; b < layer.blocks; ++b) {
    const float scale = layer.row_scale[row * layer.blocks + b];
    const std::size_t first = b * layer.block_size;
    for (std::size_t j = first; j < first + layer.block_width(b); ++j)
      to[j] = scale * layer.column_scale[j] * layer.value(row, j);
  }
}

}  // namespace

Descent descend_grid_codes(GridLayer& layer, int sweeps) {
  const Loops& loop = loops();
  const std::size_t in = layer.in_features, out = layer.out_features;
  const float* hessian = layer.metric->hessian.data();
  const std::vector<float> penalty(in, 0.0f);
  const std::vector<float>& curvature = layer.metric->diagonal;
  const std::size_t tasks = grid_tasks(layer);
  std::vector<Descent> parts(tasks);
  parallel_for(tasks, 1, [&](std::size_t begin, std::size_t end) {
    std::vector<float> quantized(grid_rows_per_task * in), gradient(grid_rows_per_task * in);
    std::vector<float> change(grid_rows_per_task * std::min(layer.block_size, in));
    for (std::size_t task = begin; task < end; ++task) {
      const std::size_t row = task * grid_rows_per_task;
      const std::size_t rows = std::min(grid_rows_per_task, out - row);
      Descent part;
      for (std::size_t i = 0; i < rows; ++i) dequantize_row(layer, row + i, quantized.data() + i * in);
      std::copy_n(layer.target_product.data() + row * in, rows * in, gradient.begin());
      loop.subtract_product_float(gradient.data(), in, quantized.data(), in, hessian, in, rows, in, in);
      for (int sweep = 0; sweep < sweeps; ++sweep)
        for (std::size_t b = 0; b < layer.blocks; ++b) {
          const std::size_t first = b * layer.block_size, width = layer.block_width(b), behind = first + width;
          const GridRows grid{rows, width, layer.levels, layer.codes.data() + row * in + first, in,
                              layer.row_scale.data() + row * layer.blocks + b, layer.blocks};
          const GridDescent descent{gradient.data() + first,
                                    in,
                                    layer.column_scale.data() + first,
                                    penalty.data() + first,
                                    curvature.data() + first,
                                    hessian + first * in + first,
                                    in,
                                    change.data()};
          const std::int64_t changed = loop.descend_grid(grid, descent);
          part.changed_codes += changed;
          if (changed == 0) continue;
          const float* block_rows = hessian + first * in;
          loop.subtract_product_float(gradient.data(), in, change.data(), width, block_rows, in, rows, first, width);
          loop.subtract_product_float(gradient.data() + behind, in, change.data(), width, block_rows + behind, in,
                                      rows, in - behind, width);
        }
      for (std::size_t i = 0; i < rows; ++i) {
        dequantize_row(layer, row + i, quantized.data());
        const float* target = layer.target + (row + i) * in;
        for (std::size_t j = 0; j < in; ++j)
          part.loss += (static_cast<double>(target[j]) - quantized[j]) * static_cast<double>(gradient[i * in + j]);
      }
      parts[task] = part;
    }
  });
  Descent total;
  for (const Descent& part : parts) {
    total.loss += part.loss;
    total.changed_codes += part.changed_codes;
  }
  return total;
}

}  // namespace dbell::numerics
