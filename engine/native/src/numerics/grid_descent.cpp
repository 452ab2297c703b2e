#include "common/thread_pool.h"
#include "numerics/grid_layer.h"
#include "numerics/loops.h"

namespace dbell::numerics {
namespace {

/// Ŵ of one row, residual columns apart, `[columns]`.
void dequantize_row(const GridLayer& layer, std::size_t row, float* to) {
  for (std::size_t b = 0; b < layer.blocks.size(); ++b) {
    const GridBlock& block = layer.blocks[b];
    const float scale = layer.row_scale[row * layer.blocks.size() + b];
    for (std::size_t j = block.first; j < block.last(); ++j)
      to[j] = scale * layer.column_scale[j] * layer.value(row, block, j);
  }
}

/// One row's loss from its G = W̃H − Ŵ(H + P), P what activation rounding adds to H: W̃ (W̃ − Ŵ)H − Ŵ G.
double row_loss(const GridLayer& layer, std::size_t row, const float* gradient, float* quantized) {
  dequantize_row(layer, row, quantized);
  const float* target = layer.target + row * layer.in_features;
  double loss = 0;
  for (std::size_t j = 0; j < layer.columns; ++j) {
    const double value = quantized[j];
    const std::size_t source = layer.source_of(j);
    loss += static_cast<double>(target[source]) * static_cast<double>(layer.penalty[source]) * value;
    loss += ((j < layer.in_features ? static_cast<double>(target[j]) : 0.0) - value) * static_cast<double>(gradient[j]);
  }
  return loss;
}

}  // namespace

Descent descend_grid_codes(GridLayer& layer, int sweeps) {
  const Loops& loop = loops();
  const std::size_t columns = layer.columns, out = layer.out_features, blocks = layer.blocks.size();
  const float* hessian = layer.hessian.data();
  std::size_t widest = 0;
  for (const GridBlock& block : layer.blocks) widest = std::max(widest, block.width);
  const std::size_t tasks = grid_tasks(layer);
  std::vector<Descent> parts(tasks);
  parallel_for(tasks, 1, [&](std::size_t begin, std::size_t end) {
    std::vector<float> quantized(grid_rows_per_task * columns), gradient(grid_rows_per_task * columns);
    std::vector<float> change(grid_rows_per_task * widest);
    for (std::size_t task = begin; task < end; ++task) {
      const std::size_t row = task * grid_rows_per_task;
      const std::size_t rows = std::min(grid_rows_per_task, out - row);
      Descent part;
      for (std::size_t i = 0; i < rows; ++i) dequantize_row(layer, row + i, quantized.data() + i * columns);
      std::copy_n(layer.target_product.data() + row * columns, rows * columns, gradient.begin());
      loop.subtract_product_float(gradient.data(), columns, quantized.data(), columns, hessian, columns, rows, columns,
                                  columns);
      for (int sweep = 0; sweep < sweeps; ++sweep)
        for (std::size_t b = 0; b < blocks; ++b) {
          const auto [first, width, levels] = layer.blocks[b];
          const std::size_t behind = first + width;
          const GridRows grid{rows, width, levels, layer.codes.data() + row * columns + first, columns,
                              layer.row_scale.data() + row * blocks + b, blocks};
          const GridDescent descent{gradient.data() + first,
                                    columns,
                                    layer.column_scale.data() + first,
                                    hessian + first * columns + first,
                                    columns,
                                    change.data()};
          const std::int64_t changed = loop.descend_grid(grid, descent);
          part.changed_codes += changed;
          if (changed == 0) continue;
          const float* block_rows = hessian + first * columns;
          loop.subtract_product_float(gradient.data(), columns, change.data(), width, block_rows, columns, rows, first,
                                      width);
          loop.subtract_product_float(gradient.data() + behind, columns, change.data(), width, block_rows + behind,
                                      columns, rows, columns - behind, width);
        }
      for (std::size_t i = 0; i < rows; ++i)
        part.loss += row_loss(layer, row + i, gradient.data() + i * columns, quantized.data());
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
