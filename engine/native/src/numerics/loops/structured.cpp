// Structured binarization (BiLLM): the searches for salient columns and for the split of the others, and a block's levels and codes.
#include "numerics/loops/loops_set.h"
#include "numerics/tile.h"

DBELL_DECLARE_LOOPS(DBELL_NUMERICS_SET)

namespace dbell::numerics {
namespace {

DBELL_INLINE FloatVector square(FloatVector value) { return value * value; }
/// ±magnitude with the sign of `of`; the sign of 0 is +.
DBELL_INLINE FloatVector signed_like(FloatVector of, FloatVector magnitude) {
  return select(of >= broadcast(0.0f), magnitude, -magnitude);
}
DBELL_INLINE FloatVector one_if(IntVector condition, FloatVector value) {
  return select(condition, value, broadcast(0.0f));
}

/// The columns of a search for `lanes` rows, in the order of the search; lanes behind the last row are zero.
void load_columns(float* tile, const SearchRows& search, std::size_t first_row, std::size_t rows) {
  for (std::size_t i = 0; i < std::size_t(lanes); ++i) {
    const float* row = search.values + (first_row + i) * search.stride;
    for (std::size_t j = 0; j < search.count; ++j) tile[j * lanes + i] = i < rows ? row[search.columns[j]] : 0.0f;
  }
}

/// Adds the lanes of the first `rows` rows to a sum, one after another.
DBELL_INLINE void add_rows(double& sum, FloatVector values, std::size_t rows) {
  float lane_values[lanes];
  store(lane_values, values);
  for (std::size_t i = 0; i < rows; ++i) sum += static_cast<double>(lane_values[i]);
}

/// Error of the first k columns if they are binarized twice: v ≈ (mean ± scale) + (mean of the rest ± scale of the rest).
FloatVector second_order_error(const float* tile, std::size_t k, FloatVector sum, const float* column_weights) {
  const FloatVector count = broadcast(static_cast<float>(k));
  const FloatVector mean = sum / count;
  FloatVector deviation = broadcast(0.0f);
  for (std::size_t j = 0; j < k; ++j) deviation += absolute(load(tile + j * lanes) - mean);
  const FloatVector scale = deviation / count;
  FloatVector rest_sum = broadcast(0.0f);
  for (std::size_t j = 0; j < k; ++j) {
    const FloatVector centred = load(tile + j * lanes) - mean;
    rest_sum += centred - signed_like(centred, scale);
  }
  const FloatVector rest_mean = rest_sum / count;
  FloatVector rest_deviation = broadcast(0.0f);
  for (std::size_t j = 0; j < k; ++j) {
    const FloatVector centred = load(tile + j * lanes) - mean;
    rest_deviation += absolute(centred - signed_like(centred, scale) - rest_mean);
  }
  const FloatVector rest_scale = rest_deviation / count;
  FloatVector error = broadcast(0.0f);
  for (std::size_t j = 0; j < k; ++j) {
    const FloatVector centred = load(tile + j * lanes) - mean;
    const FloatVector rest = centred - signed_like(centred, scale) - rest_mean;
    error += square(absolute(rest) - rest_scale) * broadcast(column_weights[j]);
  }
  return error;
}

/// Error of columns k … count − 1 if they are binarized once.
FloatVector first_order_error(const float* tile, std::size_t k, std::size_t count, FloatVector sum,
                              const float* column_weights) {
  const FloatVector divisor = broadcast(static_cast<float>(count - k));
  const FloatVector mean = sum / divisor;
  FloatVector deviation = broadcast(0.0f);
  for (std::size_t j = k; j < count; ++j) deviation += absolute(load(tile + j * lanes) - mean);
  const FloatVector scale = deviation / divisor;
  FloatVector error = broadcast(0.0f);
  for (std::size_t j = k; j < count; ++j)
    error += square(absolute(load(tile + j * lanes) - mean) - scale) * broadcast(column_weights[j]);
  return error;
}

/// Sums of a group of entries, for a first-order binarization of each row.
struct Group {
  FloatVector count = broadcast(0.0f);
  FloatVector sum = broadcast(0.0f);
  FloatVector deviation = broadcast(0.0f);

