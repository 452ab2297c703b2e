#include "numerics/dequantize.h"

#include <algorithm>

#include "common/half.h"
#include "common/thread_pool.h"

namespace dbell::numerics {

void dequantize_grid(const std::uint8_t* codes, const std::uint16_t* scales, const std::uint16_t* offsets, int levels,
                     std::size_t out_features, std::size_t in_features, std::size_t block_size, float* weight) {
  const std::size_t blocks = (in_features + block_size - 1) / block_size;
  const float centre = static_cast<float>(levels - 1) * 0.5f;
  parallel_for(out_features, 16, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i)
      for (std::size_t b = 0; b < blocks; ++b) {
        const float scale = half_to_float(scales[i * blocks + b]);
        const float offset = offsets != nullptr ? half_to_float(offsets[i * blocks + b]) : 0.0f;
        const std::size_t last = std::min(in_features, (b + 1) * block_size);
        for (std::size_t j = b * block_size; j < last; ++j) {
          const float value = scale * (static_cast<float>(codes[i * in_features + j]) - centre);
          weight[i * in_features + j] = offsets != nullptr ? value + offset : value;
        }
      }
  });
}

void dequantize_structured(const std::uint8_t* codes, const std::uint16_t* levels, const std::uint8_t* salient_columns,
                           std::size_t out_features, std::size_t in_features, std::size_t block_size, float* weight) {
  const std::size_t blocks = (in_features + block_size - 1) / block_size;
  parallel_for(out_features, 16, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i)
      for (std::size_t b = 0; b < blocks; ++b) {
        float level[levels_per_block];
        for (std::size_t k = 0; k < levels_per_block; ++k)
          level[k] = half_to_float(levels[(i * blocks + b) * levels_per_block + k]);
        const float concentrated[2] = {level[0] - level[1], level[0] + level[1]};
        const float sparse[2] = {level[2] - level[3], level[2] + level[3]};
        const float first[2] = {level[4] - level[5], level[4] + level[5]};
        const float ordinary_values[4] = {concentrated[0], concentrated[1], sparse[0], sparse[1]};
        const float salient_values[4] = {first[0] - level[6], first[1] - level[6], first[0] + level[6],
                                         first[1] + level[6]};
        const std::size_t last = std::min(in_features, (b + 1) * block_size);
        for (std::size_t j = b * block_size; j < last; ++j) {
          const std::uint8_t code = codes[i * in_features + j] & 3u;
          weight[i * in_features + j] = salient_columns[j] ? salient_values[code] : ordinary_values[code];
        }
      }
  });
}

}  // namespace dbell::numerics
