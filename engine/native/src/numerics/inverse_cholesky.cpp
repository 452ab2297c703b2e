#include "numerics/inverse_cholesky.h"

#include <algorithm>
#include <cmath>

#include "common/thread_pool.h"
#include "numerics/loops.h"

namespace dbell::numerics {
namespace {

/// Columns of a panel, and rows and columns of a task.
constexpr std::size_t panel = 128;

/// L of one diagonal block, in place; the block above the diagonal is set to zero.
bool factor_diagonal_block(double* a, std::size_t stride, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    double* row = a + i * stride;
    for (std::size_t j = 0; j < i; ++j) {
      const double* other = a + j * stride;
      double sum = row[j];
      for (std::size_t k = 0; k < j; ++k) sum -= row[k] * other[k];
      row[j] = sum / other[j];
    }
    double pivot = row[i];
    for (std::size_t k = 0; k < i; ++k) pivot -= row[k] * row[k];
    if (!(pivot > 0) || !std::isfinite(pivot)) return false;
    row[i] = std::sqrt(pivot);
    std::fill(row + i + 1, row + n, 0.0);
  }
  return true;
}

/// `inverse` `[n, n]` dense = L⁻¹ of a lower triangular block.
void invert_diagonal_block(const double* l, std::size_t stride, std::size_t n, double* inverse) {
  std::fill(inverse, inverse + n * n, 0.0);
  for (std::size_t i = 0; i < n; ++i) {
    double* row = inverse + i * n;
    const double* factor = l + i * stride;
    for (std::size_t k = 0; k < i; ++k) {
      const double* earlier = inverse + k * n;
      for (std::size_t j = 0; j <= k; ++j) row[j] -= factor[k] * earlier[j];
    }
    for (std::size_t j = 0; j < i; ++j) row[j] /= factor[i];
    row[i] = 1.0 / factor[i];
  }
}

}  // namespace

bool cholesky_in_place(double* matrix, std::size_t size) {
  const Loops& loop = loops();
  std::vector<double> inverse(panel * panel), column_panel, transposed;
  for (std::size_t k0 = 0; k0 < size; k0 += panel) {
    const std::size_t n = std::min(panel, size - k0);
    double* diagonal = matrix + k0 * size + k0;
    if (!factor_diagonal_block(diagonal, size, n)) return false;
    const std::size_t first = k0 + n;
    const std::size_t rest = size - first;
    if (rest == 0) break;

    // Rows below: P = A · L⁻ᵀ, kept as −P `[rest, n]` and as Pᵀ `[n, rest]`.
    invert_diagonal_block(diagonal, size, n, inverse.data());
    std::vector<double> inverse_transposed(n * n);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) inverse_transposed[j * n + i] = inverse[i * n + j];
    column_panel.assign(rest * n, 0.0);
    transposed.resize(n * rest);
    parallel_for(rest, panel, [&](std::size_t begin, std::size_t end) {
      double* negative = column_panel.data() + begin * n;
      loop.subtract_product_double(negative, n, matrix + (first + begin) * size + k0, size, inverse_transposed.data(),
                                   n, end - begin, n, n);
      for (std::size_t i = begin; i < end; ++i)
        for (std::size_t k = 0; k < n; ++k) {
          const double value = -column_panel[i * n + k];
          matrix[(first + i) * size + k0 + k] = value;
          transposed[k * rest + i] = value;
        }
    });

    // Trailing matrix, lower triangle by tiles: A −= P Pᵀ.
    const std::size_t tiles = (rest + panel - 1) / panel;
    parallel_for(tiles * (tiles + 1) / 2, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t task = begin; task < end; ++task) {
        std::size_t row_tile = 0;
        while ((row_tile + 1) * (row_tile + 2) / 2 <= task) ++row_tile;
        const std::size_t i = row_tile * panel;
        const std::size_t j = (task - row_tile * (row_tile + 1) / 2) * panel;
        loop.subtract_product_double(matrix + (first + i) * size + first + j, size,
                                     matrix + (first + i) * size + k0, size, transposed.data() + j, rest,
                                     std::min(panel, rest - i), std::min(panel, rest - j), n);
      }
    });
  }
  return true;
}

