// Every kernel table that this machine can run against plain formulas: integers exactly, floats of the integer path bit
// for bit between the tables and within rounding of float64 sums, the float path within rounding.
#include <cstring>
#include <limits>
#include <string>

#include "cpu/kernel_choice.h"
#include "kernel_checks.h"

using namespace dbell_test;
using dbell::KernelTable;
using dbell::LinearLayout;

namespace {

void check_linears() {
  Random random;
  const std::size_t shapes[][2] = {{1, 1},    {1, 129},  {16, 128}, {17, 31}, {15, 33},
                                   {33, 200}, {48, 256}, {40, 97},  {64, 1},  {5, 640}};
  const Fill fills[] = {Fill::random, Fill::highest, Fill::lowest, Fill::alternating, Fill::zero};
  for (const auto& shape : shapes) {
    for (const int levels : {2, 3, 4, 8, 16, 29, 64, 100, 256}) {
      const std::size_t tokens = 1 + random.below(19);
      check_linear(random, LinearLayout::grid, shape[0], shape[1], levels, random.below(2) == 0, tokens,
                   fills[random.below(5)]);
      check_linear(random, LinearLayout::grid, shape[0], shape[1], levels, random.below(2) == 0, 1,
                   fills[random.below(5)]);
    }
    for (int repeat = 0; repeat < 4; ++repeat) {
      check_linear(random, LinearLayout::structured, shape[0], shape[1], 4, false, 1 + random.below(19),
                   fills[random.below(5)]);
      check_linear(random, LinearLayout::structured, shape[0], shape[1], 4, false, 1, fills[random.below(5)]);
    }
  }
  // By tables of sums: row groups left over, more of them and more blocks than are held at once.
  const std::size_t long_shapes[][2] = {{256, 128}, {300, 97}, {257, 1}, {336, 640}, {1100, 40}, {1090, 4200}};
  for (const auto& shape : long_shapes) {
    for (const Fill fill : fills) {
      for (const int levels : {2, 3, 4})
        check_linear(random, LinearLayout::grid, shape[0], shape[1], levels, random.below(2) == 0, 1, fill);
      if (shape[0] * shape[1] < 1000000) check_linear(random, LinearLayout::structured, shape[0], shape[1], 4, false, 1, fill);
    }
  }
  // The largest sums there are, and more tokens than one pass takes.
  for (const Fill fill : {Fill::highest, Fill::lowest, Fill::random}) {
    check_linear(random, LinearLayout::grid, 16, 256, 256, true, 3, fill);
    check_linear(random, LinearLayout::grid, 20, 130, 2, false, dbell::kTokensPerPass + 5, fill);
    check_linear(random, LinearLayout::structured, 20, 130, 4, false, dbell::kTokensPerPass + 3, fill);
  }
}

void check_multiply() {
  Random random;
  for (int repeat = 0; repeat < 60; ++repeat) {
    const std::size_t tokens = 1 + random.below(30), depth = random.below(140), panels = 1 + random.below(7);
    const std::size_t lda = depth + random.below(3), ldb = 16 + 16 * random.below(2), panel_stride = depth * ldb;
    const bool accumulate = random.below(2) == 0;
    Exact<float> a(tokens == 0 ? 0 : (tokens - 1) * lda + depth), b(panels * panel_stride), start(tokens * panels * 16);
    // Short numbers too: their products and sums often lie on the border between two floats, or beside it.
    const bool is_short = repeat % 3 == 0;
    const auto next = [&](float unit) { return is_short ? std::nearbyint(random.uniform() * 4096.0f) * unit : random.uniform(); };
    for (std::size_t i = 0; i < a.count; ++i) a[i] = next(1.0f / 4096);
    for (std::size_t i = 0; i < b.count; ++i) b[i] = random.below(5) == 0 ? next(1e-9f) : next(1.0f / 4096);
    for (std::size_t i = 0; i < start.count; ++i) start[i] = next(1.0f / 512);
    for (const KernelTable* kernels : dbell::available_kernels()) {
      Exact<float> c(start.count), single(start.count);
      for (std::size_t i = 0; i < c.count; ++i) c[i] = single[i] = start[i];
      kernels->multiply(a.values, lda, tokens, depth, b.values, ldb, panel_stride, panels, c.values, panels * 16,
                        accumulate);
      for (std::size_t t = 0; t < tokens; ++t) {
        kernels->multiply(a.values + t * lda, lda, 1, depth, b.values, ldb, panel_stride, panels,
                          single.values + t * panels * 16, panels * 16, accumulate);
        for (std::size_t i = 0; i < panels * 16; ++i) {
          double sum = accumulate ? static_cast<double>(start[t * panels * 16 + i]) : 0.0;
          for (std::size_t k = 0; k < depth; ++k) {
            sum +=
                static_cast<double>(a[t * lda + k]) * static_cast<double>(b[i / 16 * panel_stride + k * ldb + i % 16]);
          }
          float fused = accumulate ? start[t * panels * 16 + i] : 0.0f;
          for (std::size_t k = 0; k < depth; ++k)
            fused = std::fma(a[t * lda + k], b[i / 16 * panel_stride + k * ldb + i % 16], fused);
          const float got = c[t * panels * 16 + i];
          CHECK(got == fused, "%s multiply: %.9g, not %.9g", kernels->name, static_cast<double>(got),
                static_cast<double>(fused));
          CHECK(std::fabs(got - sum) < 2e-5, "%s multiply: %g, not %g", kernels->name, static_cast<double>(got), sum);
          CHECK(got == single[t * panels * 16 + i], "%s multiply depends on the number of tokens", kernels->name);
        }
      }
    }
  }
}

/// Few, and every tenth time more than a pass takes.
std::size_t some_tokens(Random& random, int repeat) {
  return repeat % 10 == 9 ? dbell::kTokensPerPass + 1 + random.below(150) : 1 + random.below(5);
}

void check_tables() {
  Random random;
  for (int repeat = 0; repeat < 40; ++repeat) {
    const std::size_t rows = 1 + random.below(50), columns = 1 + random.below(150), groups = ceil_div(columns, 32),
                      width = groups * 32;
    const std::size_t row_groups = ceil_div(rows, 16), tokens = some_tokens(random, repeat);
    const bool is_extreme = random.below(3) == 0;
    Exact<std::int8_t> codes(rows * width), x(tokens * width);
    Exact<std::uint16_t> scales(rows * groups);
    Exact<float> token_scales(tokens);
    for (std::size_t i = 0; i < codes.count; ++i) {
      // −128 does not occur in our own files; a hostile one must still give exact sums.
      codes[i] = i % width < columns
                     ? static_cast<std::int8_t>(is_extreme ? -128 : static_cast<int>(random.below(256)) - 128)
                     : std::int8_t{0};
    }
    for (std::size_t i = 0; i < x.count; ++i) {
      x[i] = i % width < columns
                 ? static_cast<std::int8_t>(is_extreme ? 127 : static_cast<int>(random.below(255)) - 127)
                 : std::int8_t{0};
    }
    for (std::size_t i = 0; i < scales.count; ++i) scales[i] = dbell::float_to_half(random.uniform());
    for (std::size_t t = 0; t < tokens; ++t) token_scales[t] = random.uniform();
    const dbell::Table table = {dbell::TableType::q8, rows, columns, groups, codes.values, scales.values};
    const dbell::TableActivations activations = {tokens, x.values, token_scales.values, nullptr};
    const std::size_t stride = row_groups * 16;
    Exact<float> reference(tokens * stride);
    dbell::generic_kernels().table_q8(table, activations, 0, row_groups, reference.values, stride, nullptr);
    for (const KernelTable* kernels : dbell::available_kernels()) {
      Exact<float> y(tokens * stride);
      Exact<std::int32_t> integers(tokens * stride * groups);
      kernels->table_q8(table, activations, 0, row_groups, y.values, stride, integers.values);
      CHECK(std::memcmp(y.values, reference.values, y.count * sizeof(float)) == 0,
            "%s table_q8 differs from the reference", kernels->name);
      for (std::size_t t = 0; t < tokens; ++t) {
        for (std::size_t i = 0; i < rows; ++i) {
          for (std::size_t g = 0; g < groups; ++g) {
            int sum = 0;
            for (std::size_t j = 0; j < 32; ++j) sum += codes[i * width + g * 32 + j] * x[t * width + g * 32 + j];
            CHECK(integers[(t * stride + i) * groups + g] == sum, "%s table_q8 integer", kernels->name);
          }
        }
      }
    }
    // Float tables, both element types, with a part of the columns.
    Exact<std::uint16_t> halves(rows * columns);
    Exact<float> floats(rows * columns);
    for (std::size_t i = 0; i < halves.count; ++i) {
      halves[i] = dbell::float_to_half(random.uniform());
      floats[i] = dbell::half_to_float(halves[i]);
    }
    const std::size_t begin = random.below(columns),
                      count = 1 + random.below(columns - begin < 128 ? columns - begin : 128);
    for (const KernelTable* kernels : dbell::available_kernels()) {
      for (const bool is_half : {true, false}) {
        const dbell::Table float_table = {
            is_half ? dbell::TableType::f16 : dbell::TableType::f32,           rows,   columns, 0,
            is_half ? static_cast<const void*>(halves.values) : floats.values, nullptr};
        for (std::size_t group = 0; group < row_groups; ++group) {
          Exact<float> tile(count * 16);
          kernels->expand_table(float_table, group, begin, count, tile.values);
          for (std::size_t k = 0; k < count; ++k) {
            for (std::size_t row = 0; row < 16; ++row) {
              const std::size_t i = group * 16 + row;
              const float expected = i < rows ? floats[i * columns + begin + k] : 0.0f;
              CHECK(tile[k * 16 + row] == expected, "%s expand_table", kernels->name);
            }
          }
        }
      }
    }
  }
}

/// Tables of 6 and 4 bits: fields are packed here, one by one, as docs/format.md says.
void check_packed_tables() {
  Random random;
  for (int repeat = 0; repeat < 60; ++repeat) {
    const bool is_six = repeat % 2 == 0;
    const int bits = is_six ? 6 : 4, half = 1 << (bits - 1);
    const std::size_t rows = 1 + random.below(50), columns = 1 + random.below(150), groups = ceil_div(columns, 32),
                      width = groups * 32, row_groups = ceil_div(rows, 16), lines = is_six ? 6 : 4;
    const std::size_t tokens = some_tokens(random, repeat), stride = row_groups * 16;
    const int extreme = static_cast<int>(random.below(3));
    std::vector<int> codes(stride * width, -half);
    Exact<std::uint8_t> packed(row_groups * groups * lines * 64);
    std::memset(packed.values, 0, packed.count);
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < columns; ++j) {
        const int code = extreme == 0 ? -half : extreme == 1 ? half - 1 : static_cast<int>(random.below(1u << bits)) - half;
        codes[i * width + j] = code;
        const unsigned field = static_cast<unsigned>(code + half);
        std::uint8_t* first = packed.values + (i / 16 * groups + j / 32) * lines * 64 + 4 * (i % 16) + j % 4;
        const std::size_t k = j % 32;
        first[k % 16 / 4 * 64] = static_cast<std::uint8_t>(first[k % 16 / 4 * 64] | (field & 15u) << (k < 16 ? 0 : 4));
        if (is_six) {
          std::uint8_t& pair = first[(4 + k / 16) * 64];
          pair = static_cast<std::uint8_t>(pair | (field >> 4) << (2 * (k % 16 / 4)));
        }
      }
    }
    Exact<std::int8_t> x(tokens * width);
    Exact<std::int32_t> sums(tokens * groups);
    Exact<std::uint16_t> scales(row_groups * groups * 16);
    Exact<float> token_scales(tokens);
    for (std::size_t i = 0; i < x.count; ++i) {
      x[i] = i % width < columns
                 ? static_cast<std::int8_t>(extreme == 2 ? static_cast<int>(random.below(255)) - 127 : 127)
                 : std::int8_t{0};
    }
    for (std::size_t g = 0; g < tokens * groups; ++g) {
      sums[g] = 0;
      for (std::size_t j = 0; j < 32; ++j) sums[g] += x[g * 32 + j];
    }
    for (std::size_t i = 0; i < scales.count; ++i) scales[i] = dbell::float_to_half(random.uniform());
    for (std::size_t t = 0; t < tokens; ++t) token_scales[t] = random.uniform();
    const dbell::Table table = {is_six ? dbell::TableType::q6 : dbell::TableType::q4, rows, columns, groups,
                                packed.values, scales.values};
    const dbell::TableActivations activations = {tokens, x.values, token_scales.values, sums.values};
    Exact<float> reference(tokens * stride);
    dbell::generic_kernels().table_packed(table, activations, 0, row_groups, reference.values, stride, nullptr);
    for (const KernelTable* kernels : dbell::available_kernels()) {
      Exact<float> y(tokens * stride);
      Exact<std::int32_t> integers(tokens * stride * groups);
      kernels->table_packed(table, activations, 0, row_groups, y.values, stride, integers.values);
      CHECK(std::memcmp(y.values, reference.values, y.count * sizeof(float)) == 0,
            "%s table_packed differs from the reference", kernels->name);
      for (std::size_t t = 0; t < tokens; ++t) {
        for (std::size_t i = 0; i < stride; ++i) {
          for (std::size_t g = 0; g < groups; ++g) {
            int sum = 0;
            for (std::size_t j = 0; j < 32; ++j) sum += codes[i * width + g * 32 + j] * x[t * width + g * 32 + j];
            CHECK(integers[(t * stride + i) * groups + g] == sum, "%s table_packed integer", kernels->name);
          }
        }
      }
      // A part of the row groups alone gives the same.
      if (row_groups < 2) continue;
      const std::size_t part_stride = (row_groups - 1) * 16;
      Exact<float> part(tokens * part_stride);
      kernels->table_packed(table, activations, 1, row_groups, part.values, part_stride, nullptr);
      for (std::size_t t = 0; t < tokens; ++t) {
        for (std::size_t i = 0; i < part_stride; ++i)
          CHECK(part[t * part_stride + i] == reference[t * stride + 16 + i], "%s table_packed, part", kernels->name);
      }
    }
  }
}

