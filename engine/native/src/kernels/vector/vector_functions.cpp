// Vector functions. Wider registers than AVX2's gain nothing, so that the sets which have those call avx2's (table.cpp).
#include <limits>

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

/// See kernel_table.h, exponentials; of x_j − maximum.
DBELL_INLINE Floats exponential(Floats value) {
  const Floats lowest = float_of(kLowestExponent), one = float_of(1.0f);
  const Floats clamped = smaller(larger(value, lowest), float_of(kHighestExponent));
  const Ints n = to_ints(multiply(clamped, float_of(kInverseLn2)));
  const Floats whole = to_floats(n);
  const Floats r = subtract(subtract(clamped, multiply(whole, float_of(kLn2High))), multiply(whole, float_of(kLn2Low)));
  Floats sum = float_of(kExponentialCoefficients[0]);
  for (int i = 1; i < 5; ++i) sum = add(multiply(sum, r), float_of(kExponentialCoefficients[i]));
  sum = add(multiply(sum, r), one);
  sum = add(multiply(sum, r), one);
  const Floats power = floats_of_bits(shift_lanes_left<23>(add(n, int_of(127))));
  return keep_where_not_less(value, lowest, multiply(sum, power));
}

/// The registers of a segment that hold a position which is seen, [first, last) in positions; none where none is.
DBELL_INLINE SeenPositions whole_registers(const SeenPositions& seen) {
  if (seen.first >= seen.last) return {0, 0};
  return {seen.first / kLanes * kLanes, (seen.last + kLanes - 1) / kLanes * kLanes};
}

DBELL_INLINE void fill(float* values, std::size_t begin, std::size_t end, float value) {
  for (std::size_t j = begin; j < end; ++j) values[j] = value;
}

/// Σ of a segment's values, halves added to halves.
DBELL_INLINE float sum_of_halves(const float* values) {
  constexpr int kRegistersHere = static_cast<int>(kPositionsPerSegment) / kLanes;
  Floats sums[kRegistersHere / 2];
  unroll<kRegistersHere / 2>([&](auto i) DBELL_INLINE_LAMBDA {
    sums[i] = add(load_floats(values + i * kLanes), load_floats(values + (i + kRegistersHere / 2) * kLanes));
  });
  for (int width = kRegistersHere / 4; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) sums[i] = add(sums[i], sums[i + width]);
  }
  float lanes[kLanes];
  store_floats(lanes, sums[0]);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
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
  const Floats subtrahend = float_of(maximum);
  for (std::size_t j = 0; j < count; j += kLanes) {
    const std::size_t left = count - j;
    const Floats result = exponential(subtract(load_scaled(x + j, nullptr, left), subtrahend));
    if (left >= kLanes) {
      store_floats(x + j, result);
    } else {
      float values[kLanes];
      store_floats(values, result);
      std::memcpy(x + j, values, left * sizeof(float));
    }
  }
}

void softmax(float* scores, std::size_t rows, const SeenPositions* seen, SoftmaxState* states, float* factors) {
  // All maxima, then all exponentials: no row waits for another's.
  for (std::size_t row = 0; row < rows; ++row) {
    float* of_row = scores + row * kPositionsPerSegment;
    const SeenPositions registers = whole_registers(seen[row]);
    factors[row] = 0.0f;
    fill(of_row, 0, registers.first, 0.0f);
    fill(of_row, registers.last, kPositionsPerSegment, 0.0f);
    if (registers.first == registers.last) continue;
    fill(of_row, registers.first, seen[row].first, -std::numeric_limits<float>::infinity());
    fill(of_row, seen[row].last, registers.last, -std::numeric_limits<float>::infinity());
    Floats largest = float_of(states[row].maximum);
    for (std::size_t j = registers.first; j < registers.last; j += kLanes)
      largest = larger(load_floats(of_row + j), largest);
    float lanes[kLanes];
    store_floats(lanes, largest);
    float maximum = lanes[0];
    for (int i = 1; i < kLanes; ++i) maximum = lanes[i] > maximum ? lanes[i] : maximum;
    factors[row] = states[row].maximum - maximum;
    states[row].maximum = maximum;
  }
  exponentials(factors, rows, 0.0f);
  for (std::size_t row = 0; row < rows; ++row) {
    float* of_row = scores + row * kPositionsPerSegment;
    const SeenPositions registers = whole_registers(seen[row]);
    if (registers.first == registers.last) continue;
    const Floats maximum = float_of(states[row].maximum);
    for (std::size_t j = registers.first; j < registers.last; j += kLanes)
      store_floats(of_row + j, exponential(subtract(load_floats(of_row + j), maximum)));
    states[row].total = states[row].total * factors[row] + sum_of_halves(of_row);
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
