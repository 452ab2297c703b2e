// r and c of a grid in closed form: two linear least-squares problems under H, each with a ridge towards the previous values.
#include <cmath>

#include "common/thread_pool.h"
#include "numerics/grid_activation.h"
#include "numerics/grid_layer.h"
#include "numerics/inverse_cholesky.h"
#include "numerics/loops.h"
#include "numerics/solve.h"

namespace dbell::numerics {
namespace {

constexpr std::size_t columns_per_strip = 128;
/// Columns whose c has all but vanished take no part in the geometric mean.
constexpr float least_share_of_largest = 1e-6f;
/// How often the price of activation rounding is brought up to the c that it led to, and how often a step of c is halved to make sure that it pays.
constexpr int price_rounds = 3;
constexpr int step_halvings = 5;

/// The code that stands for the opposite value.
std::uint8_t opposite(std::uint8_t code, int levels) { return static_cast<std::uint8_t>(levels - 1 - code); }

/// Solves A r = b of one row (A symmetric, its lower triangle given) with the ridge towards the previous r, which stays where A is not positive definite.
void solve_row(GridLayer& layer, std::size_t row, std::vector<double>& a, std::vector<double>& b, double ridge) {
  const std::size_t n = layer.blocks.size();
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
    const GridBlock& block = layer.blocks[g];
    std::uint8_t* codes = layer.codes.data() + row * layer.columns;
    if (b[g] < 0)
      for (std::size_t j = block.first; j < block.last(); ++j) codes[j] = opposite(codes[j], block.levels);
    scales[g] = std::fabs(static_cast<float>(b[g]));
  }
}

/// The normal equations of c without ridge: the lower triangle of M = H ⊙ VᵀV, b = Σ_i V_i ⊙ (W̃H)_i, V_ij = r s summed over the grid's columns of input column j; and
/// Σ V² over the columns of each group that shares a rounding step.
struct ColumnEquations {
  std::vector<double> matrix, right, squares;
};

ColumnEquations column_equations(const GridLayer& layer, const StepGroups& groups) {
  const Loops& loop = loops();
  const std::size_t in = layer.in_features, out = layer.out_features, columns = layer.columns;
  const std::size_t tasks = grid_tasks(layer), blocks = layer.blocks.size();
  ColumnEquations equations;
  std::vector<float> values(out * in);
  // By task: the sums over its rows of V ⊙ W̃H, and of V² by group.
  const std::size_t sums_per_task = in + groups.count();
  std::vector<double> partial(tasks * sums_per_task);
  parallel_for(tasks, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t task = begin; task < end; ++task) {
      double* sums = partial.data() + task * sums_per_task;
      for (std::size_t i = task * grid_rows_per_task; i < std::min(out, (task + 1) * grid_rows_per_task); ++i) {
        float* row = values.data() + i * in;
        for (std::size_t b = 0; b < blocks; ++b) {
          const GridBlock& block = layer.blocks[b];
          const float scale = layer.row_scale[i * blocks + b];
          for (std::size_t j = block.first; j < block.last(); ++j)
            row[layer.source_of(j)] += scale * layer.value(i, block, j);
        }
        for (std::size_t j = 0; j < in; ++j) {
          sums[j] += static_cast<double>(row[j]) * static_cast<double>(layer.target_product[i * columns + j]);
          sums[in + groups.of(j)] += static_cast<double>(row[j]) * static_cast<double>(row[j]);
        }
      }
    }
  });
  equations.right.resize(in);
  equations.squares.resize(groups.count());
  for (std::size_t task = 0; task < tasks; ++task) {
    for (std::size_t j = 0; j < in; ++j) equations.right[j] += partial[task * sums_per_task + j];
    for (std::size_t g = 0; g < groups.count(); ++g) equations.squares[g] += partial[task * sums_per_task + in + g];
  }

  equations.matrix.resize(in * in);
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
        for (std::size_t k = j; k < rest; ++k) {
          const float h = k == j ? layer.diagonal[first + j] : layer.hessian[(first + j) * columns + first + k];
          equations.matrix[(first + k) * in + first + j] =
              -static_cast<double>(products[j * rest + k]) * static_cast<double>(h);
        }
    }
  });
  return equations;
}

