#pragma once
// A tile: `width` columns of `lanes` rows, column-major (`[width][lanes]`), so that one vector holds a column's value of every row and a sum over a row's columns
// is a plain sequential sum in each lane. Only for numerics/loops.
#include "common/half.h"
#include "numerics/lanes.h"
#include "numerics/loops.h"

namespace dbell::numerics {
namespace {

constexpr float largest_half = 65504.0f;

/// Rounds to fp16; what does not fit is cut to ±65504 and counted. −0 becomes +0.
inline std::uint16_t stored_half(float value, std::int64_t& saturated) {
  if (!(value < 65520.0f && value > -65520.0f)) {
    ++saturated;
    return float_to_half(value < 0 ? -largest_half : largest_half);
  }
  return float_to_half(value + 0.0f);
}

/// Rounds every lane to fp16 and writes `rows` of them with a stride; returns the rounded values.
inline FloatVector store_halves(FloatVector values, std::size_t rows, std::uint16_t* to, std::size_t stride,
                                std::int64_t& saturated) {
  float lane_values[lanes];
  store(lane_values, values);
  std::int64_t cut = 0;
  for (std::size_t i = 0; i < std::size_t(lanes); ++i) {
    const std::uint16_t half = stored_half(lane_values[i], cut);
    if (i < rows) to[i * stride] = half;
    lane_values[i] = half_to_float(half);
    if (i + 1 == rows) saturated += cut;
  }
  return load(lane_values);
}

/// Row-major rows into a tile; lanes behind the last row are zero.
inline void load_tile(float* tile, const float* rows_begin, std::size_t stride, std::size_t rows, std::size_t width) {
  for (std::size_t i = 0; i < std::size_t(lanes); ++i) {
    if (i < rows) {
      const float* row = rows_begin + i * stride;
      for (std::size_t j = 0; j < width; ++j) tile[j * lanes + i] = row[j];
    } else {
      for (std::size_t j = 0; j < width; ++j) tile[j * lanes + i] = 0.0f;
    }
  }
}

inline void store_tile(const float* tile, float* rows_begin, std::size_t stride, std::size_t rows, std::size_t width) {
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < width; ++j) rows_begin[i * stride + j] = tile[j * lanes + i];
}

inline void store_codes(const std::uint8_t* tile, std::uint8_t* rows_begin, std::size_t stride, std::size_t rows,
                        std::size_t width) {
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < width; ++j) rows_begin[i * stride + j] = tile[j * lanes + i];
}

/// First row of the tile with a value that is not finite, or -1.
inline std::int64_t non_finite_row(const float* tile, std::size_t rows, std::size_t width) {
  FloatVector sum = broadcast(0.0f);
  for (std::size_t j = 0; j < width; ++j) sum += load(tile + j * lanes) * 0.0f;
  float lane_sums[lanes];
  store(lane_sums, sum);
  for (std::size_t i = 0; i < rows; ++i)
    if (!(lane_sums[i] == 0.0f)) return static_cast<std::int64_t>(i);
  return -1;
}

/// Turns the error D = W − Q of a block's tile into E, in place (docs/method.md): `reference` E = D·diag(U)⁻¹, `block` E = D·U⁻¹.
inline void compensation_error(float* tile, std::size_t width, const float* factor, std::size_t factor_stride,
                               Compensation compensation) {
  for (std::size_t j = 0; j < width; ++j) {
    const float* factor_row = factor + j * factor_stride;
    const FloatVector error = load(tile + j * lanes) / broadcast(factor_row[j]);
    store(tile + j * lanes, error);
    if (compensation == Compensation::block)
      for (std::size_t k = j + 1; k < width; ++k) {
        float* at = tile + k * lanes;
        store(at, load(at) - error * broadcast(factor_row[k]));
      }
  }
}

}  // namespace
}  // namespace dbell::numerics
