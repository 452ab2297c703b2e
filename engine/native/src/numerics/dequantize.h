#pragma once
#include <cstddef>
#include <cstdint>

namespace dbell::numerics {

/// Float32 weights of a grid linear, `[out, in]`: scale · (code − (levels − 1) / 2) [+ offset], in float32 in this order. `offsets` may be null.
void dequantize_grid(const std::uint8_t* codes, const std::uint16_t* scales, const std::uint16_t* offsets, int levels,
                     std::size_t out_features, std::size_t in_features, std::size_t block_size, float* weight);

/// Float32 weights of a structured linear, `[out, in]`. Per row and block 7 fp16 levels: concentrated mean and scale, sparse mean and scale, salient mean, salient
/// scales 1 and 2. Ordinary column: code bit 0 = sign, bit 1 = sparse group, mean ± scale. Salient column: bits 0 and 1 are signs, (mean ± scale 1) ± scale 2.
void dequantize_structured(const std::uint8_t* codes, const std::uint16_t* levels, const std::uint8_t* salient_columns,
                           std::size_t out_features, std::size_t in_features, std::size_t block_size, float* weight);

constexpr std::size_t levels_per_block = 7;

}  // namespace dbell::numerics