  /// An empty group has mean and scale 0.
  FloatVector divisor() const { return maximum(count, broadcast(1.0f)); }
};

constexpr std::size_t group_levels = 2;

/// Levels of one group: the mean as stored and the mean deviation from it.
struct Levels {
  FloatVector mean, scale;
};

class StructuredTile {
 public:
  StructuredTile(const BlockRows& block, const StructuredPlan& plan, float* tile, std::uint8_t* group_tile,
                 std::uint8_t* code_tile)
      : block_(block), plan_(plan), tile_(tile), group_tile_(group_tile), code_tile_(code_tile) {}

  RowsReport quantize(std::size_t first_row, std::size_t rows, const StructuredOutput& output) {
    RowsReport report;
    load_tile(tile_, block_.weight + first_row * block_.weight_stride, block_.weight_stride, rows, block_.width);
    report.non_finite_row = non_finite_row(tile_, rows, block_.width);
    if (report.non_finite_row >= 0) return report;
    levels_at_ = output.levels + first_row * output.levels_stride;
    levels_stride_ = output.levels_stride;
    rows_ = rows;
    find_groups(first_row);
    find_ordinary_levels(report.saturated);
    find_salient_levels(report.saturated);
    quantize_columns();
    store_codes(code_tile_, output.codes + first_row * output.codes_stride, output.codes_stride, rows, block_.width);
    if (block_.error != nullptr) {
      if (!by_column())
        compensation_error(tile_, block_.width, block_.factor, block_.factor_stride, block_.compensation);
      store_tile(tile_, block_.error + first_row * block_.width, block_.width, rows, block_.width);
    }
    return report;
  }

 private:
  static constexpr std::uint8_t concentrated = 0, sparse = 1, salient = 2;

  bool by_column() const { return block_.error != nullptr && block_.compensation == Compensation::column; }
  FloatVector weight(std::size_t j) const { return load(tile_ + j * lanes); }
  IntVector is_sparse(std::size_t j) const {
    float lane_values[lanes];
    for (int i = 0; i < lanes; ++i) lane_values[i] = static_cast<float>(group_tile_[j * lanes + i]);
    return load(lane_values) == broadcast(static_cast<float>(sparse));
  }
  FloatVector stored(FloatVector values, std::size_t level, std::int64_t& saturated) const {
    return store_halves(values, rows_, levels_at_ + level, levels_stride_, saturated);
  }

  void find_groups(std::size_t first_row) {
    for (std::size_t n = 0; n < plan_.salient_count; ++n)
      for (int i = 0; i < lanes; ++i) group_tile_[plan_.salient[n] * lanes + i] = salient;
    for (std::size_t n = 0; n < plan_.ordinary_count; ++n) {
      const std::size_t j = plan_.ordinary[n];
      for (std::size_t i = 0; i < std::size_t(lanes); ++i) {
        const float value = i < rows_ ? plan_.values[(first_row + i) * plan_.values_stride + j] : 0.0f;
        group_tile_[j * lanes + i] = (value < 0 ? -value : value) <= plan_.threshold ? concentrated : sparse;
      }
    }
  }

  void find_ordinary_levels(std::int64_t& saturated) {
    const FloatVector zero = broadcast(0.0f), one = broadcast(1.0f);
    Group groups[group_levels];
    for (std::size_t n = 0; n < plan_.ordinary_count; ++n) {
      const std::size_t j = plan_.ordinary[n];
      const IntVector in_sparse = is_sparse(j);
      groups[concentrated].count += select(in_sparse, zero, one);
      groups[concentrated].sum += select(in_sparse, zero, weight(j));
      groups[sparse].count += select(in_sparse, one, zero);
      groups[sparse].sum += select(in_sparse, weight(j), zero);
    }
    for (std::size_t group = 0; group < group_levels; ++group)
      ordinary_[group].mean = stored(groups[group].sum / groups[group].divisor(), 2 * group, saturated);
    for (std::size_t n = 0; n < plan_.ordinary_count; ++n) {
      const std::size_t j = plan_.ordinary[n];
      const IntVector in_sparse = is_sparse(j);
      groups[concentrated].deviation +=
          select(in_sparse, zero, absolute(weight(j) - ordinary_[concentrated].mean));
      groups[sparse].deviation += select(in_sparse, absolute(weight(j) - ordinary_[sparse].mean), zero);
    }
    for (std::size_t group = 0; group < group_levels; ++group)
      ordinary_[group].scale = stored(groups[group].deviation / groups[group].divisor(), 2 * group + 1, saturated);
  }