void check_quantize() {
  Random random;
  for (int repeat = 0; repeat < 300; ++repeat) {
    const std::size_t count = 1 + random.below(70);
    const int limit = repeat % 3 == 0 ? 127 : repeat % 3 == 1 ? 31 : 7;
    Exact<float> x(count), column_scale(count);
    const float magnitude = std::pow(10.0f, random.uniform() * (repeat % 10 == 0 ? 44.0f : 4.0f));
    for (std::size_t j = 0; j < count; ++j) {
      x[j] = repeat % 7 == 0 ? 0.0f : random.uniform() * (std::isfinite(magnitude) ? magnitude : 1e30f);
      // Multiples of a half of the scale: ties.
      if (repeat % 5 == 0)
        x[j] =
            0.5f * static_cast<float>(static_cast<int>(random.below(2 * static_cast<std::size_t>(limit) + 1)) - limit);
      column_scale[j] = random.uniform() * 3.0f;
    }
    if (repeat % 5 == 0) x[0] = static_cast<float>(limit);
    const float* scales = repeat % 2 ? column_scale.values : nullptr;
    float largest = 0;
    for (std::size_t j = 0; j < count; ++j) largest = std::fmax(largest, std::fabs(scales ? scales[j] * x[j] : x[j]));
    float expected_scale = largest / static_cast<float>(limit);
    if (expected_scale == 0) expected_scale = 1;
    for (const KernelTable* kernels : dbell::available_kernels()) {
      Exact<std::int8_t> quantized(count);
      const float scale = kernels->quantize(x.values, scales, count, limit, quantized.values);
      CHECK(scale == expected_scale, "%s quantize scale %g, not %g", kernels->name, static_cast<double>(scale),
            static_cast<double>(expected_scale));
      for (std::size_t j = 0; j < count; ++j) {
        const float exact = std::nearbyint((scales ? scales[j] * x[j] : x[j]) / scale);
        const float clamped = std::fmin(std::fmax(exact, static_cast<float>(-limit)), static_cast<float>(limit));
        CHECK(quantized[j] == static_cast<int>(clamped), "%s quantize: %d, not %g", kernels->name, quantized[j],
              static_cast<double>(clamped));
      }
      const float saved = x[count - 1];
      for (const float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                              std::numeric_limits<float>::quiet_NaN()}) {
        x[count - 1] = bad;
        CHECK(kernels->quantize(x.values, nullptr, count, limit, quantized.values) < 0, "%s quantize takes %g",
              kernels->name, static_cast<double>(bad));
      }
      x[count - 1] = saved;
    }
  }
}

