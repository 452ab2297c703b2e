#include "numerics/ltdb.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "common/thread_pool.h"
#include "numerics/ltdb_constants.h"

namespace dbell::numerics {
namespace {

/// One block's training.
class Training {
 public:
  /// `columns` are those that take part, `scale` their start.
  Training(const float* weight, std::size_t rows, std::size_t stride, std::vector<std::size_t> columns,
           std::vector<float> scale, const LtdbOptions& options)
      : rows_(rows), columns_(std::move(columns)), start_(std::move(scale)), options_(options) {
    const std::size_t lanes = loops().lanes;
    packed_.resize((rows + lanes - 1) / lanes * lanes * columns_.size());
    for (std::size_t i = 0; i < rows; ++i)
      for (std::size_t n = 0; n < columns_.size(); ++n)
        packed_[(i / lanes * columns_.size() + n) * lanes + i % lanes] = weight[i * stride + columns_[n]];
  }

  const std::vector<std::size_t>& columns() const { return columns_; }

  /// Full-batch gradient descent. Keeps the T that the step from the lowest loss led to, as the reference code does; where that step turned out to lead
  /// above the start's loss, the T of the lowest loss itself.
  std::vector<float> run(LtdbBlock& block) const {
    std::vector<float> scale = start_, kept = start_, best = start_;
    double least_loss = std::numeric_limits<double>::infinity(), first_loss = least_loss;
    double last_deviation = std::numeric_limits<double>::infinity();
    std::vector<double> gradient;
    for (std::size_t epoch = 0; epoch < options_.maximum_epochs; ++epoch) {
      const LtdbSums losses = evaluate(scale, gradient);
      block.loss_curve.push_back(static_cast<float>(losses.proportional));
      if (!finite(losses, gradient)) return keep_start(block);
      if (epoch == 0) first_loss = losses.proportional;
      if (losses.deviation > last_deviation) {
        block.stopped_early = true;
        break;
      }
      last_deviation = losses.deviation;
      std::vector<float> next(scale.size());
      for (std::size_t n = 0; n < scale.size(); ++n)
        next[n] = static_cast<float>(scale[n] - options_.learning_rate * gradient[n]);
      if (losses.proportional < least_loss) {
        least_loss = losses.proportional;
        best = scale;
        kept = next;
      }
      scale = std::move(next);
    }
    if (options_.maximum_epochs == 0) return start_;
    const LtdbSums losses = evaluate(kept, gradient);
    const bool worse = !finite(losses, gradient) || losses.proportional > first_loss;
    return worse ? best : kept;
  }

 private:
  /// L_DTNP and L_DTMD under T, and the gradient of the former.
  LtdbSums evaluate(const std::vector<float>& scale, std::vector<double>& gradient) const {
    gradient.assign(scale.size(), 0.0);
    LtdbSums sums = loops().ltdb_losses({packed_.data(), rows_, columns_.size()}, scale.data(), options_.loss,
                                        gradient.data());
    const double count = static_cast<double>(rows_) * static_cast<double>(columns_.size());
    sums.proportional *= 100.0 / count;
    sums.deviation /= count;
    for (double& value : gradient) value *= 100.0 / count;
    return sums;
  }

  static bool finite(const LtdbSums& sums, const std::vector<double>& gradient) {
    return std::isfinite(sums.proportional) && std::isfinite(sums.deviation) &&
           std::all_of(gradient.begin(), gradient.end(), [](double value) { return std::isfinite(value); });
  }

  std::vector<float> keep_start(LtdbBlock& block) const {
    block.kept_start = true;
    return start_;
  }

  std::size_t rows_;
  std::vector<std::size_t> columns_;
  std::vector<float> start_;
  const LtdbOptions& options_;
  std::vector<float> packed_;
};

std::vector<float> column_maxima(const float* weight, std::size_t rows, std::size_t columns) {
  std::vector<float> maxima(columns);
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < columns; ++j) {
      const float magnitude = std::fabs(weight[i * columns + j]);
      if (!std::isfinite(magnitude))
        throw std::invalid_argument("the weight in row " + std::to_string(i) + ", column " + std::to_string(j) +
                                    " is not finite");
      maxima[j] = std::max(maxima[j], magnitude);
    }
  return maxima;
}

/// |T| not below the floor, sign kept: 1/T is going to be used.
float off_zero(float scale) {
  if (std::fabs(scale) >= smallest_scale) return scale;
  return scale < 0 ? -smallest_scale : smallest_scale;
}

}  // namespace

Ltdb train_ltdb(const float* weight, std::size_t out_features, std::size_t in_features, const float* abs_max,
                const float* weight_maximum, const LtdbOptions& options) {
  std::vector<float> maxima = column_maxima(weight, out_features, in_features);
  if (weight_maximum != nullptr) maxima.assign(weight_maximum, weight_maximum + in_features);
  for (std::size_t j = 0; j < in_features; ++j) {
    if (!std::isfinite(abs_max[j]) || abs_max[j] < 0)
      throw std::invalid_argument("max|X| of column " + std::to_string(j) + " is not a finite number from 0 on");
    if (!std::isfinite(maxima[j]) || maxima[j] < 0)
      throw std::invalid_argument("max|W| of column " + std::to_string(j) + " is not a finite number from 0 on");
  }

  const std::size_t blocks = (in_features + options.block_size - 1) / options.block_size;
  Ltdb result;
  result.scale.assign(in_features, 1.0f);
  result.blocks.resize(blocks);
  parallel_for(blocks, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t b = begin; b < end; ++b) {
      std::vector<std::size_t> columns;
      std::vector<float> start;
      const std::size_t last = std::min(in_features, (b + 1) * options.block_size);
      for (std::size_t j = b * options.block_size; j < last; ++j) {
        // Zero columns and dead activations keep T = 1 and take no part in the block's statistics.
        if (maxima[j] == 0 || abs_max[j] == 0) continue;
        const double scale = std::pow(static_cast<double>(abs_max[j]), options.epsilon) /
                             std::pow(static_cast<double>(maxima[j]), 1.0 - options.epsilon);
        columns.push_back(j);
        start.push_back(std::min(std::max(static_cast<float>(scale), smallest_scale), largest_start));
      }
      if (columns.empty()) continue;
      std::vector<float> scale = start;
      if (options.trained && out_features > 0)
        scale = Training(weight, out_features, in_features, columns, std::move(start), options).run(result.blocks[b]);
      for (std::size_t n = 0; n < columns.size(); ++n) result.scale[columns[n]] = off_zero(scale[n]);
    }
  });
  return result;
}

}  // namespace dbell::numerics
