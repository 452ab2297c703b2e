// Vector functions. Wider registers than AVX2's gain nothing, so that the sets which have those call avx2's (table.cpp).
#include "kernels/exponential.h"
#include "kernels/lanes/lanes.h"
#include "kernels/vector/kernels.h"

#ifndef DBELL_AVX2_VECTORS
namespace dbell::DBELL_KERNEL_SET {
namespace {

/// c_j·x_j of up to kLanes elements, zero beyond.
DBELL_INLINE Floats load_scaled(const float* x, const float* column_scale, std::size_t left) {
  if (left >= kLanes) return column_scale ? multiply(load_floats(column_scale), load_floats(x)) : load_floats(x);
  float values[kLanes] = {};
  for (std::size_t i = 0; i < left; ++i) values[i] = column_scale ? column_scale[i] * x[i] : x[i];
  return load_floats(values);
}

}  // namespace

float quantize(const float* x, const float* column_scale, std::size_t count, int limit, std::int8_t* quantized) {
  const auto load = [&](std::size_t j) {
    return load_scaled(x + j, column_scale ? column_scale + j : nullptr, count - j);
  };
  // Magnitudes are compared as integers: those of infinities and NaN are larger than those of every number.
  Ints largest = zero_ints();
  for (std::size_t j = 0; j < count; j += kLanes)
    largest = larger(largest, and_ints(bits_of(load(j)), int_of(0x7FFFFFFF)));
  std::int32_t lanes[kLanes], largest_bits = 0;
  store_ints(lanes, largest);
  for (int i = 0; i < kLanes; ++i) largest_bits = lanes[i] > largest_bits ? lanes[i] : largest_bits;
  if (largest_bits >= 0x7F800000) return -1.0f;
  float absolute_maximum;
  std::memcpy(&absolute_maximum, &largest_bits, sizeof absolute_maximum);
  const float bound = static_cast<float>(limit);
  float scale = absolute_maximum / bound;
  if (scale == 0.0f) scale = 1.0f;
  const Floats divisor = float_of(scale), upper = float_of(bound), lower = float_of(-bound);
  for (std::size_t j = 0; j < count; j += kLanes) {
    const Ints integers = to_ints(larger(smaller(divide(load(j), divisor), upper), lower));
    std::int8_t bytes[kLanes];
    store_low_bytes(bytes, integers);
    std::memcpy(quantized + j, bytes, count - j < kLanes ? count - j : std::size_t{kLanes});
  }
  return scale;
}

void exponentials(float* x, std::size_t count, float maximum) {
  const Floats inverse_ln2 = float_of(kInverseLn2), ln2_high = float_of(kLn2High), ln2_low = float_of(kLn2Low);
  const Floats lowest = float_of(kLowestExponent), highest = float_of(kHighestExponent), one = float_of(1.0f);
  for (std::size_t j = 0; j < count; j += kLanes) {
    const std::size_t left = count - j;
    const Floats value = subtract(load_scaled(x + j, nullptr, left), float_of(maximum));
    const Floats clamped = smaller(larger(value, lowest), highest);
    const Ints n = to_ints(multiply(clamped, inverse_ln2));
    const Floats r = subtract(subtract(clamped, multiply(to_floats(n), ln2_high)), multiply(to_floats(n), ln2_low));
    Floats sum = float_of(kExponentialCoefficients[0]);
    for (int i = 1; i < 5; ++i) sum = add(multiply(sum, r), float_of(kExponentialCoefficients[i]));
    sum = add(multiply(sum, r), one);
    sum = add(multiply(sum, r), one);
    const Floats power = floats_of_bits(shift_lanes_left<23>(add(n, int_of(127))));
    const Floats result = keep_where_not_less(value, lowest, multiply(sum, power));
    if (left >= kLanes) {
      store_floats(x + j, result);
    } else {
      float values[kLanes];
      store_floats(values, result);
      std::memcpy(x + j, values, left * sizeof(float));
    }
  }
}

void expand_halves(const std::uint16_t* halves, std::size_t count, float* out) {
  for (std::size_t j = 0; j < count; j += kLanes) store_floats(out + j, half_floats(halves + j));
}

void expand_codes(const std::int8_t* codes, const float* steps, std::size_t rows, float* out) {
  Floats step[kRegisters];
  for (int r = 0; r < kRegisters; ++r) step[r] = load_floats(steps + r * kLanes);
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t first = row * kRowsPerGroup;
    for (int r = 0; r < kRegisters; ++r) {
      const std::size_t at = first + static_cast<std::size_t>(r * kLanes);
      store_floats(out + at, multiply(step[r], to_floats(load_codes(codes + at))));
    }
  }
}

}  // namespace dbell::DBELL_KERNEL_SET
#endif
