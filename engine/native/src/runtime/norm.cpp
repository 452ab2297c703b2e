#include "runtime/norm.h"

#include <algorithm>
#include <cmath>

namespace dbell {
namespace {

/// Σ_j f(x_j) in float32: 64 running sums, value j to sum j mod 64, then halves added to halves until one is left. A
/// fixed order, which vector units and a GPU's workgroups share.
constexpr std::size_t kRunningSums = 64;
template <class Function>
float sum_of(const float* x, std::size_t count, Function f) {
  float sums[kRunningSums] = {};
  std::size_t j = 0;
  for (; j + kRunningSums <= count; j += kRunningSums) {
    for (std::size_t i = 0; i < kRunningSums; ++i) sums[i] += f(x[j + i]);
  }
  for (std::size_t i = 0; j + i < count; ++i) sums[i] += f(x[j + i]);
  for (std::size_t width = kRunningSums / 2; width > 0; width /= 2) {
    for (std::size_t i = 0; i < width; ++i) sums[i] += sums[i + width];
  }
  return sums[0];
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
  const float count = static_cast<float>(size);
  for (std::size_t row = 0; row < rows; ++row) {
    const float* in = x + row * x_stride;
    float* result = out + row * out_stride;
    const float shift = norm.is_rms ? 0.0f : sum_of(in, size, [](float value) { return value; }) / count;
    const float squares = sum_of(in, size, [shift](float value) { return (value - shift) * (value - shift); });
    const float factor = 1.0f / std::sqrt(squares / count + norm.epsilon);
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