void check_exponentials() {
  Random random;
  for (const KernelTable* kernels : dbell::available_kernels()) {
    for (int repeat = 0; repeat < 200; ++repeat) {
      const std::size_t count = 1 + random.below(40);
      const float maximum = random.uniform() * 5;
      Exact<float> x(count), original(count);
      for (std::size_t j = 0; j < count; ++j) original[j] = x[j] = maximum + random.uniform() * 87.0f;
      original[0] = x[0] = -std::numeric_limits<float>::infinity();
      kernels->exponentials(x.values, count, maximum);
      Exact<float> reference(count);
      for (std::size_t j = 0; j < count; ++j) reference[j] = original[j];
      dbell::generic_kernels().exponentials(reference.values, count, maximum);
      CHECK(std::memcmp(x.values, reference.values, count * sizeof(float)) == 0, "%s exponentials differ from the reference",
            kernels->name);
      CHECK(x[0] == 0.0f, "%s exp(-inf) is %g", kernels->name, static_cast<double>(x[0]));
      for (std::size_t j = 1; j < count; ++j) {
        const double exact = std::exp(static_cast<double>(original[j] - maximum));
        CHECK(std::fabs(x[j] - exact) <= 2.4e-7 * exact, "%s exp(%g) is %g, not %g", kernels->name,
              static_cast<double>(original[j] - maximum), static_cast<double>(x[j]), exact);
      }
    }
  }
}

