#include "runtime/key_value_cache.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "common/half.h"
#include "runtime/error.h"
#include "runtime/model.h"

namespace dbell {

CacheSegment::CacheSegment(CacheType type, std::size_t heads, std::size_t head_size)
    : type_(type), heads_(heads), head_size_(head_size), value_size_(padded(head_size)) {
  reserve(keys_, heads * kPositionsPerSegment * head_size);
  reserve(values_, heads * kPositionsPerSegment * value_size_);
}

void CacheSegment::reserve(Store& store, std::size_t count) const {
  switch (type_) {
    case CacheType::float32: store.floats.resize(count); break;
    case CacheType::float16: store.halves.resize(count); break;
    case CacheType::int8:
      store.codes.resize(count);
      store.steps.resize(heads_ * kPositionsPerSegment);
      break;
  }
}

std::size_t CacheSegment::bytes() const { return keys_.bytes() + values_.bytes(); }

void CacheSegment::store(const KernelTable& kernels, std::size_t head, std::size_t position, const float* key,
                         const float* value) {
  const std::size_t step_at = head * kPositionsPerSegment + position;
  put(kernels, keys_, key_at(head, position), kKeysPerTile, step_at, key, "key");
  put(kernels, values_, step_at * value_size_, 1, step_at, value, "value");
}

void CacheSegment::put(const KernelTable& kernels, Store& store, std::size_t first, std::size_t stride,
                       std::size_t step_at, const float* x, const char* what) const {
  if (type_ == CacheType::float32) {
    float* at = store.floats.data() + first;
    for (std::size_t i = 0; i < head_size_; ++i) at[i * stride] = x[i];
    return;
  }
  if (type_ == CacheType::float16) {
    std::uint16_t* at = store.halves.data() + first;
    for (std::size_t i = 0; i < head_size_; ++i) {
      const std::uint16_t half = float_to_half(x[i]);
      if ((half & 0x7FFFu) == 0x7C00u && std::isfinite(x[i])) {
        throw RuntimeError("invalid-input", std::string("a ") + what + " of the attention is " + std::to_string(x[i]) +
                                                "; a float16 cache holds up to 65504; use a float32 cache");
      }
      at[i * stride] = half;
    }
    return;
  }
  static thread_local AlignedBuffer<std::int8_t> codes;
  codes.reserve(head_size_);
  // Where an input is no number the step is negative, and what is read back is no number either, as from the other types.
  const float step = kernels.quantize(x, nullptr, head_size_, 127, codes.data());
  store.steps[step_at] = step < 0 ? std::numeric_limits<float>::quiet_NaN() : step;
  std::int8_t* at = store.codes.data() + first;
  for (std::size_t i = 0; i < head_size_; ++i) at[i * stride] = step < 0 ? 0 : codes[i];
}

const float* CacheSegment::keys(const KernelTable& kernels, std::size_t head, std::size_t tiles, float* scratch) const {
  const std::size_t first = key_at(head, 0), tile_size = head_size_ * kKeysPerTile;
  if (type_ == CacheType::float32) return keys_.floats.data() + first;
  if (type_ == CacheType::float16) {
    kernels.expand_halves(keys_.halves.data() + first, tiles * tile_size, scratch);
    return scratch;
  }
  for (std::size_t tile = 0; tile < tiles; ++tile) {
    kernels.expand_codes(keys_.codes.data() + first + tile * tile_size,
                         keys_.steps.data() + head * kPositionsPerSegment + tile * kKeysPerTile, head_size_,
                         scratch + tile * tile_size);
  }
  return scratch;
}

const float* CacheSegment::values(const KernelTable& kernels, std::size_t head, std::size_t positions,
                                  float* scratch) const {
  const std::size_t first = head * kPositionsPerSegment * value_size_;
  if (type_ == CacheType::float32) return values_.floats.data() + first;
  if (type_ == CacheType::float16) {
    kernels.expand_halves(values_.halves.data() + first, positions * value_size_, scratch);
    return scratch;
  }
  for (std::size_t position = 0; position < positions; ++position) {
    float steps[kRowsPerGroup];
    std::fill_n(steps, kRowsPerGroup, values_.steps[head * kPositionsPerSegment + position]);
    kernels.expand_codes(values_.codes.data() + first + position * value_size_, steps, value_size_ / kRowsPerGroup,
                         scratch + position * value_size_);
  }
  return scratch;
}

}  // namespace dbell