/// cᵀMc − 2cᵀb + Σ_j pull_j (c_j − previous_j)² + Σ_g κ_g(c) Σ V² over the columns of g.
double column_objective(const ColumnEquations& equations, const std::vector<double>& pull,
                        const std::vector<double>& previous, const ActivationSample& activations,
                        const std::vector<double>& scale) {
  const std::size_t in = scale.size();
  const std::vector<double> prices = rounding_prices(activations, in, scale.data());
  double total = 0;
  for (std::size_t g = 0; g < prices.size(); ++g) total += equations.squares[g] * prices[g];
  for (std::size_t j = 0; j < in; ++j) {
    double product = 0.5 * equations.matrix[j * in + j] * scale[j];
    for (std::size_t k = 0; k < j; ++k) product += equations.matrix[j * in + k] * scale[k];
    const double moved = scale[j] - previous[j];
    total += 2 * scale[j] * (product - equations.right[j]) + pull[j] * moved * moved;
  }
  return total;
}

/// The c that solves (M + diag(pull) + diag(price)) c = b + pull ⊙ previous; empty where the matrix is not positive definite or a value does not fit float32.
std::vector<double> solve_columns(const ColumnEquations& equations, const std::vector<double>& pull,
                                  const std::vector<double>& previous, const std::vector<double>& price) {
  const std::size_t in = previous.size();
  std::vector<double> matrix = equations.matrix, scale = equations.right;
  for (std::size_t j = 0; j < in; ++j) {
    matrix[j * in + j] += pull[j] + (price.empty() ? 0.0 : price[j]);
    scale[j] += pull[j] * previous[j];
  }
  if (!cholesky_in_place(matrix.data(), in)) return {};
  solve_lower_pair(matrix.data(), in, scale.data());
  for (const double value : scale)
    if (!std::isfinite(static_cast<float>(value))) return {};
  return scale;
}

/// The best c: in closed form, or, with the price of activation rounding, by a few solutions with that price spread over the columns as of the c before,
/// each stepped towards only as far as the objective falls.
std::vector<double> best_columns(const ColumnEquations& equations, const std::vector<double>& pull,
                                 const std::vector<double>& previous, const ActivationSample& activations) {
  if (activations.inputs == nullptr) return solve_columns(equations, pull, previous, {});
  const std::size_t in = previous.size();
  const StepGroups groups(activations, in);
  std::vector<double> scale = previous;
  double least = column_objective(equations, pull, previous, activations, scale);
  for (int round = 0; round < price_rounds; ++round) {
    std::vector<double> price = rounding_shares(activations, in, scale.data());
    for (std::size_t j = 0; j < in; ++j) price[j] *= equations.squares[groups.of(j)];
    const std::vector<double> solved = solve_columns(equations, pull, previous, price);
    if (solved.empty()) break;
    std::vector<double> best;
    double step = 1;
    for (int halving = 0; halving <= step_halvings; ++halving, step *= 0.5) {
      std::vector<double> tried(in);
      for (std::size_t j = 0; j < in; ++j) tried[j] = scale[j] + step * (solved[j] - scale[j]);
      const double objective = column_objective(equations, pull, previous, activations, tried);
      if (objective < least) {
        least = objective;
        best = std::move(tried);
      } else if (!best.empty()) {
        break;
      }
    }
    if (best.empty()) break;
    scale = std::move(best);
  }
  return scale;
}

/// Moves the geometric mean of c over columns first … last into r of the given blocks.
void normalize(GridLayer& layer, std::size_t first, std::size_t last, std::size_t first_block, std::size_t last_block) {
  std::vector<float>& scale = layer.column_scale;
  const float largest = *std::max_element(scale.begin() + static_cast<std::ptrdiff_t>(first),
                                          scale.begin() + static_cast<std::ptrdiff_t>(last));
  double logarithms = 0;
  std::size_t count = 0;
  for (std::size_t j = first; j < last; ++j)
    if (scale[j] > 0 && scale[j] >= largest * least_share_of_largest) {
      logarithms += std::log(static_cast<double>(scale[j]));
      ++count;
    }
  if (count == 0) return;
  const float mean = static_cast<float>(std::exp(logarithms / static_cast<double>(count)));
  for (std::size_t j = first; j < last; ++j) scale[j] /= mean;
  const std::size_t blocks = layer.blocks.size();
  for (std::size_t i = 0; i < layer.out_features; ++i)
    for (std::size_t b = first_block; b < last_block; ++b) layer.row_scale[i * blocks + b] *= mean;
}

/// Whether a factor of c in each block alone, its inverse in r, leaves the loss as it is: not where a residual column or a rounding step ties blocks to each other.
bool blocks_are_free(const GridLayer& layer, const ActivationSample& activations) {
  if (layer.columns > layer.in_features) return false;
  return activations.inputs == nullptr ||
         layer.blocks.front().width % StepGroups(activations, layer.in_features).width == 0;
}

