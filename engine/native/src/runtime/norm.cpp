#include "runtime/norm.h"

#include <algorithm>
#include <cmath>

namespace dbell {
namespace {

/// Eight running sums: a fixed order that compilers can turn into vector instructions.
struct Moments {
  double sum, squares;
};

Moments moments(const float* x, std::size_t count, double shift) {
  double sums[8] = {}, squares[8] = {};
  std::size_t j = 0;
  for (; j + 8 <= count; j += 8) {
    for (std::size_t i = 0; i < 8; ++i) {
      const double value = static_cast<double>(x[j + i]) - shift;
      sums[i] += value;
      squares[i] += value * value;
    }
  }
  for (std::size_t i = 0; j < count; ++j, ++i) {
    const double value = static_cast<double>(x[j]) - shift;
    sums[i] += value;
    squares[i] += value * value;
  }
  Moments total{0, 0};
  for (std::size_t i = 0; i < 8; ++i) {
    total.sum += sums[i];
    total.squares += squares[i];
  }
  return total;
}

constexpr std::size_t kChunk = 256;

/// out_j = 1 / (1 + exp(−x_j)) for up to kChunk values.
void sigmoid(const KernelTable& kernels, const float* x, float factor, std::size_t count, float* out) {
  for (std::size_t j = 0; j < count; ++j) out[j] = -factor * x[j];
  kernels.exponentials(out, count, 0.0f);
  for (std::size_t j = 0; j < count; ++j) out[j] = 1.0f / (1.0f + out[j]);
}

void activate(const KernelTable& kernels, Activation activation, float* x, std::size_t count) {
  float buffer[kChunk];
  switch (activation) {
    case Activation::relu:
      for (std::size_t j = 0; j < count; ++j) x[j] = x[j] < 0.0f ? 0.0f : x[j];  // keeps NaN visible
      return;
    case Activation::relu_squared:
      for (std::size_t j = 0; j < count; ++j) x[j] = x[j] < 0.0f ? 0.0f : x[j] * x[j];
      return;
    case Activation::silu:
    case Activation::quick_gelu:
      sigmoid(kernels, x, activation == Activation::silu ? 1.0f : 1.702f, count, buffer);
      for (std::size_t j = 0; j < count; ++j) x[j] *= buffer[j];
      return;
    case Activation::gelu_tanh: {
      // (1 + tanh u) / 2 = sigmoid(2u), u = sqrt(2/π)·(x + 0.044715·x³)
      float argument[kChunk] = {};
      for (std::size_t j = 0; j < count; ++j) argument[j] = 1.59576912f * (x[j] + 0.044715f * x[j] * x[j] * x[j]);
      sigmoid(kernels, argument, 1.0f, count, buffer);
      for (std::size_t j = 0; j < count; ++j) x[j] *= buffer[j];
      return;
    }
    case Activation::gelu:
      for (std::size_t j = 0; j < count; ++j) x[j] = 0.5f * x[j] * (1.0f + std::erf(x[j] * 0.707106781f));
      return;
  }
}

}  // namespace

void apply_norm(const Norm& norm, const float* x, std::size_t x_stride, std::size_t rows, float* out,
                std::size_t out_stride) {
  const std::size_t size = norm.size;
  const double count = static_cast<double>(size);
  for (std::size_t row = 0; row < rows; ++row) {
    const float* in = x + row * x_stride;
    float* result = out + row * out_stride;
    const double mean = norm.is_rms ? 0.0 : moments(in, size, 0.0).sum / count;
    const double variance = moments(in, size, mean).squares / count;
    const float factor = static_cast<float>(1.0 / std::sqrt(variance + static_cast<double>(norm.epsilon)));
    const float shift = static_cast<float>(mean);
    for (std::size_t j = 0; j < size; ++j) result[j] = (in[j] - shift) * factor;
    if (norm.weight != nullptr) {
      for (std::size_t j = 0; j < size; ++j) result[j] *= norm.weight[j];
    }
    if (norm.bias != nullptr) {
      for (std::size_t j = 0; j < size; ++j) result[j] += norm.bias[j];
    }
  }
}

void apply_activation(const KernelTable& kernels, Activation activation, float* x, float* gate, std::size_t count) {
  for (std::size_t first = 0; first < count; first += kChunk) {
    const std::size_t size = std::min(kChunk, count - first);
    activate(kernels, activation, (gate != nullptr ? gate : x) + first, size);
    if (gate != nullptr) {
      for (std::size_t j = 0; j < size; ++j) x[first + j] *= gate[first + j];
    }
  }
}

}  // namespace dbell
