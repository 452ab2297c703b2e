#include "numerics/structured_binarization.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "common/thread_pool.h"
#include "numerics/dequantize.h"
#include "numerics/percentiles.h"
#include "numerics/rows_report.h"

namespace dbell::numerics {
namespace {

/// One block while it is quantized: all rows together, since salient columns and the split are common to them.
class Block {
 public:
  Block(const std::vector<float>& weight, std::size_t out_features, std::size_t in_features, const float* factor,
        const StructuredOptions& options, std::size_t first)
      : weight_(weight.data() + first),
        rows_(out_features),
        stride_(in_features),
        first_(first),
        width_(std::min(options.block_size, in_features - first)),
        chunks_((out_features + rows_per_task - 1) / rows_per_task),
        factor_(factor),
        options_(options) {
    find_column_weights();
    find_values();
  }

  std::size_t width() const { return width_; }
  std::size_t chunks() const { return chunks_; }
  const std::vector<std::uint32_t>& salient() const { return salient_; }

  /// Chooses salient columns, then the threshold between the groups.
  void search() {
    const std::vector<std::uint32_t> ranked = ranked_columns();
    const std::size_t maximum = std::min(options_.maximum_salient_columns, width_ - 1);
    const std::size_t count = maximum == 0 ? 0 : 1 + least(salient_errors(ranked, maximum));
    salient_.assign(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(count));
    ordinary_.assign(ranked.begin() + static_cast<std::ptrdiff_t>(count), ranked.end());
    std::sort(salient_.begin(), salient_.end());
    std::sort(ordinary_.begin(), ordinary_.end());
    const std::vector<float> thresholds = split_candidates();
    threshold_ = thresholds[least(split_errors(thresholds))];
  }

  StructuredPlan plan(std::size_t first_row) const {
    return {ordinary_.data(), ordinary_.size(), salient_.data(), salient_.size(), values_ + first_row * values_stride_,
            values_stride_, threshold_};
  }

 private:
  float factor_diagonal(std::size_t j) const {
    return factor_ == nullptr ? 1.0f : factor_[(first_ + j) * stride_ + first_ + j];
  }

  /// Weights of the columns in the squared error of the searches.
  void find_column_weights() {
    column_weights_.assign(width_, 1.0f);
    if (options_.search_on != SearchOn::weighted_weight || options_.importance != Importance::hessian) return;
    for (std::size_t j = 0; j < width_; ++j)
      column_weights_[j] = 1.0f / (factor_diagonal(j) * factor_diagonal(j));
  }

  /// V: what the searches look at.
  void find_values() {
    if (options_.search_on != SearchOn::importance) {
      values_ = weight_;
      values_stride_ = stride_;
      return;
    }
    importance_.resize(rows_ * width_);
    values_ = importance_.data();
    values_stride_ = width_;
    parallel_for(rows_, rows_per_task, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i)
        for (std::size_t j = 0; j < width_; ++j) {
          const float weight = weight_[i * stride_ + j];
          importance_[i * width_ + j] = options_.importance == Importance::magnitude
                                            ? std::fabs(weight)
                                            : weight * weight / (factor_diagonal(j) * factor_diagonal(j));
        }
    });
  }