/// P of H + P from κ(c): the price of (r s)² is that of Ŵ² over c².
void set_penalty(GridLayer& layer, const ActivationSample& activations) {
  const std::size_t in = layer.in_features;
  std::vector<double> scale(layer.column_scale.begin(), layer.column_scale.begin() + static_cast<std::ptrdiff_t>(in));
  const StepGroups groups(activations, in);
  const std::vector<double> prices = rounding_prices(activations, in, scale.data());
  for (std::size_t j = 0; j < in; ++j) {
    const double penalty = prices[groups.of(j)] / (scale[j] * scale[j]);
    // Where c has all but vanished so has Ŵ, whatever its price.
    layer.penalty[j] = scale[j] > 0 && penalty < 1e15 ? static_cast<float>(penalty) : 0.0f;
    layer.hessian[j * layer.columns + j] = layer.diagonal[j] + layer.penalty[j];
  }
  for (std::size_t k = in; k < layer.columns; ++k) {
    const std::size_t j = layer.source_of(k);
    const float value = layer.diagonal[j] + layer.penalty[j];
    layer.hessian[k * layer.columns + k] = value;
    layer.hessian[k * layer.columns + j] = value;
    layer.hessian[j * layer.columns + k] = value;
  }
}

}  // namespace

void solve_row_scales(GridLayer& layer, double ridge) {
  const Loops& loop = loops();
  const std::size_t columns = layer.columns, out = layer.out_features, blocks = layer.blocks.size();
  const float* hessian = layer.hessian.data();
  parallel_for(grid_tasks(layer), 1, [&](std::size_t begin, std::size_t end) {
    // Values s·c, their products with H, and of each row A and b.
    std::vector<float> values(grid_rows_per_task * columns), products(grid_rows_per_task * columns);
    std::vector<std::vector<double>> a(grid_rows_per_task), b(grid_rows_per_task);
    for (std::size_t task = begin; task < end; ++task) {
      const std::size_t row = task * grid_rows_per_task;
      const std::size_t rows = std::min(grid_rows_per_task, out - row);
      for (std::size_t i = 0; i < rows; ++i) {
        for (const GridBlock& block : layer.blocks)
          for (std::size_t j = block.first; j < block.last(); ++j)
            values[i * columns + j] = layer.value(row + i, block, j) * layer.column_scale[j];
        a[i].assign(blocks * blocks, 0.0);
        b[i].assign(blocks, 0.0);
      }
      for (std::size_t g = 0; g < blocks; ++g) {
        const auto [first, width, levels] = layer.blocks[g];
        const std::size_t rest = columns - first;
        std::fill(products.begin(), products.begin() + static_cast<std::ptrdiff_t>(rows * rest), 0.0f);
        loop.subtract_product_float(products.data(), rest, values.data() + first, columns,
                                    hessian + first * columns + first, columns, rows, rest, width);
        for (std::size_t i = 0; i < rows; ++i) {
          const float* row_values = values.data() + i * columns;
          const float* product = products.data() + i * rest;
          const float* target_product = layer.target_product.data() + (row + i) * columns;
          for (std::size_t h = g; h < blocks; ++h) {
            double sum = 0;
            for (std::size_t j = layer.blocks[h].first; j < layer.blocks[h].last(); ++j)
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

void solve_column_scale(GridLayer& layer, double ridge, const ActivationSample& activations) {
  const std::size_t in = layer.in_features, out = layer.out_features;
  std::vector<float>& scale = layer.column_scale;
  std::vector<double> solved, previous(scale.begin(), scale.begin() + static_cast<std::ptrdiff_t>(in));
  {
    const ColumnEquations equations = column_equations(layer, StepGroups(activations, in));
    std::vector<double> pull(in);
    for (std::size_t j = 0; j < in; ++j) {
      const double diagonal = equations.matrix[j * in + j];
      pull[j] = diagonal > 0 ? ridge * diagonal : 1.0;
    }
    solved = best_columns(equations, pull, previous, activations);
  }
  if (!solved.empty()) {
    for (std::size_t j = 0; j < layer.columns; ++j)
      scale[j] = std::fabs(static_cast<float>(solved[layer.source_of(j)]));
    parallel_for(out, grid_rows_per_task, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i)
        for (const GridBlock& block : layer.blocks)
          for (std::size_t j = block.first; j < block.last(); ++j)
            if (solved[layer.source_of(j)] < 0) {
              std::uint8_t& code = layer.codes[i * layer.columns + j];
              code = opposite(code, block.levels);
            }
    });
    if (blocks_are_free(layer, activations))
      for (std::size_t b = 0; b < layer.blocks.size(); ++b)
        normalize(layer, layer.blocks[b].first, layer.blocks[b].last(), b, b + 1);
    else
      normalize(layer, 0, layer.columns, 0, layer.blocks.size());
  }
  if (activations.inputs != nullptr) set_penalty(layer, activations);
}

}  // namespace dbell::numerics