  /// First order, then again on what is left; only the sum of both means is stored, so the second scale is measured from that.
  void find_salient_levels(std::int64_t& saturated) {
    const FloatVector zero = broadcast(0.0f);
    salient_mean_ = salient_scale_ = second_scale_ = zero;
    const FloatVector count = broadcast(static_cast<float>(plan_.salient_count > 0 ? plan_.salient_count : 1));
    FloatVector sum = zero, deviation = zero, rest_sum = zero, rest_deviation = zero;
    for (std::size_t n = 0; n < plan_.salient_count; ++n) sum += weight(plan_.salient[n]);
    const FloatVector mean = sum / count;
    for (std::size_t n = 0; n < plan_.salient_count; ++n) deviation += absolute(weight(plan_.salient[n]) - mean);
    salient_scale_ = stored(deviation / count, 5, saturated);
    for (std::size_t n = 0; n < plan_.salient_count; ++n) {
      const FloatVector centred = weight(plan_.salient[n]) - mean;
      rest_sum += centred - signed_like(centred, salient_scale_);
    }
    salient_mean_ = stored(mean + rest_sum / count, 4, saturated);
    for (std::size_t n = 0; n < plan_.salient_count; ++n) {
      const FloatVector centred = weight(plan_.salient[n]) - salient_mean_;
      rest_deviation += absolute(centred - signed_like(centred, salient_scale_));
    }
    second_scale_ = stored(rest_deviation / count, 6, saturated);
  }

  static FloatVector nearest(FloatVector value, const Levels& levels) {
    return levels.mean + signed_like(value - levels.mean, levels.scale);
  }

  void quantize_columns() {
    for (std::size_t j = 0; j < block_.width; ++j) {
      const FloatVector value = weight(j);
      const FloatVector zero = broadcast(0.0f), one = broadcast(1.0f), two = broadcast(2.0f);
      FloatVector code, quantized;
      if (group_tile_[j * lanes] == salient) {
        const FloatVector centred = value - salient_mean_;
        const FloatVector first = salient_mean_ + signed_like(centred, salient_scale_);
        const FloatVector rest = centred - signed_like(centred, salient_scale_);
        quantized = first + signed_like(rest, second_scale_);
        code = select(centred >= zero, one, zero) + select(rest >= zero, two, zero);
      } else {
        const FloatVector inner = nearest(value, ordinary_[concentrated]), outer = nearest(value, ordinary_[sparse]);
        // A weight that compensation has moved since the split takes the nearest of the four levels.
        const IntVector in_sparse =
            by_column() ? absolute(value - outer) < absolute(value - inner) : is_sparse(j);
        const FloatVector mean = select(in_sparse, ordinary_[sparse].mean, ordinary_[concentrated].mean);
        quantized = select(in_sparse, outer, inner);
        code = select(value - mean >= zero, one, zero) + select(in_sparse, two, zero);
      }
      std::int32_t codes[lanes];
      store(codes, to_int(code));
      for (int i = 0; i < lanes; ++i) code_tile_[j * lanes + i] = static_cast<std::uint8_t>(codes[i]);
      FloatVector error = value - quantized;
      if (by_column()) {
        const float* factor_row = block_.factor + j * block_.factor_stride;
        error = error / broadcast(factor_row[j]);
        for (std::size_t k = j + 1; k < block_.width; ++k) {
          float* at = tile_ + k * lanes;
          store(at, load(at) - error * broadcast(factor_row[k]));
        }
      }
      store(tile_ + j * lanes, error);
    }
  }

