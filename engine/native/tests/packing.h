#pragma once
// Test-side packer: makes linears in the stored layout (docs/format.md) from codes, without using anything of the
// runtime.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "common/half.h"
#include "kernels/kernel_table.h"

namespace dbell_test {

#define CHECK(condition, ...)                                                     \
  do {                                                                            \
    if (!(condition)) {                                                           \
      std::fprintf(stderr, "%s:%d: %s failed: ", __FILE__, __LINE__, #condition); \
      std::fprintf(stderr, __VA_ARGS__);                                          \
      std::fprintf(stderr, "\n");                                                 \
      std::exit(1);                                                               \
    }                                                                             \
  } while (0)

/// xorshift; the same numbers everywhere.
struct Random {
  std::uint64_t state = 88172645463325252ull;
  std::uint64_t next() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
  }
  std::size_t below(std::size_t bound) { return static_cast<std::size_t>(next() >> 11) % bound; }
  float uniform() { return static_cast<float>(next() >> 40) / 16777216.0f * 2.0f - 1.0f; }
};

/// A buffer that ends exactly where its values end, aligned to 64 bytes, so that the address sanitizer sees every read
/// past the end.
template <class T>
struct Exact {
  std::size_t count = 0;
  T* values = nullptr;
  Exact() = default;
  explicit Exact(std::size_t n) : count(n) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 64, n == 0 ? 1 : n * sizeof(T)) != 0) std::abort();
    values = static_cast<T*>(memory);
    for (std::size_t i = 0; i < n; ++i) values[i] = T{};
  }
  Exact(Exact&& other) noexcept : count(other.count), values(other.values) { other.values = nullptr; }
  Exact& operator=(Exact&& other) noexcept {
    std::free(values);
    count = other.count;
    values = other.values;
    other.values = nullptr;
    return *this;
  }
  Exact(const Exact&) = delete;
  Exact& operator=(const Exact&) = delete;
  ~Exact() { std::free(values); }
  T& operator[](std::size_t i) { return values[i]; }
  const T& operator[](std::size_t i) const { return values[i]; }
};

struct TestLinear {
  std::size_t out = 0, in = 0;
  std::vector<std::uint8_t> codes;    // [out, in]
  std::vector<std::uint8_t> salient;  // [in]
  Exact<std::uint8_t> planes, mask;   // mask: [blocks, 16]
  Exact<std::uint8_t> base3;
  Exact<std::uint16_t> scales, offsets, structured_values;
  Exact<float> bias;
  dbell::PackedLinear packed{};
};

