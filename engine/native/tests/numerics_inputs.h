#pragma once
// Seeded inputs and checks for the native tests of the quantization numerics.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "check.h"

namespace dbell::numerics_test {

/// Numbers in [-1, 1) (xorshift).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 2654435769u + 88172645463325252u) {}
  double next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<double>(state_ >> 11) / 4503599627370496.0 - 1.0;
  }

 private:
  std::uint64_t state_;
};

inline std::vector<float> random_weight(std::size_t rows, std::size_t columns, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> weight(rows * columns);
  for (float& value : weight) value = static_cast<float>(0.1 * (random.next() + random.next() + random.next()));
  return weight;
}

/// XᵀX of `tokens` correlated random inputs, `[size, size]`.
inline std::vector<double> random_hessian(std::size_t size, std::size_t tokens, std::uint64_t seed) {
  Random random(seed);
  std::vector<double> hessian(size * size), input(size);
  for (std::size_t token = 0; token < tokens; ++token) {
    double carried = 0;
    for (double& value : input) value = carried = 0.5 * carried + random.next();
    for (std::size_t i = 0; i < size; ++i)
      for (std::size_t j = 0; j < size; ++j) hessian[i * size + j] += input[i] * input[j];
  }
  return hessian;
}

/// Rows, one after another, that broke other quantizers: constants, zeros of both signs, subnormals, a giant among dwarfs, the edge of float32.
inline std::vector<float> hostile_rows(std::size_t width) {
  std::vector<float> rows;
  const auto add = [&](auto of) {
    for (std::size_t j = 0; j < width; ++j) rows.push_back(of(j));
  };
  for (const float constant : {0.0f, -0.0f, 5.0f, -5.0f, 1e-7f, 1e-39f, 1e6f}) add([=](std::size_t) { return constant; });
  add([=](std::size_t j) { return j == width / 2 ? 1e3f : 1e-6f; });
  add([](std::size_t j) { return j % 2 == 0 ? 0.25f : -0.25f; });
  add([](std::size_t j) { return j % 2 == 0 ? 3e38f : -3e38f; });
  return rows;
}

}  // namespace dbell::numerics_test
