// Embedding and head tables of 4 and 6 bits, `lanes` rows at a time: W ≈ scale · code, code −2^(b−1) … 2^(b−1) − 1, a scale (of either sign) for 32 columns.
#include "numerics/loops/loops_set.h"
#include "numerics/tile.h"

DBELL_DECLARE_LOOPS(DBELL_NUMERICS_SET)

namespace dbell::numerics {
namespace {

constexpr std::size_t group_width = 32;
/// Scales that the search tries: these parts of the one that maps the largest weight to code −2^(b−1).
constexpr int candidate_count = 21;
constexpr float first_part = 0.6f;
constexpr float part_step = 0.025f;

struct Codes {
  FloatVector lowest, highest, offset;
};

Codes codes_of(int bits) {
  const float half = static_cast<float>(1 << (bits - 1));
  return {broadcast(-half), broadcast(half - 1.0f), broadcast(half)};
}

/// The nearest code; 0 where the scale is 0.
DBELL_INLINE FloatVector nearest(FloatVector position, FloatVector scale, const Codes& codes) {
  position = select(scale == broadcast(0.0f), broadcast(0.0f), position);
  position = minimum(maximum(position, codes.lowest), codes.highest);
  return truncated(position + (codes.offset + 0.5f)) - codes.offset;
}

/// The scale of a group with the least weighted error after rounding, as fp16; the first of equal ones.
FloatVector best_scale(const float* tile, std::size_t width, const float* column_weights, const Codes& codes) {
  FloatVector largest = broadcast(0.0f), magnitude = broadcast(0.0f);
  for (std::size_t j = 0; j < width; ++j) {
    const FloatVector weight = load(tile + j * lanes);
    const auto greater = absolute(weight) > magnitude;
    magnitude = select(greater, absolute(weight), magnitude);
    largest = select(greater, weight, largest);
  }
  const FloatVector base = largest / codes.lowest;
  FloatVector best = broadcast(0.0f), best_error = broadcast(0.0f);
  for (int candidate = 0; candidate < candidate_count; ++candidate) {
    const float part = first_part + part_step * static_cast<float>(candidate);
    std::uint16_t ignored[lanes];
    std::int64_t cut = 0;
    const FloatVector scale = store_halves(base * part, lanes, ignored, 1, cut);
    FloatVector error = broadcast(0.0f);
    for (std::size_t j = 0; j < width; ++j) {
      const FloatVector weight = load(tile + j * lanes);
      const FloatVector difference = weight - scale * nearest(weight / scale, scale, codes);
      error += difference * difference * broadcast(column_weights[j]);
    }
    const auto better = candidate == 0 ? error == error : error < best_error;
    best = select(better, scale, best);
    best_error = select(better, error, best_error);
  }
  return best;
}

void store_fields(const float* code_tile, const Codes& codes, std::uint8_t* fields, std::size_t stride,
                  std::size_t rows, std::size_t width) {
  for (std::size_t j = 0; j < width; ++j) {
    std::int32_t values[lanes];
    store(values, to_int(load(code_tile + j * lanes) + codes.offset));
    for (std::size_t i = 0; i < rows; ++i) fields[i * stride + j] = static_cast<std::uint8_t>(values[i]);
  }
}

/// Buffers of a call.
struct Scratch {
  /// What is left to quantize, later the error and its product, `[rows, columns]`.
  float *current, *gradient;
  /// Row-major change of a group, `[rows, 32]`.
  float* change;
  float tile[group_width * lanes], codes[group_width * lanes], start[group_width * lanes];
};

/// Rounding, with a factor from left to right with error compensation; leaves W − Ŵ out of account.
RowsReport start_table(const TableRows& table, const TableOutput& output, Scratch& scratch) {
  const std::size_t columns = table.columns, groups = (columns + group_width - 1) / group_width;
  const Codes codes = codes_of(table.bits);
  RowsReport report;
  std::memcpy(scratch.current, table.weight, table.rows * columns * sizeof(float));
  for (std::size_t group = 0; group < groups; ++group) {
    const std::size_t first = group * group_width, behind = first + group_width < columns ? first + group_width : columns,
                      width = behind - first;
    const float* factor = table.factor == nullptr ? nullptr : table.factor + first * columns + first;
    float column_weights[group_width];
    for (std::size_t j = 0; j < width; ++j) {
      // What a rounding error costs once later columns have made up for it: 1 / (M⁻¹)_jj of what is left.
      column_weights[j] = factor != nullptr ? 1.0f / (factor[j * columns + j] * factor[j * columns + j])
                          : table.metric != nullptr ? table.metric[(first + j) * columns + first + j]
                                                    : 1.0f;
    }
    for (std::size_t row = 0; row < table.rows; row += lanes) {
      const std::size_t rows = table.rows - row < std::size_t(lanes) ? table.rows - row : std::size_t(lanes);
      load_tile(scratch.tile, scratch.current + row * columns + first, columns, rows, width);
      const std::int64_t bad = non_finite_row(scratch.tile, rows, width);
      if (bad >= 0) {
        report.non_finite_row = static_cast<std::int64_t>(row) + bad;
        return report;
      }
      FloatVector scale = best_scale(scratch.tile, width, column_weights, codes);
      scale = store_halves(scale, rows, output.scales + row * groups + group, groups, report.saturated);
      for (std::size_t j = 0; j < width; ++j) {
        const FloatVector weight = load(scratch.tile + j * lanes);
        const FloatVector code = nearest(weight / scale, scale, codes);
        store(scratch.codes + j * lanes, code);
        if (factor == nullptr) continue;
        const float* factor_row = factor + j * columns;
        const FloatVector error = (weight - scale * code) / broadcast(factor_row[j]);
        for (std::size_t k = j + 1; k < width; ++k) {
          float* at = scratch.tile + k * lanes;
          store(at, load(at) - error * broadcast(factor_row[k]));
        }
        store(scratch.tile + j * lanes, error);
      }
      store_fields(scratch.codes, codes, output.fields + row * columns + first, columns, rows, width);
      if (factor != nullptr) store_tile(scratch.tile, scratch.change + row * width, width, rows, width);
    }
    if (factor != nullptr && behind < columns)
      DBELL_NUMERICS_SET::subtract_product_float(scratch.current + behind, columns, scratch.change, width,
                                                 table.factor + first * columns + behind, columns, table.rows,
                                                 columns - behind, width);
  }
  return report;
}

/// scratch.current = Ŵ − W.
void find_error(const TableRows& table, const TableOutput& output, Scratch& scratch) {
  const std::size_t columns = table.columns, groups = (columns + group_width - 1) / group_width;
  const int offset = 1 << (table.bits - 1);
  for (std::size_t i = 0; i < table.rows; ++i)
    for (std::size_t j = 0; j < columns; ++j) {
      const float scale = half_to_float(output.scales[i * groups + j / group_width]);
      const float code = static_cast<float>(output.fields[i * columns + j] - offset);
      scratch.current[i * columns + j] = scale * code - table.weight[i * columns + j];
    }
}

/// scratch.gradient = −A·M.
void multiply_metric(const TableRows& table, const float* a, Scratch& scratch) {
  std::memset(scratch.gradient, 0, table.rows * table.columns * sizeof(float));
  DBELL_NUMERICS_SET::subtract_product_float(scratch.gradient, table.columns, a, table.columns, table.metric,
                                             table.columns, table.rows, table.columns, table.columns);
}

/// Codes of one group one after another, then its scale, each the best with everything else fixed; `lanes` rows. Leaves the change of Ŵ in scratch.tile.
void descend_group(const TableRows& table, const TableOutput& output, std::size_t row, std::size_t rows,
                   std::size_t group, std::size_t width, const Codes& codes, Scratch& scratch, RowsReport& report) {
  const std::size_t columns = table.columns, groups = (columns + group_width - 1) / group_width,
                    first = group * group_width;
  const float* metric = table.metric + first * columns + first;
  const int offset = 1 << (table.bits - 1);
  float scales[lanes];
  for (std::size_t i = 0; i < std::size_t(lanes); ++i)
    scales[i] = i < rows ? half_to_float(output.scales[(row + i) * groups + group]) : 0.0f;
  FloatVector scale = load(scales);
  load_tile(scratch.tile, scratch.gradient + row * columns + first, columns, rows, width);
  for (std::size_t j = 0; j < width; ++j)
    for (std::size_t i = 0; i < std::size_t(lanes); ++i)
      scratch.codes[j * lanes + i] =
          i < rows ? static_cast<float>(output.fields[(row + i) * columns + first + j] - offset) : 0.0f;
  for (std::size_t j = 0; j < width; ++j) store(scratch.start + j * lanes, scale * load(scratch.codes + j * lanes));

  for (std::size_t j = 0; j < width; ++j) {
    const float* metric_row = metric + j * columns;
    const FloatVector code = load(scratch.codes + j * lanes);
    const FloatVector step = load(scratch.tile + j * lanes) / (scale * broadcast(metric_row[j]));
    const FloatVector next = nearest(code + step, scale, codes);
    const FloatVector change = scale * (next - code);
    store(scratch.codes + j * lanes, next);
    for (std::size_t k = 0; k < width; ++k) {
      float* at = scratch.tile + k * lanes;
      store(at, load(at) - change * broadcast(metric_row[k]));
    }
  }

  // The best scale for these codes: the loss changes by d²·a − 2d·b for a change d.
  FloatVector a = broadcast(0.0f), b = broadcast(0.0f);
  for (std::size_t j = 0; j < width; ++j) {
    const float* metric_row = metric + j * columns;
    FloatVector sum = broadcast(0.0f);
    for (std::size_t k = 0; k < width; ++k) sum += load(scratch.codes + k * lanes) * broadcast(metric_row[k]);
    a += load(scratch.codes + j * lanes) * sum;
    b += load(scratch.codes + j * lanes) * load(scratch.tile + j * lanes);
  }
  const FloatVector zero = broadcast(0.0f);
  const FloatVector wanted = scale + select(a > zero, b / a, zero);
  std::uint16_t halves[lanes];
  std::int64_t cut = 0;
  const FloatVector refined = store_halves(wanted, lanes, halves, 1, cut);
  const FloatVector difference = refined - scale;
  // A group without scale stays as it is: its codes mean nothing.
  const auto better = (scale == zero) ? zero != zero : difference * difference * a - 2.0f * difference * b < zero;
  scale = store_halves(select(better, refined, scale), rows, output.scales + row * groups + group, groups,
                       report.saturated);
  for (std::size_t j = 0; j < width; ++j)
    store(scratch.tile + j * lanes, scale * load(scratch.codes + j * lanes) - load(scratch.start + j * lanes));
  store_fields(scratch.codes, codes, output.fields + row * columns + first, columns, rows, width);
}

void descend(const TableRows& table, const TableOutput& output, Scratch& scratch, RowsReport& report) {
  const std::size_t columns = table.columns;
  const Codes codes = codes_of(table.bits);
  find_error(table, output, scratch);
  multiply_metric(table, scratch.current, scratch);
  for (int sweep = 0; sweep < table.sweeps; ++sweep)
    for (std::size_t first = 0; first < columns; first += group_width) {
      const std::size_t width = columns - first < group_width ? columns - first : group_width;
      for (std::size_t row = 0; row < table.rows; row += lanes) {
        const std::size_t rows = table.rows - row < std::size_t(lanes) ? table.rows - row : std::size_t(lanes);
        descend_group(table, output, row, rows, first / group_width, width, codes, scratch, report);
        store_tile(scratch.tile, scratch.change + row * width, width, rows, width);
      }
      DBELL_NUMERICS_SET::subtract_product_float(scratch.gradient, columns, scratch.change, width,
                                                 table.metric + first * columns, columns, table.rows, columns, width);
    }
}

/// −Σ A_ij · (scratch.gradient)_ij over a row.
double dot_with_gradient(const float* a, const float* gradient, std::size_t columns) {
  double sum = 0;
  for (std::size_t j = 0; j < columns; ++j) sum -= static_cast<double>(a[j]) * static_cast<double>(gradient[j]);
  return sum;
}

void add_errors(const TableRows& table, const TableOutput& output, Scratch& scratch, TableErrors& errors) {
  const std::size_t columns = table.columns;
  find_error(table, output, scratch);
  for (std::size_t k = 0; k < table.rows * columns; ++k) {
    errors.squared_error += static_cast<double>(scratch.current[k]) * static_cast<double>(scratch.current[k]);
    errors.squared_norm += static_cast<double>(table.weight[k]) * static_cast<double>(table.weight[k]);
  }
  if (table.metric == nullptr) return;
  multiply_metric(table, scratch.current, scratch);
  for (std::size_t i = 0; i < table.rows; ++i)
    errors.metric_error +=
        dot_with_gradient(scratch.current + i * columns, scratch.gradient + i * columns, columns);
  multiply_metric(table, table.weight, scratch);
  for (std::size_t i = 0; i < table.rows; ++i)
    errors.metric_norm += dot_with_gradient(table.weight + i * columns, scratch.gradient + i * columns, columns);
}

}  // namespace

namespace DBELL_NUMERICS_SET {

RowsReport quantize_table(const TableRows& table, const TableOutput& output, TableErrors& errors) {
  Scratch* scratch = new Scratch;
  const std::size_t size = table.rows * table.columns;
  float* buffer = new float[2 * size + table.rows * group_width];
  scratch->current = buffer;
  scratch->gradient = buffer + size;
  scratch->change = buffer + 2 * size;
  RowsReport report = start_table(table, output, *scratch);
  if (report.non_finite_row < 0) {
    if (table.metric != nullptr) descend(table, output, *scratch, report);
    add_errors(table, output, *scratch, errors);
  }
  delete[] buffer;
  delete scratch;
  return report;
}

}  // namespace DBELL_NUMERICS_SET
}  // namespace dbell::numerics
