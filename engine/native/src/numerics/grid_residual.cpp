// Salient residual columns: one more binary plane over some input columns, chosen and fitted under the same H.
#include <cmath>
#include <numeric>

#include "common/thread_pool.h"
#include "numerics/grid_layer.h"
#include "numerics/loops.h"

namespace dbell::numerics {
namespace {

/// What finer steps in each column promise: the mean square of a rounding error grows with (r c)², and it costs the curvature that is left when all other columns
/// make up for it as well as they can, 1 / [H⁻¹]_jj.
std::vector<double> column_promises(const GridLayer& layer, const std::vector<float>& factor) {
  const std::size_t in = layer.in_features, blocks = layer.blocks.size();
  std::vector<double> promises(in);
  for (std::size_t b = 0; b < blocks; ++b) {
    const GridBlock& block = layer.blocks[b];
    double squares = 0;
    for (std::size_t i = 0; i < layer.out_features; ++i) {
      const double scale = layer.row_scale[i * blocks + b];
      squares += scale * scale;
    }
    for (std::size_t j = block.first; j < block.last(); ++j) {
      const double scale = layer.column_scale[j];
      promises[j] = scale * scale * squares;
    }
  }
  if (factor.empty()) {
    for (std::size_t j = 0; j < in; ++j) promises[j] *= static_cast<double>(layer.diagonal[j]);
    return promises;
  }
  std::vector<double> inverse_diagonal(in);
  for (std::size_t k = 0; k < in; ++k)
    for (std::size_t j = k; j < in; ++j) {
      const double value = factor[k * in + j];
      inverse_diagonal[j] += value * value;
    }
  for (std::size_t j = 0; j < in; ++j) promises[j] /= inverse_diagonal[j];
  return promises;
}

/// `[rows, from]` to `[rows, to]` with stride `columns` of both given; new columns copy their source.
template <class Element>
std::vector<Element> widened(const std::vector<Element>& matrix, std::size_t rows, std::size_t from,
                             const std::vector<std::uint32_t>& source) {
  const std::size_t to = from + source.size();
  std::vector<Element> result(rows * to);
  for (std::size_t i = 0; i < rows; ++i) {
    std::copy_n(matrix.begin() + static_cast<std::ptrdiff_t>(i * from), from,
                result.begin() + static_cast<std::ptrdiff_t>(i * to));
    for (std::size_t k = 0; k < source.size(); ++k) result[i * to + from + k] = matrix[i * from + source[k]];
  }
  return result;
}

}  // namespace

void add_residual_columns(GridLayer& layer, std::size_t count, std::size_t block_size,
                          const std::vector<float>& factor) {
  if (count == 0) return;
  const std::size_t in = layer.in_features, out = layer.out_features, old_blocks = layer.blocks.size();
  const std::vector<double> promises = column_promises(layer, factor);
  std::vector<std::uint32_t> order(in);
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return promises[a] > promises[b]; });
  layer.source.assign(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count));
  std::sort(layer.source.begin(), layer.source.end());
  const std::vector<std::uint32_t>& source = layer.source;

  for (std::size_t first = 0; first < count; first += block_size)
    layer.blocks.push_back({in + first, std::min(block_size, count - first), 2});
  const std::size_t blocks = layer.blocks.size(), columns = in + count;
  // H by columns, then by rows; it is symmetric.
  std::vector<float> wide = widened(layer.hessian, in, in, source);
  wide.resize(columns * columns);
  for (std::size_t k = 0; k < count; ++k)
    std::copy_n(wide.begin() + static_cast<std::ptrdiff_t>(source[k] * columns), columns,
                wide.begin() + static_cast<std::ptrdiff_t>((in + k) * columns));
  layer.hessian = std::move(wide);
  layer.column_scale = widened(layer.column_scale, 1, in, source);
  layer.target_product = widened(layer.target_product, out, in, source);
  layer.codes = widened(layer.codes, out, in, source);
  layer.columns = columns;

  // Residual codes start as the sign of the error, r as its weighted mean size.
  std::vector<float> scales(out * blocks);
  parallel_for(out, grid_rows_per_task, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      std::copy_n(layer.row_scale.begin() + static_cast<std::ptrdiff_t>(i * old_blocks), old_blocks,
                  scales.begin() + static_cast<std::ptrdiff_t>(i * blocks));
      for (std::size_t b = old_blocks; b < blocks; ++b) {
        double sum = 0, weights = 0;
        for (std::size_t k = layer.blocks[b].first; k < layer.blocks[b].last(); ++k) {
          const std::size_t j = source[k - in];
          std::size_t main = 0;
          while (layer.blocks[main].last() <= j) ++main;
          const float scale = layer.column_scale[j];
          const float error = layer.target[i * in + j] -
                              layer.row_scale[i * old_blocks + main] * scale * layer.value(i, layer.blocks[main], j);
          layer.codes[i * columns + k] = error >= 0 ? 1 : 0;
          const double weight = static_cast<double>(layer.diagonal[j]) * static_cast<double>(scale);
          sum += weight * static_cast<double>(std::fabs(error));
          weights += weight * static_cast<double>(scale);
        }
        scales[i * blocks + b] = weights > 0 ? 2.0f * static_cast<float>(sum / weights) : 0.0f;
      }
    }
  });
  layer.row_scale = std::move(scales);
}

}  // namespace dbell::numerics