  const BlockRows& block_;
  const StructuredPlan& plan_;
  float* tile_;
  std::uint8_t* group_tile_;
  std::uint8_t* code_tile_;
  std::uint16_t* levels_at_ = nullptr;
  std::size_t levels_stride_ = 0;
  std::size_t rows_ = 0;
  Levels ordinary_[group_levels];
  FloatVector salient_mean_, salient_scale_, second_scale_;
};

std::size_t rows_left(std::size_t rows, std::size_t row) {
  return rows - row < std::size_t(lanes) ? rows - row : std::size_t(lanes);
}

}  // namespace

namespace DBELL_NUMERICS_SET {

void salient_errors(const SearchRows& search, std::size_t maximum, double* errors) {
  const std::size_t count = search.count;
  float* tile = new float[(2 * count + 1) * lanes];
  // sums_behind[k]: sum of columns k … count − 1, added from the last one.
  float* sums_behind = tile + count * lanes;
  for (std::size_t k = 0; k < maximum; ++k) errors[k] = 0;
  for (std::size_t row = 0; row < search.rows; row += lanes) {
    const std::size_t rows = rows_left(search.rows, row);
    load_columns(tile, search, row, rows);
    FloatVector sum = broadcast(0.0f);
    store(sums_behind + count * lanes, sum);
    for (std::size_t j = count; j-- > 0;) {
      sum += load(tile + j * lanes);
      store(sums_behind + j * lanes, sum);
    }
    FloatVector sum_before = broadcast(0.0f);
    for (std::size_t k = 1; k <= maximum; ++k) {
      sum_before += load(tile + (k - 1) * lanes);
      const FloatVector error =
          second_order_error(tile, k, sum_before, search.column_weights) +
          first_order_error(tile, k, count, load(sums_behind + k * lanes), search.column_weights);
      add_rows(errors[k - 1], error, rows);
    }
  }
  delete[] tile;
}

void split_errors(const SearchRows& search, const float* thresholds, std::size_t count, double* errors) {
  float* tile = new float[search.count * lanes];
  for (std::size_t p = 0; p < count; ++p) errors[p] = 0;
  for (std::size_t row = 0; row < search.rows; row += lanes) {
    const std::size_t rows = rows_left(search.rows, row);
    load_columns(tile, search, row, rows);
    for (std::size_t p = 0; p < count; ++p) {
      const FloatVector threshold = broadcast(thresholds[p]), one = broadcast(1.0f), zero = broadcast(0.0f);
      Group inner, outer;
      for (std::size_t j = 0; j < search.count; ++j) {
        const FloatVector value = load(tile + j * lanes);
        const IntVector inside = absolute(value) <= threshold;
        inner.count += one_if(inside, one);
        inner.sum += one_if(inside, value);
        outer.sum += select(inside, zero, value);
      }
      outer.count = broadcast(static_cast<float>(search.count)) - inner.count;
      const FloatVector inner_mean = inner.sum / inner.divisor(), outer_mean = outer.sum / outer.divisor();
      for (std::size_t j = 0; j < search.count; ++j) {
        const FloatVector value = load(tile + j * lanes);
        const IntVector inside = absolute(value) <= threshold;
        inner.deviation += one_if(inside, absolute(value - inner_mean));
        outer.deviation += select(inside, zero, absolute(value - outer_mean));
      }
      const FloatVector inner_scale = inner.deviation / inner.divisor(),
                        outer_scale = outer.deviation / outer.divisor();
      FloatVector error = broadcast(0.0f);
      for (std::size_t j = 0; j < search.count; ++j) {
        const FloatVector value = load(tile + j * lanes);
        const IntVector inside = absolute(value) <= threshold;
        const FloatVector distance = absolute(value - select(inside, inner_mean, outer_mean));
        error += square(distance - select(inside, inner_scale, outer_scale)) * broadcast(search.column_weights[j]);
      }
      add_rows(errors[p], error, rows);
    }
  }
  delete[] tile;
}

RowsReport quantize_structured(const BlockRows& block, const StructuredPlan& plan, const StructuredOutput& output) {
  RowsReport total;
  float* tile = new float[block.width * lanes];
  std::uint8_t* bytes = new std::uint8_t[2 * block.width * lanes];
  StructuredTile structured(block, plan, tile, bytes, bytes + block.width * lanes);
  for (std::size_t row = 0; row < block.rows && total.non_finite_row < 0; row += lanes) {
    const RowsReport report = structured.quantize(row, rows_left(block.rows, row), output);
    total.saturated += report.saturated;
    if (report.non_finite_row >= 0) total.non_finite_row = static_cast<std::int64_t>(row) + report.non_finite_row;
  }
  delete[] tile;
  delete[] bytes;
  return total;
}

}  // namespace DBELL_NUMERICS_SET
}  // namespace dbell::numerics
