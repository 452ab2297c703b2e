#pragma once
// Linears of random codes through every kernel table that this machine can run, against plain formulas: integers exactly, floats of the integer path
// bit for bit between the tables and within rounding of float64 sums, expanded weights exactly.
#include <cmath>
#include <cstring>
#include <string>

#include "cpu/kernel_choice.h"
#include "packing.h"

namespace dbell_test {

using dbell::KernelTable;
using dbell::LinearLayout;

constexpr float kUntouched = 12345.0f;

struct Result {
  Exact<float> y;
  Exact<std::int32_t> integers;
};

/// `by_sum_tables`: with the tables that the set makes of the activations.
inline Result run(const KernelTable& kernels, const TestLinear& linear, const TestActivations& activations,
                  bool by_sum_tables = false) {
  const std::size_t stride = linear.packed.row_groups * 16, blocks = linear.packed.blocks;
  const std::size_t per_block =
      linear.packed.layout == LinearLayout::grid ? dbell::kGridIntegers : dbell::kStructuredIntegers;
  Result result;
  result.y = Exact<float>(activations.tokens * stride);
  result.integers = Exact<std::int32_t>(activations.tokens * stride * blocks * per_block);
  const auto function = linear.packed.layout == LinearLayout::grid ? kernels.grid : kernels.structured;
  dbell::QuantizedActivations view = activations.view;
  Exact<std::uint8_t> tables;
  Exact<std::int32_t> least;
  if (by_sum_tables) {
    tables = Exact<std::uint8_t>(blocks * dbell::kLinesPerBlock * dbell::kLineSumTableBytes);
    least = Exact<std::int32_t>(blocks);
    kernels.make_sum_tables(view.values, blocks, tables.values, least.values);
    view.sum_tables = tables.values;
    view.least_sums = least.values;
  }
  // In two calls, as threads would.
  const std::size_t middle = linear.packed.row_groups / 2;
  function(linear.packed, view, 0, middle, result.y.values, stride, result.integers.values);
  function(linear.packed, view, middle, linear.packed.row_groups, result.y.values, stride, result.integers.values);
  return result;
}

/// Both results have the same integers and the same floats, bit for bit.
inline void check_same(const char* name, const TestLinear& linear, std::size_t tokens, const Result& result,
                       const Result& reference) {
  CHECK(std::memcmp(result.integers.values, reference.integers.values,
                    reference.integers.count * sizeof(std::int32_t)) == 0,
        "%s %zux%zu levels %d tokens %zu: integers differ", name, linear.out, linear.in, linear.packed.levels, tokens);
  CHECK(std::memcmp(result.y.values, reference.y.values, reference.y.count * sizeof(float)) == 0,
        "%s %zux%zu levels %d tokens %zu: floats differ from the reference", name, linear.out, linear.in,
        linear.packed.levels, tokens);
}

/// Integers by the definition, from the codes; structured: ordinary A, B, AB, salient A, B, AB.
inline void check_integers(const char* name, const TestLinear& linear, const TestActivations& activations,
                           const Result& result) {
  const dbell::PackedLinear& p = linear.packed;
  for (std::size_t t = 0; t < activations.tokens; ++t) {
    for (std::size_t i = 0; i < linear.out; ++i) {
      double y = linear.bias[i], magnitude = std::fabs(linear.bias[i]);
      for (std::size_t block = 0; block < p.blocks; ++block) {
        long expected[6] = {}, block_sum = 0;
        for (std::size_t j = 128 * block; j < linear.in && j < 128 * (block + 1); ++j) {
          const long x = activations.rows[t * linear.in + j], code = linear.codes[i * linear.in + j];
          block_sum += x;
          y += static_cast<double>(activations.step(t, block)) * static_cast<double>(weight(linear, i, j)) *
               static_cast<double>(x);
          magnitude +=
              std::fabs(static_cast<double>(activations.step(t, block)) * weight(linear, i, j) * static_cast<double>(x));
          if (p.layout == LinearLayout::grid) {
            expected[0] += 2 * code * x;
          } else {
            const std::size_t base = linear.salient[j] ? 3 : 0;
            expected[base] += code & 1 ? x : 0;
            expected[base + 1] += code & 2 ? x : 0;
            expected[base + 2] += code == 3 ? x : 0;
          }
        }
        const std::size_t count = p.layout == LinearLayout::grid ? 1 : 6;
        if (p.layout == LinearLayout::grid) expected[0] -= (p.levels - 1) * block_sum;
        for (std::size_t k = 0; k < count; ++k) {
          const long got = result.integers[((t * p.row_groups * 16 + i) * p.blocks + block) * count + k];
          CHECK(got == expected[k], "%s %zux%zu levels %d token %zu row %zu block %zu sum %zu: %ld, not %ld", name,
                linear.out, linear.in, p.levels, t, i, block, k, got, expected[k]);
        }
      }
      const double got = result.y[t * p.row_groups * 16 + i];
      CHECK(std::fabs(got - y) <= 1e-6 * magnitude + 1e-12, "%s %zux%zu levels %d token %zu row %zu: y %.9g, not %.9g",
            name, linear.out, linear.in, p.levels, t, i, got, y);
    }
  }
}

/// A random linear of every kernel table against the definition: integers, floats, expanded weights.
inline void check_linear(Random& random, LinearLayout layout, std::size_t out, std::size_t in, int levels, bool offsets,
                         std::size_t tokens, Fill fill, bool is_base3 = false) {
  TestLinear linear = make_linear(random, layout, out, in, levels, offsets);
  if (is_base3) store_base3(linear);
  const TestActivations activations = make_activations(random, linear, tokens, fill);
  const Result reference = run(dbell::generic_kernels(), linear, activations);
  check_integers("generic", linear, activations, reference);
  for (const KernelTable* kernels : dbell::available_kernels()) {
    check_same(kernels->name, linear, tokens, run(*kernels, linear, activations), reference);
    if (kernels->make_sum_tables != nullptr && tokens == 1)
      check_same((std::string(kernels->name) + " by tables of sums").c_str(), linear, tokens,
                 run(*kernels, linear, activations, true), reference);
    for (std::size_t group = 0; group < linear.packed.row_groups; ++group) {
      for (std::size_t block = 0; block < linear.packed.blocks; ++block) {
        Exact<float> tile(128 * 16);
        for (std::size_t i = 0; i < tile.count; ++i) tile[i] = kUntouched;
        kernels->expand(linear.packed, group, block, linear.mask.values ? linear.mask.values + 16 * block : nullptr,
                        tile.values);
        for (std::size_t k = 0; k < 128; ++k) {
          for (std::size_t row = 0; row < 16; ++row) {
            const std::size_t i = 16 * group + row, j = 128 * block + k;
            CHECK(std::isfinite(tile[k * 16 + row]) && tile[k * 16 + row] != kUntouched, "%s: tile not filled",
                  kernels->name);
            if (i < out && j < in) {
              CHECK(tile[k * 16 + row] == weight(linear, i, j), "%s %zux%zu: expanded weight %zu, %zu is %g, not %g",
                    kernels->name, out, in, i, j, static_cast<double>(tile[k * 16 + row]),
                    static_cast<double>(weight(linear, i, j)));
            }
          }
        }
      }
    }
  }
}

}  // namespace dbell_test