/// Every argument's bounds: what lies beyond them, and each power of two.
void check_exponential_bounds() {
  std::vector<float> arguments = {0.0f, -0.0f, 87.0f, 88.5f, 1e30f, -87.3f, -87.300003f, -1e30f, 1e-30f,
                                  std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()};
  for (int n = -126; n <= 126; ++n) {
    const float border = (static_cast<float>(n) + 0.5f) * 0.69314718f;
    for (const float value : {std::nextafter(border, -1000.0f), border, std::nextafter(border, 1000.0f)}) arguments.push_back(value);
  }
  for (const KernelTable* kernels : dbell::available_kernels()) {
    std::vector<float> x = arguments, reference = arguments;
    kernels->exponentials(x.data(), x.size(), 0.0f);
    dbell::generic_kernels().exponentials(reference.data(), reference.size(), 0.0f);
    CHECK(std::memcmp(x.data(), reference.data(), x.size() * sizeof(float)) == 0, "%s: bounds of exp", kernels->name);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const float v = arguments[i];
      const double exact = v < -87.3f ? 0.0 : std::exp(std::fmin(static_cast<double>(v), 87.0));
      CHECK(std::fabs(x[i] - exact) <= 2.4e-7 * exact && std::isnormal(1.0f / (1.0f + x[i])), "%s exp(%.9g) is %.9g",
            kernels->name, static_cast<double>(v), static_cast<double>(x[i]));
    }
  }
}

