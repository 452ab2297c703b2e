#include "runtime/kernel_timing.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "common/base3_packing.h"
#include "common/half.h"
#include "common/plane_packing.h"
#include "common/thread_pool.h"
#include "runtime/grid_shape.h"
#include "runtime/stage.h"

namespace dbell {
namespace {

/// xorshift32.
struct Words {
  std::uint32_t state = 88172645;
  std::uint32_t next() {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
  }
};

std::size_t padded_to_line(std::size_t bytes) { return ceil_div(bytes, kLineBytes) * kLineBytes; }

}  // namespace

KernelTiming time_grid_kernel(const KernelTable& kernels, int levels, bool is_base3, std::size_t rows,
                              std::size_t columns, std::size_t tokens, std::size_t total_bytes, int passes) {
  PackedLinear shape = make_grid(rows, columns, levels);
  const std::size_t code_bytes =
      is_base3 ? packed_base3_bytes(rows, columns) : packed_plane_bytes(rows, columns, shape.plane_count);
  if (is_base3) shape.base3_group_bytes = code_bytes / shape.row_groups;
  const std::size_t scale_count = shape.row_groups * shape.blocks * kRowsPerGroup;
  const std::size_t code_stride = padded_to_line(code_bytes), scale_stride = padded_to_line(2 * scale_count) / 2;
  KernelTiming timing;
  timing.bytes = code_bytes + 2 * scale_count;
  timing.matrices = std::max<std::size_t>(1, total_bytes / timing.bytes);
  timing.threads = thread_count();

  Words words;
  AlignedBuffer<std::uint8_t> codes(timing.matrices * code_stride);
  AlignedBuffer<std::uint16_t> scales(timing.matrices * scale_stride);
  {
    std::vector<std::uint8_t> plain(rows * columns);
    for (auto& code : plain) code = static_cast<std::uint8_t>(words.next() % static_cast<std::uint32_t>(levels));
    if (is_base3) pack_base3(plain.data(), rows, columns, codes.data());
    else pack_planes(plain.data(), rows, columns, shape.plane_count, codes.data());
  }
  for (std::size_t i = 0; i < scale_count; ++i) scales[i] = float_to_half(0.01f);
  parallel_for(timing.matrices - 1, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t matrix = begin + 1; matrix < end + 1; ++matrix) {
      std::copy_n(codes.data(), code_bytes, codes.data() + matrix * code_stride);
      std::copy_n(scales.data(), scale_count, scales.data() + matrix * scale_stride);
    }
  });
  AlignedBuffer<float> bias(shape.row_groups * kRowsPerGroup), y(tokens * shape.row_groups * kRowsPerGroup);
  shape.bias = bias.data();

  // Steps by block, as grids have them.
  StageInput input;
  input.values.resize(shape.blocks * tokens * kColumnsPerBlock);
  input.block_sums.resize(shape.blocks * tokens);
  input.scales.resize(tokens);
  input.block_scales.resize(shape.blocks * tokens);
  std::fill_n(input.block_scales.data(), shape.blocks * tokens, 0.01f);
  for (std::size_t t = 0; t < tokens; ++t) {
    input.scales[t] = 1.0f;
    for (std::size_t column = 0; column < columns; ++column) {
      const std::size_t at = column / kColumnsPerBlock * tokens + t;
      const auto value = static_cast<std::int8_t>(static_cast<int>(words.next() % 255) - 127);
      input.values[at * kColumnsPerBlock + column % kColumnsPerBlock] = value;
      input.block_sums[at] += value;
    }
  }
  const double multiplications = static_cast<double>(rows) * static_cast<double>(columns) *
                                 static_cast<double>(tokens) * static_cast<double>(shape.plane_count);
  const std::size_t per_task = row_groups_per_task(shape.row_groups, multiplications);
  timing.seconds = std::numeric_limits<double>::infinity();
  for (int pass = 0; pass < passes; ++pass) {
    const auto started_at = std::chrono::steady_clock::now();
    for (std::size_t matrix = 0; matrix < timing.matrices; ++matrix) {
      PackedLinear linear = shape;
      if (is_base3) linear.base3 = codes.data() + matrix * code_stride;
      else linear.planes = codes.data() + matrix * code_stride;
      linear.scales = scales.data() + matrix * scale_stride;
      // As a stage does: once for all of a matrix's rows, which counts.
      if (uses_sum_tables(linear)) make_sum_tables(kernels, shape.blocks, tokens, input);
      const QuantizedActivations activations = grid_view(input, tokens);
      parallel_for(shape.row_groups, per_task, [&](std::size_t begin, std::size_t end) {
        kernels.grid(linear, activations, begin, end, y.data(), shape.row_groups * kRowsPerGroup, nullptr);
      });
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started_at;
    timing.seconds = std::min(timing.seconds, took.count() / static_cast<double>(timing.matrices));
  }
  return timing;
}

}  // namespace dbell
