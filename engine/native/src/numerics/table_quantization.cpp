#include "numerics/table_quantization.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "common/thread_pool.h"

namespace dbell::numerics {
namespace {

constexpr std::size_t columns_per_scale = 32;
/// Rows of one task: their weights and gradients stay in the second-level cache, and packing a strip of M is repaid.
constexpr std::size_t rows_of_task = 64;

}  // namespace

QuantizedTable quantize_table(const float* weight, std::size_t rows, std::size_t columns, int bits, const float* metric,
                              const float* factor, int sweeps) {
  const Loops& loop = loops();
  const std::size_t groups = (columns + columns_per_scale - 1) / columns_per_scale;
  QuantizedTable table;
  const float largest = 65504.0f * static_cast<float>((1 << (bits - 1)) - 1);
  const auto fits = [&](float value) { return std::fabs(value) <= largest; };
  table.first_overflow =
      static_cast<std::size_t>(std::find_if_not(weight, weight + rows * columns, fits) - weight);
  if (table.first_overflow < rows * columns) return table;
  table.fields.resize(rows * columns);
  table.scales.resize(rows * groups);
  const std::size_t tasks = (rows + rows_of_task - 1) / rows_of_task;
  std::vector<RowsReport> reports(tasks);
  std::vector<TableErrors> errors(tasks);
  parallel_for(tasks, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t task = begin; task < end; ++task) {
      const std::size_t row = task * rows_of_task;
      const TableRows part{weight + row * columns, std::min(rows_of_task, rows - row), columns, bits, metric, factor,
                           sweeps};
      reports[task] = loop.quantize_table(
          part, {table.fields.data() + row * columns, table.scales.data() + row * groups}, errors[task]);
    }
  });
  for (std::size_t task = 0; task < tasks; ++task) {
    if (reports[task].non_finite_row >= 0)
      throw std::invalid_argument(
          "row " + std::to_string(task * rows_of_task + static_cast<std::size_t>(reports[task].non_finite_row)) +
          " of the table became infinite under error compensation");
    table.saturated += reports[task].saturated;
    table.errors.metric_error += errors[task].metric_error;
    table.errors.metric_norm += errors[task].metric_norm;
    table.errors.squared_error += errors[task].squared_error;
    table.errors.squared_norm += errors[task].squared_norm;
  }
  return table;
}

}  // namespace dbell::numerics
