// r and c of a grid in closed form: two linear least-squares problems under H, each with a ridge towards the previous values.
#include <cmath>

#include "common/thread_pool.h"
#include "numerics/grid_layer.h"
#include "numerics/inverse_cholesky.h"
#include "numerics/loops.h"
#include "numerics/solve.h"

namespace dbell::numerics {
namespace {

constexpr std::size_t columns_per_strip = 128;
/// Columns whose c has all but vanished take no part in the geometric mean of their block.
constexpr float least_share_of_largest = 1e-6f;

/// The code that stands for the opposite value.
std::uint8_t opposite(std::uint8_t code, int levels) { return static_cast<std::uint8_t>(levels - 1 - code); }

void flip_block(GridLayer& layer, std::size_t row, std::size_t block) {
  const std::size_t first = row * layer.in_features + block * layer.block_size;
  for (std::size_t k = first; k < first + layer.block_width(block); ++k)
    layer.codes[k] = opposite(layer.codes[k], layer.levels);
}

/// Solves A r = b of one row (A symmetric, its lower triangle given) with the ridge towards the previous r, which stays where A is not positive definite.
void solve_row(GridLayer& layer, std::size_t row, std::vector<double>& a, std::vector<double>& b, double ridge) {
  const std::size_t n = layer.blocks;
  float* scales = layer.row_scale.data() + row * n;
  for (std::size_t g = 0; g < n; ++g) {
    double& diagonal = a[g * n + g];
    // A block without any value other than zero has no say about its scale.
    const double pull = diagonal > 0 ? ridge * diagonal : 1.0;
    diagonal += pull;
    b[g] += pull * static_cast<double>(scales[g]);
  }
  if (!cholesky_in_place(a.data(), n)) return;
  solve_lower_pair(a.data(), n, b.data());
  for (std::size_t g = 0; g < n; ++g)
    if (!std::isfinite(static_cast<float>(b[g]))) return;
  for (std::size_t g = 0; g < n; ++g) {
    if (b[g] < 0) flip_block(layer, row, g);
    scales[g] = std::fabs(static_cast<float>(b[g]));
  }
}

}  // namespace

void solve_row_scales(GridLayer& layer, double ridge) {
  const Loops& loop = loops();
  const std::size_t in = layer.in_features, out = layer.out_features, blocks = layer.blocks;
  const float* hessian = layer.metric->hessian.data();
  parallel_for(grid_tasks(layer), 1, [&](std::size_t begin, std::size_t end) {
    // Values s·c, their products with H, and of each row A and b.
    std::vector<float> values(grid_rows_per_task * in), products(grid_rows_per_task * in);
    std::vector<std::vector<double>> a(grid_rows_per_task), b(grid_rows_per_task);
    for (std::size_t task = begin; task < end; ++task) {
      const std::size_t row = task * grid_rows_per_task;
      const std::size_t rows = std::min(grid_rows_per_task, out - row);
      for (std::size_t i = 0; i < rows; ++i) {
        for (std::size_t j = 0; j < in; ++j) values[i * in + j] = layer.value(row + i, j) * layer.column_scale[j];
        a[i].assign(blocks * blocks, 0.0);
        b[i].assign(blocks, 0.0);
      }
      for (std::size_t g = 0; g < blocks; ++g) {
        const std::size_t first = g * layer.block_size, width = layer.block_width(g), rest = in - first;
        std::fill(products.begin(), products.begin() + static_cast<std::ptrdiff_t>(rows * rest), 0.0f);
        loop.subtract_product_float(products.data(), rest, values.data() + first, in, hessian + first * in + first, in,
                                    rows, rest, width);
        for (std::size_t i = 0; i < rows; ++i) {
          const float* row_values = values.data() + i * in;
          const float* product = products.data() + i * rest;
          const float* target_product = layer.target_product.data() + (row + i) * in;
          for (std::size_t h = g; h < blocks; ++h) {
            double sum = 0;
            for (std::size_t j = h * layer.block_size; j < h * layer.block_size + layer.block_width(h); ++j)
              sum -= static_cast<double>(product[j - first]) * static_cast<double>(row_values[j]);
            a[i][h * blocks + g] = sum;
          }
          for (std::size_t j = first; j < first + width; ++j)
            b[i][g] += static_cast<double>(row_values[j]) * static_cast<double>(target_product[j]);
        }
      }
      for (std::size_t i = 0; i < rows; ++i) solve_row(layer, row + i, a[i], b[i], ridge);
    }
  });
}

void solve_column_scale(GridLayer& layer, double ridge) {
  const Loops& loop = loops();
  const std::size_t in = layer.in_features, out = layer.out_features, tasks = grid_tasks(layer);
  // V_ij = r_{i,b(j)} s_ij and, by task, the sums of V ⊙ W̃H over its rows.
  std::vector<float> values(out * in);
  std::vector<double> partial(tasks * in);
  parallel_for(tasks, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t task = begin; task < end; ++task) {
      const std::size_t last = std::min(out, (task + 1) * grid_rows_per_task);
      double* sums = partial.data() + task * in;
      for (std::size_t i = task * grid_rows_per_task; i < last; ++i)
        for (std::size_t j = 0; j < in; ++j) {
          const float value = layer.row_scale[i * layer.blocks + j / layer.block_size] * layer.value(i, j);
          values[i * in + j] = value;
          sums[j] += static_cast<double>(value) * static_cast<double>(layer.target_product[i * in + j]);
        }
    }
  });
  std::vector<double> right(in), matrix(in * in);
  for (std::size_t task = 0; task < tasks; ++task)
    for (std::size_t j = 0; j < in; ++j) right[j] += partial[task * in + j];

  // H ⊙ VᵀV, its lower triangle by strips of columns.
  const std::size_t strips = (in + columns_per_strip - 1) / columns_per_strip;
  parallel_for(strips, 1, [&](std::size_t begin, std::size_t end) {
    std::vector<float> transposed(columns_per_strip * out), products;
    for (std::size_t strip = begin; strip < end; ++strip) {
      const std::size_t first = strip * columns_per_strip, width = std::min(columns_per_strip, in - first);
      const std::size_t rest = in - first;
      for (std::size_t i = 0; i < out; ++i)
        for (std::size_t j = 0; j < width; ++j) transposed[j * out + i] = values[i * in + first + j];
      products.assign(width * rest, 0.0f);
      loop.subtract_product_float(products.data(), rest, transposed.data(), out, values.data() + first, in, width,
                                  rest, out);
      for (std::size_t j = 0; j < width; ++j)
        for (std::size_t k = j; k < rest; ++k)
          matrix[(first + k) * in + first + j] = -static_cast<double>(products[j * rest + k]) *
                                                 static_cast<double>(layer.metric->hessian[(first + j) * in + first + k]);
    }
  });
  for (std::size_t j = 0; j < in; ++j) {
    double& diagonal = matrix[j * in + j];
    const double pull = diagonal > 0 ? ridge * diagonal : 1.0;
    diagonal += pull;
    right[j] += pull * static_cast<double>(layer.column_scale[j]);
  }
  if (!cholesky_in_place(matrix.data(), in)) return;
  solve_lower_pair(matrix.data(), in, right.data());
  for (const double value : right)
    if (!std::isfinite(static_cast<float>(value))) return;

  std::vector<float>& scale = layer.column_scale;
  std::vector<std::uint8_t> flipped(in);
  for (std::size_t j = 0; j < in; ++j) {
    flipped[j] = right[j] < 0;
    scale[j] = std::fabs(static_cast<float>(right[j]));
  }
  std::vector<float> moved(layer.blocks, 1.0f);
  for (std::size_t b = 0; b < layer.blocks; ++b) {
    const std::size_t first = b * layer.block_size, last = first + layer.block_width(b);
    const float largest = *std::max_element(scale.begin() + static_cast<std::ptrdiff_t>(first),
                                            scale.begin() + static_cast<std::ptrdiff_t>(last));
    double logarithms = 0;
    std::size_t count = 0;
    for (std::size_t j = first; j < last; ++j)
      if (scale[j] > 0 && scale[j] >= largest * least_share_of_largest) {
        logarithms += std::log(static_cast<double>(scale[j]));
        ++count;
      }
    if (count == 0) continue;
    moved[b] = static_cast<float>(std::exp(logarithms / static_cast<double>(count)));
    for (std::size_t j = first; j < last; ++j) scale[j] /= moved[b];
  }
  parallel_for(tasks, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin * grid_rows_per_task; i < std::min(out, end * grid_rows_per_task); ++i) {
      for (std::size_t b = 0; b < layer.blocks; ++b) layer.row_scale[i * layer.blocks + b] *= moved[b];
      for (std::size_t j = 0; j < in; ++j)
        if (flipped[j]) layer.codes[i * in + j] = opposite(layer.codes[i * in + j], layer.levels);
    }
  });
}

}  // namespace dbell::numerics