inline std::size_t ceil_div(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

inline TestLinear make_linear(Random& random, dbell::LinearLayout layout, std::size_t out, std::size_t in, int levels,
                              bool with_offsets) {
  TestLinear linear;
  linear.out = out;
  linear.in = in;
  dbell::PackedLinear& p = linear.packed;
  p.layout = layout;
  p.out_features = out;
  p.in_features = in;
  p.row_groups = ceil_div(out, 16);
  p.lines = ceil_div(in, 32);
  p.blocks = ceil_div(in, 128);
  p.levels = layout == dbell::LinearLayout::grid ? levels : 4;
  p.plane_count = 0;
  while ((1 << p.plane_count) < p.levels) ++p.plane_count;
  const std::size_t planes = static_cast<std::size_t>(p.plane_count);
  linear.codes.resize(out * in);
  for (auto& code : linear.codes) code = static_cast<std::uint8_t>(random.below(static_cast<std::size_t>(p.levels)));
  linear.planes = Exact<std::uint8_t>(p.row_groups * p.lines * planes * 64);
  for (std::size_t i = 0; i < out; ++i) {
    for (std::size_t j = 0; j < in; ++j) {
      for (std::size_t plane = 0; plane < planes; ++plane) {
        const std::size_t line = ((i / 16) * p.lines + j / 32) * planes + plane;
        const unsigned bit = (linear.codes[i * in + j] >> plane) & 1u;
        linear.planes[line * 64 + 4 * (i % 16) + j % 4] |= static_cast<std::uint8_t>(bit << (j % 32 / 4));
      }
    }
  }
  p.planes = linear.planes.values;
  const std::size_t table = p.row_groups * p.blocks * 16;
  if (layout == dbell::LinearLayout::grid) {
    linear.scales = Exact<std::uint16_t>(table);
    for (std::size_t i = 0; i < table; ++i) linear.scales[i] = dbell::float_to_half(random.uniform() * 0.1f);
    p.scales = linear.scales.values;
    if (with_offsets) {
      linear.offsets = Exact<std::uint16_t>(table);
      for (std::size_t i = 0; i < table; ++i) linear.offsets[i] = dbell::float_to_half(random.uniform() * 0.1f);
      p.offsets = linear.offsets.values;
    }
  } else {
    linear.structured_values = Exact<std::uint16_t>(table * 7);
    for (std::size_t i = 0; i < table * 7; ++i)
      linear.structured_values[i] = dbell::float_to_half(random.uniform() * 0.1f);
    p.structured_values = linear.structured_values.values;
    linear.salient.resize(in);
    linear.mask = Exact<std::uint8_t>(p.blocks * 16);
    const std::size_t rarity = random.below(20);  // 0: none salient, 1: all
    for (std::size_t j = 0; j < in; ++j) {
      linear.salient[j] = rarity != 0 && random.below(rarity) == 0;
      linear.mask[j / 8] |= static_cast<std::uint8_t>(linear.salient[j] << (j % 8));
    }
  }
  linear.bias = Exact<float>(p.row_groups * 16);
  for (std::size_t i = 0; i < out; ++i) linear.bias[i] = random.uniform();
  p.bias = linear.bias.values;
  return linear;
}

/// Stores the codes of three levels in base 3 instead of planes, by the words of docs/format.md.
inline void store_base3(TestLinear& linear) {
  dbell::PackedLinear& p = linear.packed;
  std::size_t group_bytes = 0;
  for (std::size_t block = 0; block < p.blocks; ++block)
    group_bytes += 16 * ceil_div(block + 1 < p.blocks ? 128 : linear.in - 128 * block, 5);
  linear.base3 = Exact<std::uint8_t>(p.row_groups * group_bytes);
  const int powers[] = {1, 3, 9, 27, 81};
  for (std::size_t i = 0; i < linear.out; ++i) {
    for (std::size_t j = 0; j < linear.in; ++j) {
      const std::size_t block = j / 128, columns = block + 1 < p.blocks ? 128 : linear.in - 128 * block;
      const std::size_t strip = j % 128 / 20, k = j % 128 % 20, left = ceil_div(columns - 20 * strip, 5);
      const std::size_t t = left < 4 ? left : 4;
      const std::size_t at = i / 16 * group_bytes + 416 * block + 64 * strip + t * (i % 16) + k % t;
      linear.base3[at] = static_cast<std::uint8_t>(linear.base3[at] + powers[k / t] * linear.codes[i * linear.in + j]);
    }
  }
  p.base3 = linear.base3.values;
  p.base3_group_bytes = group_bytes;
  p.planes = nullptr;
}

/// Activations with their sums, in the layout of QuantizedActivations.
struct TestActivations {
  std::size_t tokens = 0;
  std::vector<std::int8_t> rows;  // [tokens, in]
  Exact<std::int8_t> values, salient_values;
  Exact<std::int32_t> sums, salient_sums;
  Exact<std::uint32_t> quads;
  Exact<float> scales, block_scales;
  dbell::QuantizedActivations view{};

  /// Step of token t in a block.
  float step(std::size_t t, std::size_t block) const {
    return scales[t] * block_scales[block * tokens + t];
  }
};

enum class Fill { random, highest, lowest, alternating, zero };

inline TestActivations make_activations(Random& random, const TestLinear& linear, std::size_t tokens, Fill fill) {
  TestActivations a;
  const std::size_t in = linear.in, blocks = linear.packed.blocks;
  a.tokens = tokens;
  a.rows.resize(tokens * in);
  a.values = Exact<std::int8_t>(blocks * tokens * 128);
  a.salient_values = Exact<std::int8_t>(blocks * tokens * 128);
  a.sums = Exact<std::int32_t>(blocks * tokens);
  a.salient_sums = Exact<std::int32_t>(blocks * tokens);
  a.quads = Exact<std::uint32_t>(blocks);
  a.scales = Exact<float>(tokens);
  // Grids have steps by token or by block.
  const bool by_block = linear.packed.layout == dbell::LinearLayout::grid && random.below(2) == 0;
  a.block_scales = Exact<float>(blocks * tokens);
  for (std::size_t i = 0; i < a.block_scales.count; ++i)
    a.block_scales[i] = !by_block ? 1.0f : 0.001f + 0.01f * std::fabs(random.uniform());
  for (std::size_t t = 0; t < tokens; ++t) {
    a.scales[t] = by_block ? 1.0f : 0.001f + 0.01f * std::fabs(random.uniform());
    for (std::size_t j = 0; j < in; ++j) {
      int x = static_cast<int>(random.below(255)) - 127;
      if (fill == Fill::highest) x = 127;
      if (fill == Fill::lowest) x = -127;
      if (fill == Fill::alternating) x = j % 2 ? 127 : -127;
      if (fill == Fill::zero) x = 0;
      a.rows[t * in + j] = static_cast<std::int8_t>(x);
      const std::size_t block = j / 128, at = (block * tokens + t) * 128 + j % 128;
      a.values[at] = static_cast<std::int8_t>(x);
      a.sums[block * tokens + t] += x;
      if (!linear.salient.empty() && linear.salient[j]) {
        a.salient_values[at] = static_cast<std::int8_t>(x);
        a.salient_sums[block * tokens + t] += x;
        a.quads[block] |= 1u << (j % 128 / 4);
      }
    }
  }
  a.view = {tokens,
            a.values.values,
            a.sums.values,
            a.scales.values,
            a.block_scales.values,
            a.salient_values.values,
            a.salient_sums.values,
            a.quads.values,
            nullptr,
            nullptr};
  return a;
}

/// Float weight from the definition (quantize/quantized-linear.ts), without the column scale.
inline float weight(const TestLinear& linear, std::size_t i, std::size_t j) {
  const dbell::PackedLinear& p = linear.packed;
  const std::size_t block = j / 128, at = ((i / 16) * p.blocks + block) * 16 + i % 16;
  const int code = linear.codes[i * linear.in + j];
  if (p.layout == dbell::LinearLayout::grid) {
    float w =
        dbell::half_to_float(linear.scales[at]) * (static_cast<float>(code) - 0.5f * static_cast<float>(p.levels - 1));
    if (p.offsets) w += dbell::half_to_float(linear.offsets[at]);
    return w;
  }
  float v[7];
  for (std::size_t k = 0; k < 7; ++k) {
    v[k] = dbell::half_to_float(linear.structured_values[(((i / 16) * p.blocks + block) * 7 + k) * 16 + i % 16]);
  }
  if (linear.salient[j]) {
    const float first = code & 1 ? v[4] + v[5] : v[4] - v[5];
    return code & 2 ? first + v[6] : first - v[6];
  }
  const float mean = code & 2 ? v[2] : v[0], scale = code & 2 ? v[3] : v[1];
  return code & 1 ? mean + scale : mean - scale;
}

}  // namespace dbell_test