void invert_lower_triangular(double* matrix, std::size_t size) {
  const Loops& loop = loops();
  std::vector<double> inverse(panel * panel), products;
  for (std::size_t i0 = 0; i0 < size; i0 += panel) {
    const std::size_t n = std::min(panel, size - i0);
    invert_diagonal_block(matrix + i0 * size + i0, size, n, inverse.data());
    for (std::size_t i = 0; i < n; ++i) {
      double* row = matrix + (i0 + i) * size + i0;
      std::copy_n(inverse.data() + i * n, n, row);
      std::fill(row + n, matrix + (i0 + i + 1) * size, 0.0);
    }
    if (i0 == 0) continue;
    // Left of the diagonal: X_i = −L_ii⁻¹ (L_i · X_above); X above is finished, L_i is still L. −(L_i · X) is summed apart, since all of L_i is needed to the end.
    products.assign(n * i0, 0.0);
    const std::size_t tiles = i0 / panel;
    parallel_for(tiles, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t tile = begin; tile < end; ++tile) {
        const std::size_t j = tile * panel;
        loop.subtract_product_double(products.data() + j, i0, matrix + i0 * size + j, size, matrix + j * size + j, size,
                                     n, panel, i0 - j);
      }
    });
    parallel_for(tiles, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t tile = begin; tile < end; ++tile) {
        const std::size_t j = tile * panel;
        std::vector<double> negative(n * panel, 0.0);
        loop.subtract_product_double(negative.data(), panel, inverse.data(), n, products.data() + j, i0, n, panel, n);
        for (std::size_t i = 0; i < n; ++i)
          for (std::size_t k = 0; k < panel; ++k) matrix[(i0 + i) * size + j + k] = -negative[i * panel + k];
      }
    });
  }
}

InverseCholesky inverse_cholesky(const double* hessian, std::size_t size, double damping, double maximum_damping) {
  InverseCholesky result;
  result.dead_columns.assign(size, 0);
  result.damping_used = damping;
  double mean_diagonal = 0;
  for (std::size_t j = 0; j < size; ++j) {
    double diagonal = hessian[j * size + j];
    if (diagonal == 0) {
      result.dead_columns[j] = 1;
      diagonal = 1;
    }
    mean_diagonal += diagonal / static_cast<double>(size);
  }
  if (size == 0 || !std::isfinite(mean_diagonal) || !(mean_diagonal > 0)) return result;

  std::vector<double> work(size * size);
  // A damping of 0 that fails is raised to the smallest fraction that can matter in float64.
  constexpr double smallest_raise = 1e-10;
  for (double used = damping;; used = std::max(used * 10, smallest_raise)) {
    if (used > maximum_damping && used != damping) return result;
    result.damping_used = used;
    parallel_for(size, 64, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        const double* from = hessian + (size - 1 - i) * size;
        double* row = work.data() + i * size;
        for (std::size_t j = 0; j < size; ++j) row[j] = from[size - 1 - j];
        if (result.dead_columns[size - 1 - i]) row[i] = 1;
        row[i] += used * mean_diagonal;
      }
    });
    if (!cholesky_in_place(work.data(), size)) continue;
    invert_lower_triangular(work.data(), size);

    result.factor.resize(size * size);
    std::vector<std::uint8_t> finite(size);
    parallel_for(size, 64, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        const double* from = work.data() + (size - 1 - i) * size;
        float* row = result.factor.data() + i * size;
        bool good = true;
        for (std::size_t j = 0; j < size; ++j) {
          row[j] = j < i ? 0.0f : static_cast<float>(from[size - 1 - j]);
          good = good && std::isfinite(row[j]);
        }
        // What is divided by must not have become zero or a subnormal.
        finite[i] = good && row[i] >= 1e-37f;
      }
    });
    if (std::all_of(finite.begin(), finite.end(), [](std::uint8_t good) { return good != 0; })) return result;
    result.factor.clear();
  }
}

}  // namespace dbell::numerics
