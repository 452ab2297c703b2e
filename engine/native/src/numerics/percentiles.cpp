#include "numerics/percentiles.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace dbell::numerics {

void sort_magnitudes(std::vector<float>& values) {
  // Bits of floats ≥ 0 are in the order of the values. Three digits of 11 bits cover 32.
  constexpr int digit_bits = 11;
  constexpr std::uint32_t digits = 1u << digit_bits;
  std::vector<float> other(values.size());
  for (int shift = 0; shift < 32; shift += digit_bits) {
    const auto digit = [shift](float value) {
      std::uint32_t bits;
      std::memcpy(&bits, &value, sizeof bits);
      return (bits >> shift) & (digits - 1);
    };
    std::array<std::size_t, digits> at{};
    for (const float value : values) ++at[digit(value)];
    std::size_t sum = 0;
    for (std::size_t& count : at) {
      const std::size_t here = count;
      count = sum;
      sum += here;
    }
    for (const float value : values) other[at[digit(value)]++] = value;
    values.swap(other);
  }
}

float quantile_of_sorted(const std::vector<float>& values, std::size_t zeros, double fraction) {
  const std::size_t count = zeros + values.size();
  const double position = fraction * static_cast<double>(count - 1);
  const double below = std::floor(position);
  const auto value_at = [&](std::size_t index) {
    return index < zeros ? 0.0 : static_cast<double>(values[index - zeros]);
  };
  const std::size_t index = std::min(static_cast<std::size_t>(below), count - 1);
  const double low = value_at(index), high = value_at(std::min(index + 1, count - 1));
  // Equal neighbours may both be infinite.
  return static_cast<float>(low == high ? low : low + (high - low) * (position - below));
}

}  // namespace dbell::numerics
