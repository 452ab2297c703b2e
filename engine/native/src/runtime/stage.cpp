#include "runtime/stage.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/thread_pool.h"
#include "runtime/error.h"

namespace dbell {
namespace {

/// What quantizing, gathering and masking must have to do before it is shared out.
constexpr double kParallelMultiplications = 4e6;
/// The least that is worth a task: some 0.2 µs of products, beside which handing it out does not count.
constexpr double kTaskMultiplications = 1e5;
/// Large stages have several tasks for each thread, so that an uneven start evens out; small ones have one.
constexpr double kLargeTaskMultiplications = 2e6;
constexpr double kTasksPerThread = 4;
/// Tables of sums of 24 blocks take some 2 µs.
constexpr std::size_t kSumTableBlocksPerTask = 24;
/// Row groups expanded to float at once: 32 KiB of weights, which stay in the first-level cache.
constexpr std::size_t kExpandedRowGroups = 4;

constexpr std::size_t kTileValues = kColumnsPerBlock * kRowsPerGroup, kSumStride = kExpandedRowGroups * kRowsPerGroup;

/// sums `[tokens, kSumStride]` (+)= x W of `groups` row groups, tile by tile.
void add_expanded(const KernelTable& kernels, const PackedLinear& packed, const std::uint8_t* salient_mask,
                  const float* x, std::size_t x_stride, std::size_t tokens, std::size_t group, std::size_t groups,
                  bool accumulate, float* sums) {
  alignas(64) float tiles[kExpandedRowGroups * kTileValues];
  for (std::size_t block = 0; block < packed.blocks; ++block) {
    const std::uint8_t* mask = salient_mask == nullptr ? nullptr : salient_mask + block * kColumnsPerBlock / 8;
    for (std::size_t g = 0; g < groups; ++g) kernels.expand(packed, group + g, block, mask, tiles + g * kTileValues);
    const std::size_t column = block * kColumnsPerBlock,
                      depth = std::min(kColumnsPerBlock, packed.in_features - column);
    kernels.multiply(x + column, x_stride, tokens, depth, tiles, kRowsPerGroup, kTileValues, groups, sums, kSumStride,
                     accumulate || block > 0);
  }
}

/// Float path of row groups [begin, end). `gathered` holds the residual columns of x, `[tokens, their number]`.
void multiply_expanded(const KernelTable& kernels, const Linear& linear, const float* x, std::size_t x_stride,
                       const float* gathered, std::size_t tokens, std::size_t begin, std::size_t end, float* y,
                       std::size_t y_stride) {
  const PackedLinear& packed = linear.packed;
  alignas(64) float sums[kTokensPerPass * kSumStride];
  for (std::size_t first = 0; first < tokens; first += kTokensPerPass) {
    const std::size_t count = std::min(kTokensPerPass, tokens - first);
    for (std::size_t group = begin; group < end; group += kExpandedRowGroups) {
      const std::size_t groups = std::min(kExpandedRowGroups, end - group);
      add_expanded(kernels, packed, linear.salient_mask, x + first * x_stride, x_stride, count, group, groups, false,
                   sums);
      if (linear.residual) {
        const std::size_t width = linear.residual->columns.size();
        add_expanded(kernels, linear.residual->packed, nullptr, gathered + first * width, width, count, group, groups,
                     true, sums);
      }
      for (std::size_t t = 0; t < count; ++t) {
        float* out = y + (first + t) * y_stride + group * kRowsPerGroup;
        const float* bias = packed.bias + group * kRowsPerGroup;
        for (std::size_t i = 0; i < groups * kRowsPerGroup; ++i) out[i] = sums[t * kSumStride + i] + bias[i];
      }
    }
  }
}

/// y = t ∘ y + bias over row groups [begin, end), for linears with a row scale t, whose kernel added no bias.
void scale_rows(const Linear& linear, std::size_t tokens, std::size_t begin, std::size_t end, float* y,
                std::size_t y_stride) {
  for (std::size_t t = 0; t < tokens; ++t) {
    for (std::size_t i = begin * kRowsPerGroup; i < end * kRowsPerGroup; ++i)
      y[t * y_stride + i] = y[t * y_stride + i] * linear.row_scale.data()[i] + linear.bias.data()[i];
  }
}

std::int32_t sum_of(const std::int8_t* values, std::size_t count) {
  std::int32_t sum = 0;
  for (std::size_t j = 0; j < count; ++j) sum += values[j];
  return sum;
}

}  // namespace

std::size_t row_groups_per_task(std::size_t row_groups, double multiplications) {
  const double threads = static_cast<double>(thread_count());
  const double per_thread =
      std::min(kTasksPerThread, std::max(1.0, std::floor(multiplications / (threads * kLargeTaskMultiplications))));
  const double tasks = std::min(threads * per_thread, std::floor(multiplications / kTaskMultiplications));
  if (tasks < 2) return row_groups;
  return std::max<std::size_t>(2, (row_groups / static_cast<std::size_t>(tasks) + 1) / 2 * 2);
}

void quantize_stage_input(const KernelTable& kernels, const StageRounding& rounding, const float* x,
                          std::size_t x_stride, std::size_t tokens, StageInput& input) {
  const auto [name, in_features, column_scale, activation_bits, by_block] = rounding;
  const std::size_t blocks = (in_features + kColumnsPerBlock - 1) / kColumnsPerBlock, width = blocks * kColumnsPerBlock;
  input.has_sum_tables = false;
  input.rows.reserve(tokens * width);
  input.values.reserve(tokens * width);
  input.block_sums.reserve(tokens * blocks);
  input.scales.reserve(tokens);
  input.block_scales.reserve(tokens * blocks);
  // What shares a step.
  const std::size_t shared = by_block ? kColumnsPerBlock : in_features;
  const int limit = activation_limit(activation_bits);
  const std::size_t tokens_per_task =
      static_cast<double>(tokens * in_features) < kParallelMultiplications / 16 ? tokens : 16;
  parallel_for(tokens, tokens_per_task, [&](std::size_t begin, std::size_t end) {
    for (std::size_t t = begin; t < end; ++t) {
      std::int8_t* row = input.rows.data() + t * width;
      for (std::size_t first = 0; first < in_features; first += shared) {
        const float scale = kernels.quantize(x + t * x_stride + first, column_scale ? column_scale + first : nullptr,
                                             std::min(shared, in_features - first), limit, row + first);
        if (scale < 0)
          throw RuntimeError("invalid-package",
                             name + ": an input is not finite (token " + std::to_string(t) + " of the chunk)");
        (by_block ? input.block_scales[first / kColumnsPerBlock * tokens + t] : input.scales[t]) = scale;
      }
      if (by_block) input.scales[t] = 1.0f;
      for (std::size_t block = 0; block < blocks && !by_block; ++block) input.block_scales[block * tokens + t] = 1.0f;
      std::memset(row + in_features, 0, width - in_features);
      for (std::size_t block = 0; block < blocks; ++block) {
        const std::int8_t* values = row + block * kColumnsPerBlock;
        std::memcpy(input.values.data() + (block * tokens + t) * kColumnsPerBlock, values, kColumnsPerBlock);
        input.block_sums[block * tokens + t] = sum_of(values, kColumnsPerBlock);
      }
    }
  });
}

StageRounding rounding_of(const Linear& linear, int activation_bits) {
  return {linear.name, linear.packed.in_features, linear.column_scale, activation_bits, linear.scales_by_block};
}

bool uses_sum_tables(const PackedLinear& linear) { return linear.planes != nullptr && linear.plane_count <= 2; }

void make_sum_tables(const KernelTable& kernels, std::size_t blocks, std::size_t tokens, StageInput& input) {
  if (kernels.make_sum_tables == nullptr || tokens != 1) return;
  constexpr std::size_t kBlockBytes = kLinesPerBlock * kLineSumTableBytes;
  input.sum_tables.reserve(blocks * kBlockBytes);
  input.least_sums.reserve(blocks);
  parallel_for(blocks, kSumTableBlocksPerTask, [&](std::size_t begin, std::size_t end) {
    kernels.make_sum_tables(input.values.data() + begin * kColumnsPerBlock, end - begin,
                            input.sum_tables.data() + begin * kBlockBytes, input.least_sums.data() + begin);
  });
  input.has_sum_tables = true;
}

QuantizedActivations grid_view(const StageInput& input, std::size_t tokens) {
  return {tokens,
          input.values.data(),
          input.block_sums.data(),
          input.scales.data(),
          input.block_scales.data(),
          nullptr,
          nullptr,
          nullptr,
          input.has_sum_tables ? input.sum_tables.data() : nullptr,
          input.has_sum_tables ? input.least_sums.data() : nullptr};
}

QuantizedActivations view_for(const Linear& linear, std::size_t index, std::size_t tokens, StageInput& input) {
  QuantizedActivations view = grid_view(input, tokens);
  if (linear.packed.layout == LinearLayout::grid) return view;
  if (input.salient.size() <= index) input.salient.resize(index + 1);
  StageInput::Salient& salient = input.salient[index];
  const std::size_t blocks = linear.packed.blocks;
  salient.values.reserve(blocks * tokens * kColumnsPerBlock);
  salient.sums.reserve(blocks * tokens);
  const std::size_t blocks_per_task =
      static_cast<double>(blocks * tokens * kColumnsPerBlock) < kParallelMultiplications / 4 ? blocks : 1;
  parallel_for(blocks, blocks_per_task, [&](std::size_t begin, std::size_t end) {
    for (std::size_t block = begin; block < end; ++block) {
      const std::uint8_t* mask = linear.salient_bytes.data() + block * kColumnsPerBlock;
      for (std::size_t t = 0; t < tokens; ++t) {
        const std::size_t at = (block * tokens + t) * kColumnsPerBlock;
        std::int8_t* out = salient.values.data() + at;
        const std::int8_t* in = input.values.data() + at;
        for (std::size_t j = 0; j < kColumnsPerBlock; ++j)
          out[j] = static_cast<std::int8_t>(in[j] & static_cast<std::int8_t>(mask[j]));
        salient.sums[block * tokens + t] = sum_of(out, kColumnsPerBlock);
      }
    }
  });
  view.salient_values = salient.values.data();
  view.salient_sums = salient.sums.data();
  view.salient_quads = linear.salient_quads.data();
  return view;
}

QuantizedActivations gather_quantized(const Residual& residual, const std::int8_t* rows, std::size_t row_stride,
                                      const float* scales, std::size_t tokens, StageInput::Gathered& gathered) {
  const std::size_t blocks = residual.packed.blocks, count = residual.columns.size();
  gathered.values.reserve(blocks * tokens * kColumnsPerBlock);
  gathered.block_sums.reserve(blocks * tokens);
  gathered.block_scales.reserve(blocks * tokens);
  std::fill_n(gathered.block_scales.data(), blocks * tokens, 1.0f);
  for (std::size_t block = 0; block < blocks; ++block) {
    const std::size_t first = block * kColumnsPerBlock, width = std::min(kColumnsPerBlock, count - first);
    const std::int32_t* columns = residual.columns.data() + first;
    for (std::size_t t = 0; t < tokens; ++t) {
      const std::int8_t* row = rows + t * row_stride;
      std::int8_t* out = gathered.values.data() + (block * tokens + t) * kColumnsPerBlock;
      for (std::size_t k = 0; k < width; ++k) out[k] = row[columns[k]];
      std::memset(out + width, 0, kColumnsPerBlock - width);
      gathered.block_sums[block * tokens + t] = sum_of(out, width);
    }
  }
  return {tokens,  gathered.values.data(), gathered.block_sums.data(), scales, gathered.block_scales.data(),
          nullptr, nullptr,                nullptr,                    nullptr, nullptr};
}

namespace {

/// Float inputs of the residual columns, `[tokens, columns]`.
const float* gather_floats(const Residual& residual, const float* x, std::size_t x_stride, std::size_t tokens,
                           StageInput::Gathered& gathered) {
  const std::size_t count = residual.columns.size();
  gathered.floats.reserve(tokens * count);
  for (std::size_t t = 0; t < tokens; ++t) {
    for (std::size_t k = 0; k < count; ++k)
      gathered.floats[t * count + k] = x[t * x_stride + static_cast<std::size_t>(residual.columns[k])];
  }
  return gathered.floats.data();
}

}  // namespace

void run_stage(const KernelTable& kernels, const Stage& stage, const float* x, std::size_t x_stride, std::size_t tokens,
               int activation_bits, StageInput& input, float* const* outputs, const std::size_t* strides) {
  const std::size_t in = stage.in_features;
  const float* column_scale = stage.linears.front().column_scale;
  const bool is_float = activation_bits == 16;
  if (is_float) {
    if (column_scale != nullptr) {
      input.scaled.reserve(tokens * in);
      for (std::size_t t = 0; t < tokens; ++t) {
        for (std::size_t j = 0; j < in; ++j) input.scaled[t * in + j] = column_scale[j] * x[t * x_stride + j];
      }
      x = input.scaled.data();
      x_stride = in;
    }
  } else {
    quantize_stage_input(kernels, rounding_of(stage.linears.front(), activation_bits), x, x_stride, tokens, input);
    if (std::any_of(stage.linears.begin(), stage.linears.end(),
                    [](const Linear& linear) { return uses_sum_tables(linear.packed); }))
      make_sum_tables(kernels, stage.linears.front().packed.blocks, tokens, input);
  }
  const std::size_t width = (in + kColumnsPerBlock - 1) / kColumnsPerBlock * kColumnsPerBlock;
  if (input.gathered.size() < stage.linears.size()) input.gathered.resize(stage.linears.size());
  std::vector<QuantizedActivations> views, residual_views(stage.linears.size());
  std::vector<const float*> gathered(stage.linears.size());
  // Row groups of all linears, one after the other: linear i has [firsts[i], firsts[i + 1]).
  std::vector<std::size_t> firsts{0};
  double multiplications = 0;
  for (std::size_t i = 0; i < stage.linears.size(); ++i) {
    const PackedLinear& packed = stage.linears[i].packed;
    if (!is_float) views.push_back(view_for(stage.linears[i], i, tokens, input));
    const Residual* residual = stage.linears[i].residual.get();
    if (residual != nullptr && is_float) gathered[i] = gather_floats(*residual, x, x_stride, tokens, input.gathered[i]);
    if (residual != nullptr && !is_float)
      residual_views[i] = gather_quantized(*residual, input.rows.data(), width, input.scales.data(), tokens,
                                           input.gathered[i]);
    firsts.push_back(firsts.back() + packed.row_groups);
    const double plane_columns = static_cast<double>(in) * packed.plane_count +
                                 static_cast<double>(residual == nullptr ? 0 : residual->columns.size());
    multiplications += static_cast<double>(packed.row_groups * kRowsPerGroup) * static_cast<double>(tokens) *
                       (is_float ? 8.0 * static_cast<double>(in) : plane_columns);
  }
  parallel_for(firsts.back(), row_groups_per_task(firsts.back(), multiplications),
               [&](std::size_t begin, std::size_t end) {
                 for (std::size_t i = 0; i < stage.linears.size(); ++i) {
                   const std::size_t from = std::max(begin, firsts[i]), to = std::min(end, firsts[i + 1]);
                   if (from >= to) continue;
                   const Linear& linear = stage.linears[i];
                   if (is_float) {
                     multiply_expanded(kernels, linear, x, x_stride, gathered[i], tokens, from - firsts[i],
                                       to - firsts[i], outputs[i], strides[i]);
                   } else {
                     const auto kernel = linear.packed.layout == LinearLayout::grid ? kernels.grid : kernels.structured;
                     kernel(linear.packed, views[i], from - firsts[i], to - firsts[i], outputs[i], strides[i], nullptr);
                     if (linear.residual)
                       kernels.grid(linear.residual->packed, residual_views[i], from - firsts[i], to - firsts[i],
                                    outputs[i], strides[i], nullptr);
                   }
                   if (linear.row_scale.size() > 0)
                     scale_rows(linear, tokens, from - firsts[i], to - firsts[i], outputs[i], strides[i]);
                 }
               });
}

void multiply_table(const KernelTable& kernels, const Table& table, const float* x, std::size_t x_stride,
                    std::size_t tokens, std::size_t begin, std::size_t end, float* y, std::size_t y_stride) {
  constexpr std::size_t kTileValues = kColumnsPerBlock * kRowsPerGroup;
  alignas(64) float tiles[kExpandedRowGroups * kTileValues];
  for (std::size_t group = begin; group < end; group += kExpandedRowGroups) {
    const std::size_t groups = std::min(kExpandedRowGroups, end - group);
    for (std::size_t column = 0; column < table.columns; column += kColumnsPerBlock) {
      const std::size_t depth = std::min(kColumnsPerBlock, table.columns - column);
      for (std::size_t g = 0; g < groups; ++g)
        kernels.expand_table(table, group + g, column, depth, tiles + g * kTileValues);
      kernels.multiply(x + column, x_stride, tokens, depth, tiles, kRowsPerGroup, kTileValues, groups,
                       y + (group - begin) * kRowsPerGroup, y_stride, column > 0);
    }
  }
}

}  // namespace dbell
