// Final norm, projection and LM head: logits of one row, losses of many without holding their logits.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "common/thread_pool.h"
#include "runtime/error.h"
#include "runtime/norm.h"
#include "runtime/session.h"

namespace dbell {
namespace {

/// Rows of the vocabulary that a task multiplies at once: with 256 tokens their logits take 512 KiB.
constexpr std::size_t kRowGroupsPerTile = 32;
/// The input of a quantized head is quantized to 8 bits whatever the linears' activations are.
constexpr int kHeadActivationBits = 8;

bool is_quantized(const Table& table) { return table.type != TableType::f32 && table.type != TableType::f16; }

/// Row groups [begin, end) of a grid table as a linear of their own.
PackedLinear row_groups_of(const PackedLinear& packed, std::size_t begin, std::size_t end) {
  PackedLinear part = packed;
  part.row_groups = end - begin;
  part.out_features = std::min(end * kRowsPerGroup, packed.out_features) - begin * kRowsPerGroup;
  if (packed.base3 != nullptr) part.base3 += begin * packed.base3_group_bytes;
  else part.planes += begin * packed.lines * static_cast<std::size_t>(packed.plane_count) * kLineBytes;
  part.scales += begin * packed.blocks * kRowsPerGroup;
  part.bias += begin * kRowsPerGroup;
  return part;
}

/// The largest of `count` values. Sixteen at once, as each comparison waits for the one before it.
float largest(const float* values, std::size_t count) {
  constexpr std::size_t width = 16;
  float running[width];
  std::fill_n(running, width, values[0]);
  std::size_t i = 0;
  for (; i + width <= count; i += width) {
    for (std::size_t j = 0; j < width; ++j) running[j] = std::max(running[j], values[i + j]);
  }
  for (; i < count; ++i) running[0] = std::max(running[0], values[i]);
  return *std::max_element(running, running + width);
}

}  // namespace

const float* Session::head_rows(std::size_t first_row, std::size_t count, std::size_t* stride) {
  const std::size_t hidden_stride = padded(model_.hidden_size);
  const float* rows = workspace_.hidden.data() + first_row * hidden_stride;
  *stride = hidden_stride;
  if (model_.final_norm) {
    workspace_.normed.reserve(count * hidden_stride);
    apply_norm(*model_.final_norm, rows, hidden_stride, count, workspace_.normed.data(), hidden_stride);
    rows = workspace_.normed.data();
  }
  if (model_.project_out) {
    const std::size_t width = padded(model_.embedding_size);
    workspace_.head_rows.reserve(count * width);
    multiply_table(*model_.kernels, *model_.project_out, rows, hidden_stride, count, 0, width / kRowsPerGroup,
                   workspace_.head_rows.data(), width);
    rows = workspace_.head_rows.data();
    *stride = width;
  }
  if (model_.grid_head) {
    static const std::string name = "head";
    quantize_stage_input(*model_.kernels, {name, model_.embedding_size, nullptr, kHeadActivationBits, false}, rows,
                         *stride, count, workspace_.grid_head_input);
    if (const PackedLinear& packed = model_.grid_head->packed; uses_sum_tables(packed))
      make_sum_tables(*model_.kernels, packed.blocks, count, workspace_.grid_head_input);
  } else if (is_quantized(model_.head)) {
    const std::size_t width = model_.head.groups * kColumnsPerTableGroup;
    workspace_.head_input.reserve(count * width);
    workspace_.head_scales.reserve(count);
    workspace_.head_sums.reserve(count * model_.head.groups);
    for (std::size_t t = 0; t < count; ++t) {
      std::int8_t* quantized = workspace_.head_input.data() + t * width;
      const float scale = model_.kernels->quantize(rows + t * *stride, nullptr, model_.embedding_size,
                                                   activation_limit(kHeadActivationBits), quantized);
      if (scale < 0) throw RuntimeError("invalid-package", "the input of the head is not finite");
      std::memset(quantized + model_.embedding_size, 0, width - model_.embedding_size);
      workspace_.head_scales[t] = scale;
      for (std::size_t group = 0; group < model_.head.groups; ++group) {
        std::int32_t sum = 0;
        for (std::size_t j = 0; j < kColumnsPerTableGroup; ++j) sum += quantized[group * kColumnsPerTableGroup + j];
        workspace_.head_sums[t * model_.head.groups + group] = sum;
      }
    }
  }
  return rows;
}

void Session::head_tile(const float* rows, std::size_t stride, std::size_t count, std::size_t begin, std::size_t end,
                        float* out, std::size_t out_stride) const {
  if (model_.grid_head) {
    const QuantizedActivations activations = grid_view(workspace_.grid_head_input, count);
    const PackedLinear tile = row_groups_of(model_.grid_head->packed, begin, end);
    model_.kernels->grid(tile, activations, 0, end - begin, out, out_stride, nullptr);
  } else if (is_quantized(model_.head)) {
    const TableActivations activations = {count, workspace_.head_input.data(), workspace_.head_scales.data(),
                                          workspace_.head_sums.data()};
    const auto kernel = model_.head.type == TableType::q8 ? model_.kernels->table_q8 : model_.kernels->table_packed;
    kernel(model_.head, activations, begin, end, out, out_stride, nullptr);
  } else {
    multiply_table(*model_.kernels, model_.head, rows, stride, count, begin, end, out, out_stride);
  }
  if (model_.head_bias == nullptr) return;
  const std::size_t first = begin * kRowsPerGroup, last = std::min(end * kRowsPerGroup, model_.vocabulary_size);
  for (std::size_t t = 0; t < count; ++t) {
    for (std::size_t row = first; row < last; ++row) out[t * out_stride + row - first] += model_.head_bias[row];
  }
}

void Session::logits(std::size_t row, float* out) {
  std::size_t stride = 0;
  const float* rows = head_rows(row, 1, &stride);
  const std::size_t row_groups = padded(model_.vocabulary_size) / kRowsPerGroup;
  workspace_.logits.reserve(row_groups * kRowsPerGroup);
  const double multiplications =
      8.0 * static_cast<double>(model_.vocabulary_size) * static_cast<double>(model_.embedding_size);
  parallel_for(row_groups, row_groups_per_task(row_groups, multiplications), [&](std::size_t begin, std::size_t end) {
    head_tile(rows, stride, 1, begin, end, workspace_.logits.data() + begin * kRowsPerGroup, 0);
  });
  std::memcpy(out, workspace_.logits.data(), model_.vocabulary_size * sizeof(float));
  check_logits(out, 1);
}

void Session::logits(std::size_t first_row, std::size_t count, float* out) {
  std::size_t stride = 0;
  const float* rows = head_rows(first_row, count, &stride);
  const std::size_t row_groups = padded(model_.vocabulary_size) / kRowsPerGroup,
                    tiles = (row_groups + kRowGroupsPerTile - 1) / kRowGroupsPerTile,
                    width = kRowGroupsPerTile * kRowsPerGroup;
  parallel_for(tiles, 1, [&](std::size_t begin, std::size_t end) {
    static thread_local AlignedBuffer<float> tile_logits;
    tile_logits.reserve(count * width);
    for (std::size_t tile = begin; tile < end; ++tile) {
      const std::size_t first_group = tile * kRowGroupsPerTile,
                        last_group = std::min(first_group + kRowGroupsPerTile, row_groups),
                        first = first_group * kRowsPerGroup,
                        size = std::min(last_group * kRowsPerGroup, model_.vocabulary_size) - first;
      head_tile(rows, stride, count, first_group, last_group, tile_logits.data(), width);
      for (std::size_t t = 0; t < count; ++t) {
        std::memcpy(out + t * model_.vocabulary_size + first, tile_logits.data() + t * width, size * sizeof(float));
      }
    }
  });
  check_logits(out, count);
}

void Session::check_logits(const float* logits, std::size_t count) const {
  for (std::size_t i = 0; i < count * model_.vocabulary_size; ++i) {
    if (!std::isfinite(logits[i]))
      throw RuntimeError("invalid-package", "the logit of token " + std::to_string(i % model_.vocabulary_size) +
                                                " is not finite; the package is damaged");
  }
}

void Session::losses(const std::int32_t* targets, std::size_t count, float* out) {
  for (std::size_t t = 0; t < count; ++t) {
    if (targets[t] < 0 || static_cast<std::size_t>(targets[t]) >= model_.vocabulary_size) {
      throw RuntimeError("invalid-input", "token id " + std::to_string(targets[t]) + " is outside the vocabulary of " +
                                              std::to_string(model_.vocabulary_size));
    }
  }
  std::size_t stride = 0;
  const float* rows = head_rows(0, count, &stride);
  const std::size_t row_groups = padded(model_.vocabulary_size) / kRowsPerGroup,
                    tiles = (row_groups + kRowGroupsPerTile - 1) / kRowGroupsPerTile;
  // Largest logit and Σ exp(logit − largest) of each tile and token; merged in order afterwards, whatever thread came
  // first.
  std::vector<float> maxima(tiles * count), target_logits(count);
  std::vector<double> sums(tiles * count);
  const std::size_t width = kRowGroupsPerTile * kRowsPerGroup;
  parallel_for(tiles, 1, [&](std::size_t begin, std::size_t end) {
    static thread_local AlignedBuffer<float> logits;
    logits.reserve(count * width);
    for (std::size_t tile = begin; tile < end; ++tile) {
      const std::size_t first_group = tile * kRowGroupsPerTile,
                        last_group = std::min(first_group + kRowGroupsPerTile, row_groups);
      const std::size_t first = first_group * kRowsPerGroup,
                        size = std::min(last_group * kRowsPerGroup, model_.vocabulary_size) - first;
      head_tile(rows, stride, count, first_group, last_group, logits.data(), width);
      for (std::size_t t = 0; t < count; ++t) {
        float* row = logits.data() + t * width;
        const std::size_t target = static_cast<std::size_t>(targets[t]);
        if (target >= first && target - first < size) target_logits[t] = row[target - first];
        const float maximum = largest(row, size);
        model_.kernels->exponentials(row, size, maximum);
        double sum = 0;
        for (std::size_t i = 0; i < size; ++i) sum += static_cast<double>(row[i]);
        maxima[tile * count + t] = maximum;
        sums[tile * count + t] = sum;
      }
    }
  });
  for (std::size_t t = 0; t < count; ++t) {
    double maximum = -std::numeric_limits<double>::infinity(), sum = 0;
    for (std::size_t tile = 0; tile < tiles; ++tile)
      maximum = std::max(maximum, static_cast<double>(maxima[tile * count + t]));
    for (std::size_t tile = 0; tile < tiles; ++tile)
      sum += sums[tile * count + t] * std::exp(static_cast<double>(maxima[tile * count + t]) - maximum);
    const double loss = maximum + std::log(sum) - static_cast<double>(target_logits[t]);
    if (!std::isfinite(loss)) throw RuntimeError("invalid-package", "a loss is not finite; the package is damaged");
    out[t] = static_cast<float>(loss);
  }
}

}  // namespace dbell
