// Keys and values read back from the cache, beside plain rounding, for every type, instruction set and odd head sizes.
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "common/half.h"
#include "cpu/kernel_choice.h"
#include "packing.h"
#include "runtime/error.h"
#include "runtime/key_value_cache.h"
#include "runtime/model.h"

using namespace dbell;
using namespace dbell_test;

namespace {

/// What a vector is after it was stored.
std::vector<float> rounded(CacheType type, const std::vector<float>& x) {
  std::vector<float> result = x;
  if (type == CacheType::float16) {
    for (float& value : result) value = half_to_float(float_to_half(value));
  } else if (type == CacheType::int8) {
    float largest = 0;
    for (const float value : x) largest = std::fmax(largest, std::fabs(value));
    const float step = largest == 0 ? 1.0f : largest / 127.0f;
    for (float& value : result) value = step * std::nearbyint(value / step);
  }
  return result;
}

void check_round_trip(Random& random, const KernelTable& kernels, CacheType type) {
  const std::size_t heads = 1 + random.below(3), head_size = 1 + random.below(70), value_size = padded(head_size);
  CacheSegment segment(type, heads, head_size);
  const std::size_t positions = 1 + random.below(kPositionsPerSegment);
  std::vector<std::vector<float>> keys, values;
  for (std::size_t position = 0; position < positions; ++position) {
    for (std::size_t head = 0; head < heads; ++head) {
      std::vector<float> key(head_size), value(head_size);
      const float size = std::exp2(static_cast<float>(random.below(24)) - 12.0f);
      for (float& each : key) each = size * random.uniform();
      for (float& each : value) each = size * random.uniform();
      if (random.below(20) == 0) std::fill(key.begin(), key.end(), 0.0f);
      segment.store(kernels, head, position, key.data(), value.data());
      keys.push_back(rounded(type, key));
      values.push_back(rounded(type, value));
    }
  }
  const std::size_t tiles = (positions + kKeysPerTile - 1) / kKeysPerTile;
  std::vector<float> scratch(kPositionsPerSegment * value_size);
  for (std::size_t head = 0; head < heads; ++head) {
    const float* stored_keys = segment.keys(kernels, head, tiles, scratch.data());
    for (std::size_t position = 0; position < positions; ++position) {
      for (std::size_t i = 0; i < head_size; ++i) {
        const float stored =
            stored_keys[(position / kKeysPerTile * head_size + i) * kKeysPerTile + position % kKeysPerTile];
        CHECK(stored == keys[position * heads + head][i], "%s type %d: key %g is %g", kernels.name,
              static_cast<int>(type), static_cast<double>(keys[position * heads + head][i]),
              static_cast<double>(stored));
      }
    }
    const float* stored_values = segment.values(kernels, head, positions, scratch.data());
    for (std::size_t position = 0; position < positions; ++position) {
      for (std::size_t i = 0; i < value_size; ++i) {
        const float expected = i < head_size ? values[position * heads + head][i] : 0.0f;
        CHECK(stored_values[position * value_size + i] == expected, "%s type %d: value %g", kernels.name,
              static_cast<int>(type), static_cast<double>(expected));
      }
    }
  }
}

void check_bytes() {
  const std::size_t values = 3 * kPositionsPerSegment * 64;
  CHECK(CacheSegment(CacheType::float32, 3, 64).bytes() == 2 * values * 4, "bytes of float32");
  CHECK(CacheSegment(CacheType::float16, 3, 64).bytes() == 2 * values * 2, "bytes of float16");
  CHECK(CacheSegment(CacheType::int8, 3, 64).bytes() == 2 * (values + 3 * kPositionsPerSegment * 4), "bytes of int8");
}

void check_extremes(const KernelTable& kernels) {
  std::vector<float> scratch(kPositionsPerSegment * 16);
  const std::vector<float> good(16, 1.0f);
  for (const float largest : {65504.0f, 65519.0f, -65504.0f}) {
    CacheSegment segment(CacheType::float16, 1, 16);
    std::vector<float> large = good;
    large[3] = largest;
    segment.store(kernels, 0, 0, large.data(), good.data());
    CHECK(std::fabs(segment.keys(kernels, 0, 1, scratch.data())[3 * kKeysPerTile]) == 65504.0f, "largest float16");
  }
  for (const float too_large : {65520.0f, -1e30f}) {
    CacheSegment segment(CacheType::float16, 1, 16);
    std::vector<float> large = good;
    large[3] = too_large;
    bool refused = false;
    try {
      segment.store(kernels, 0, 0, good.data(), large.data());
    } catch (const RuntimeError& error) {
      refused = std::string(error.what()).find("65504") != std::string::npos;
    }
    CHECK(refused, "%g was taken as float16", static_cast<double>(too_large));
  }
  for (const CacheType type : {CacheType::float32, CacheType::float16, CacheType::int8}) {
    for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
      CacheSegment segment(type, 1, 16);
      std::vector<float> broken = good;
      broken[3] = bad;
      segment.store(kernels, 0, 0, broken.data(), good.data());
      CHECK(!std::isfinite(segment.keys(kernels, 0, 1, scratch.data())[3 * kKeysPerTile]),
            "type %d makes a number of what is none", static_cast<int>(type));
    }
  }
}

}  // namespace

int main() {
  Random random;
  for (const KernelTable* kernels : available_kernels()) {
    for (int round = 0; round < 40; ++round) {
      for (const CacheType type : {CacheType::float32, CacheType::float16, CacheType::int8})
        check_round_trip(random, *kernels, type);
    }
    check_extremes(*kernels);
  }
  check_bytes();
  return 0;
}