/// Segments of queries that see all, some, one or none of the positions, against the definition in float64 and, bit for
/// bit, against the reference.
void check_softmax() {
  Random random;
  constexpr std::size_t width = dbell::kPositionsPerSegment;
  for (const KernelTable* kernels : dbell::available_kernels()) {
    for (int repeat = 0; repeat < 200; ++repeat) {
      const std::size_t rows = 1 + random.below(9);
      Exact<dbell::SeenPositions> seen(rows);
      Exact<dbell::SoftmaxState> states(rows), reference_states(rows);
      Exact<float> factors(rows), reference_factors(rows), x(rows * width), reference(rows * width);
      std::vector<double> maxima(rows), totals(rows);
      for (std::size_t row = 0; row < rows; ++row) {
        states[row] = reference_states[row] = {};
        maxima[row] = -std::numeric_limits<double>::infinity();
        totals[row] = 0;
      }
      for (int segment = 0; segment < 3; ++segment) {
        const float spread = segment == 2 ? 200.0f : 5.0f;
        for (std::size_t row = 0; row < rows; ++row) {
          const unsigned kind = random.below(4);
          const std::size_t first = kind < 2 ? 0 : random.below(width), last = kind == 0 ? width : random.below(width + 1);
          seen[row] = {first, last};
        }
        for (std::size_t j = 0; j < x.count; ++j) x[j] = reference[j] = random.uniform() * spread;
        std::vector<float> scores(x.values, x.values + x.count);
        kernels->softmax(x.values, rows, seen.values, states.values, factors.values);
        dbell::generic_kernels().softmax(reference.values, rows, seen.values, reference_states.values,
                                         reference_factors.values);
        CHECK(std::memcmp(x.values, reference.values, x.count * sizeof(float)) == 0 &&
                  std::memcmp(factors.values, reference_factors.values, rows * sizeof(float)) == 0 &&
                  std::memcmp(states.values, reference_states.values, rows * sizeof(dbell::SoftmaxState)) == 0,
              "%s softmax differs from the reference", kernels->name);
        for (std::size_t row = 0; row < rows; ++row) {
          const double before = maxima[row];
          for (std::size_t j = seen[row].first; j < seen[row].last; ++j)
            maxima[row] = std::max(maxima[row], static_cast<double>(scores[row * width + j]));
          const bool sees_any = seen[row].first < seen[row].last;
          const double factor = sees_any ? std::exp(before - maxima[row]) : 1.0;
          totals[row] *= factor;
          for (std::size_t j = 0; j < width; ++j) {
            const bool is_seen = j >= seen[row].first && j < seen[row].last;
            const double share = is_seen ? std::exp(static_cast<double>(scores[row * width + j]) - maxima[row]) : 0.0;
            totals[row] += share;
            CHECK(std::fabs(x[row * width + j] - share) <= 1e-5 * share + 1e-37, "%s share is %g, not %g", kernels->name,
                  static_cast<double>(x[row * width + j]), share);
          }
          CHECK(std::fabs(factors[row] - factor) <= 1e-5 * factor + 1e-37, "%s factor is %g, not %g", kernels->name,
                static_cast<double>(factors[row]), factor);
          CHECK(std::fabs(states[row].total - totals[row]) <= 2e-5 * totals[row], "%s total is %g, not %g", kernels->name,
                static_cast<double>(states[row].total), totals[row]);
        }
      }
    }
  }
}