  /// Columns by falling Σ_i |S_ij|; the earlier of equal ones first.
  std::vector<std::uint32_t> ranked_columns() const {
    std::vector<double> partial(chunks_ * width_);
    parallel_for(chunks_, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t chunk = begin; chunk < end; ++chunk) {
        double* sums = partial.data() + chunk * width_;
        const std::size_t last = std::min(rows_, (chunk + 1) * rows_per_task);
        for (std::size_t i = chunk * rows_per_task; i < last; ++i)
          for (std::size_t j = 0; j < width_; ++j) {
            const double weight = weight_[i * stride_ + j];
            sums[j] += options_.importance == Importance::magnitude ? std::fabs(weight) : weight * weight;
          }
      }
    });
    std::vector<double> scores = add_chunks(partial, width_);
    if (options_.importance == Importance::hessian)
      for (std::size_t j = 0; j < width_; ++j) {
        const double diagonal = factor_diagonal(j);
        scores[j] /= diagonal * diagonal;
      }
    std::vector<std::uint32_t> columns(width_);
    std::iota(columns.begin(), columns.end(), 0u);
    std::stable_sort(columns.begin(), columns.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return scores[a] > scores[b]; });
    return columns;
  }

  std::vector<double> salient_errors(const std::vector<std::uint32_t>& ranked, std::size_t maximum) const {
    return summed_over_rows(ranked, maximum, [&](const SearchRows& search, double* errors) {
      loops().salient_errors(search, maximum, errors);
    });
  }

  std::vector<double> split_errors(const std::vector<float>& thresholds) const {
    return summed_over_rows(ordinary_, thresholds.size(), [&](const SearchRows& search, double* errors) {
      loops().split_errors(search, thresholds.data(), thresholds.size(), errors);
    });
  }

  template <class Loop>
  std::vector<double> summed_over_rows(const std::vector<std::uint32_t>& columns, std::size_t count, Loop loop) const {
    std::vector<float> weights(columns.size());
    for (std::size_t n = 0; n < columns.size(); ++n) weights[n] = column_weights_[columns[n]];
    std::vector<double> partial(chunks_ * count);
    parallel_for(chunks_, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t chunk = begin; chunk < end; ++chunk) {
        const std::size_t row = chunk * rows_per_task;
        const SearchRows search{values_ + row * values_stride_, values_stride_, std::min(rows_per_task, rows_ - row),
                                columns.data(), columns.size(), weights.data()};
        loop(search, partial.data() + chunk * count);
      }
    });
    return add_chunks(partial, count);
  }

  std::vector<double> add_chunks(const std::vector<double>& partial, std::size_t count) const {
    std::vector<double> total(count);
    for (std::size_t chunk = 0; chunk < chunks_; ++chunk)
      for (std::size_t n = 0; n < count; ++n) total[n] += partial[chunk * count + n];
    return total;
  }

  /// Index of the least error, the first of equal ones; 0 where none is a number.
  static std::size_t least(const std::vector<double>& errors) {
    std::size_t best = 0;
    for (std::size_t n = 1; n < errors.size(); ++n)
      if (errors[n] < errors[best] || (std::isnan(errors[best]) && !std::isnan(errors[n]))) best = n;
    return best;
  }

  std::vector<float> split_candidates() const {
    std::vector<float> magnitudes(rows_ * ordinary_.size());
    parallel_for(rows_, rows_per_task, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i)
        for (std::size_t n = 0; n < ordinary_.size(); ++n)
          magnitudes[i * ordinary_.size() + n] = std::fabs(values_[i * values_stride_ + ordinary_[n]]);
    });
    sort_magnitudes(magnitudes);
    const std::size_t zeros = options_.percentiles_over_zeros ? rows_ * salient_.size() : 0;
    std::vector<float> thresholds(options_.percentile_count);
    const double steps = static_cast<double>(std::max<std::size_t>(1, thresholds.size() - 1));
    for (std::size_t p = 0; p < thresholds.size(); ++p) {
      const double percent = options_.first_percentile +
                             (options_.last_percentile - options_.first_percentile) * static_cast<double>(p) / steps;
      thresholds[p] = quantile_of_sorted(magnitudes, zeros, percent / 100);
    }
    return thresholds;
  }

  const float* weight_;
  std::size_t rows_, stride_, first_, width_, chunks_;
  const float* factor_;
  const StructuredOptions& options_;
  const float* values_ = nullptr;
  std::size_t values_stride_ = 0;
  std::vector<float> importance_, column_weights_;
  std::vector<std::uint32_t> salient_, ordinary_;
  float threshold_ = 0;
};

}  // namespace

StructuredBinarization quantize_structured(const float* weight, std::size_t out_features, std::size_t in_features,
                                           const float* factor, const StructuredOptions& options) {
  const Loops& loop = loops();
  const std::size_t blocks = (in_features + options.block_size - 1) / options.block_size;
  const bool compensated = factor != nullptr && options.compensation != Compensation::none;
  StructuredBinarization result;
  result.codes.resize(out_features * in_features);
  result.levels.resize(out_features * blocks * levels_per_block);
  result.salient_columns.resize(in_features);
  if (out_features == 0) return result;
  std::vector<float> current(weight, weight + out_features * in_features);
  std::vector<float> error(compensated ? out_features * std::min(options.block_size, in_features) : 0);

  for (std::size_t b = 0; b < blocks; ++b) {
    const std::size_t first = b * options.block_size;
    throw_if_any_not_finite(current, out_features, in_features, first,
                            std::min(options.block_size, in_features - first));
    Block block(current, out_features, in_features, factor, options, first);
    block.search();
    for (const std::uint32_t column : block.salient()) result.salient_columns[first + column] = 1;
    const std::size_t behind = first + block.width();
    std::vector<RowsReport> reports(block.chunks());
    parallel_for(block.chunks(), 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t chunk = begin; chunk < end; ++chunk) {
        const std::size_t row = chunk * rows_per_task;
        const std::size_t rows = std::min(rows_per_task, out_features - row);
        float* chunk_error = compensated ? error.data() + row * block.width() : nullptr;
        const BlockRows block_rows{current.data() + row * in_features + first,
                                   in_features,
                                   rows,
                                   block.width(),
                                   compensated ? factor + first * in_features + first : nullptr,
                                   in_features,
                                   options.compensation,
                                   chunk_error};
        const StructuredOutput output{result.codes.data() + row * in_features + first, in_features,
                                      result.levels.data() + (row * blocks + b) * levels_per_block,
                                      blocks * levels_per_block};
        reports[chunk] = loop.quantize_structured(block_rows, block.plan(row), output);
        if (compensated && behind < in_features)
          loop.subtract_product_float(current.data() + row * in_features + behind, in_features, chunk_error,
                                      block.width(), factor + first * in_features + behind, in_features, rows,
                                      in_features - behind, block.width());
      }
    });
    for (const RowsReport& report : reports) result.saturated += report.saturated;
  }
  return result;
}

}  // namespace dbell::numerics