/// Every float16 that is a number, and steps times codes.
void check_expansions() {
  Random random;
  std::vector<std::uint16_t> halves;
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    if ((bits & 0x7FFF) <= 0x7C00) halves.push_back(static_cast<std::uint16_t>(bits));
  }
  halves.resize((halves.size() + 15) / 16 * 16);
  for (const KernelTable* kernels : dbell::available_kernels()) {
    Exact<float> expanded(halves.size());
    kernels->expand_halves(halves.data(), halves.size(), expanded.values);
    for (std::size_t i = 0; i < halves.size(); ++i) {
      const float exact = dbell::half_to_float(halves[i]);
      CHECK(std::memcmp(&exact, &expanded[i], sizeof exact) == 0, "%s: float16 %04x is %g", kernels->name, halves[i],
            static_cast<double>(expanded[i]));
    }
    for (int repeat = 0; repeat < 50; ++repeat) {
      const std::size_t rows = random.below(40);
      Exact<std::int8_t> codes(rows * 16);
      Exact<float> steps(16), out(rows * 16);
      for (std::size_t i = 0; i < rows * 16; ++i) codes[i] = static_cast<std::int8_t>(random.below(256) - 128);
      for (std::size_t i = 0; i < 16; ++i) steps[i] = random.uniform();
      kernels->expand_codes(codes.values, steps.values, rows, out.values);
      for (std::size_t i = 0; i < rows * 16; ++i)
        CHECK(out[i] == steps[i % 16] * static_cast<float>(codes[i]), "%s: code %d", kernels->name, codes[i]);
    }
  }
}

void check_choice() {
  // What this machine is known to have, where who runs the test knows it: none may be missing, and none run that it lacks.
  std::string available;
  for (const KernelTable* kernels : dbell::available_kernels()) {
    available += (available.empty() ? "" : " ") + std::string(kernels->name);
    setenv("DBELL_FORCE_ISA", kernels->name, 1);
    CHECK(&dbell::chosen_kernels() == kernels, "%s cannot be forced", kernels->name);
  }
  const char* expected = std::getenv("DBELL_EXPECTED_KERNELS");
  CHECK(expected == nullptr || available == expected, "there are \"%s\", not \"%s\"", available.c_str(), expected);
  unsetenv("DBELL_FORCE_ISA");
  CHECK(&dbell::chosen_kernels() == dbell::available_kernels().back(), "the fastest set is not taken");
  setenv("DBELL_FORCE_ISA", "avx9000", 1);
  bool is_refused = false;
  try {
    dbell::chosen_kernels();
  } catch (const std::exception&) {
    is_refused = true;
  }
  CHECK(is_refused, "an unknown instruction set is taken");
  unsetenv("DBELL_FORCE_ISA");
}

}  // namespace

int main() {
  check_choice();
  check_quantize();
  check_exponentials();
  check_softmax();
  check_expansions();
  check_exponential_bounds();
  check_multiply();
  check_tables();
  check_packed_tables();
  check_linears();
  for (const KernelTable* kernels : dbell::available_kernels()) std::printf("checked %s\n", kernels->name);
  return 0;
}
