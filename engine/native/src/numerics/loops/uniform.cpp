// One block of a uniform grid, or of one bit with a mean, `lanes` rows at a time.
#include "numerics/loops/loops_set.h"
#include "numerics/tile.h"

DBELL_DECLARE_LOOPS(DBELL_NUMERICS_SET)

namespace dbell::numerics {
namespace {

/// Grid of every lane: value = scale · (code − centre) + offset.
struct Grid {
  FloatVector scale, offset, centre, last_code;
};

struct Quantized {
  FloatVector code, value;
};

DBELL_INLINE Quantized quantize(FloatVector weight, const Grid& grid) {
  const FloatVector zero = broadcast(0.0f);
  FloatVector position = (weight - grid.offset) / grid.scale + grid.centre;
  // A scale of 0 stores a constant, whatever the code.
  position = select(grid.scale == zero, zero, position);
  position = minimum(maximum(position, zero), grid.last_code);
  const FloatVector code = truncated(position + 0.5f);
  return {code, grid.scale * (code - grid.centre) + grid.offset};
}

/// Levels up to which scales are kept short, see `shortened`.
constexpr int most_levels_with_exact_zero = 16;

/// Rounds fp16 scales to so few significant bits that (levels − 1 − 2·zero point)/2 times a scale is an fp16 number, and with it the offset: only then is the
/// level for zero exactly zero. For 16 levels the scale moves by at most 0.4%, a thirtieth of a step at the grid's ends.
DBELL_INLINE FloatVector shortened(std::uint16_t* scales, std::size_t rows, std::size_t stride, int levels) {
  unsigned unit = 1;
  while (unit < static_cast<unsigned>(levels)) unit *= 2;
  float values[lanes];
  for (std::size_t i = 0; i < std::size_t(lanes); ++i) {
    values[i] = 0.0f;
    if (i >= rows) continue;
    unsigned half = (scales[i * stride] + unit / 2) / unit * unit;
    if (half >= 0x7c00u) half = 0x7c00u - unit;
    scales[i * stride] = static_cast<std::uint16_t>(half);
    values[i] = half_to_float(scales[i * stride]);
  }
  return load(values);
}

/// One bit: + where the weight is at least the mean, so that sign(0) = +1.
DBELL_INLINE Quantized quantize_sign(FloatVector weight, const Grid& grid) {
  const FloatVector code = select(weight - grid.offset >= broadcast(0.0f), broadcast(1.0f), broadcast(0.0f));
  return {code, grid.scale * (code - grid.centre) + grid.offset};
}

RowsReport quantize_lanes(const BlockRows& block, std::size_t first_row, std::size_t rows, int levels, float* tile,
                          std::uint8_t* code_tile, const UniformOutput& output) {
  RowsReport report;
  const std::size_t width = block.width;
  load_tile(tile, block.weight + first_row * block.weight_stride, block.weight_stride, rows, width);
  report.non_finite_row = non_finite_row(tile, rows, width);
  if (report.non_finite_row >= 0) return report;

  std::uint16_t* scales = output.scales + first_row * output.blocks_stride;
  std::uint16_t* offsets = output.offsets + first_row * output.blocks_stride;
  Grid grid;
  grid.last_code = broadcast(static_cast<float>(levels - 1));
  grid.centre = grid.last_code * 0.5f;
  if (levels == 2) {
    FloatVector sum = broadcast(0.0f);
    for (std::size_t j = 0; j < width; ++j) sum += load(tile + j * lanes);
    grid.offset = store_halves(sum / broadcast(static_cast<float>(width)), rows, offsets, output.blocks_stride,
                               report.saturated);
    // Around the mean as stored: the best scale for that mean.
    FloatVector deviation = broadcast(0.0f);
    for (std::size_t j = 0; j < width; ++j) deviation += absolute(load(tile + j * lanes) - grid.offset);
    grid.scale = store_halves(2.0f * (deviation / broadcast(static_cast<float>(width))), rows, scales,
                              output.blocks_stride, report.saturated);
  } else {
    FloatVector least = load(tile), greatest = least;
    for (std::size_t j = 1; j < width; ++j) {
      least = minimum(least, load(tile + j * lanes));
      greatest = maximum(greatest, load(tile + j * lanes));
    }
    // Zero is one of the levels: without it, small weights of a column with massive activations keep an error that the columns to the right can
    // only balance with weights far out of their range.
    const FloatVector zero = broadcast(0.0f);
    const FloatVector low = minimum(least, zero), high = maximum(greatest, zero);
    // A constant row is its offset alone.
    const FloatVector range = select(least == greatest, zero, high - low);
    grid.scale = store_halves(range / grid.last_code, rows, scales, output.blocks_stride, report.saturated);
    if (levels <= most_levels_with_exact_zero) grid.scale = shortened(scales, rows, output.blocks_stride, levels);
    FloatVector zero_point = select(grid.scale == zero, zero, (zero - low) / grid.scale);
    zero_point = truncated(minimum(zero_point, grid.last_code) + 0.5f);
    const FloatVector middle = greatest * 0.5f + least * 0.5f;
    const FloatVector offset = select(grid.scale == zero, middle, grid.scale * (grid.centre - zero_point));
    grid.offset = store_halves(offset, rows, offsets, output.blocks_stride, report.saturated);
  }

  const bool by_column = block.error != nullptr && block.compensation == Compensation::column;
  for (std::size_t j = 0; j < width; ++j) {
    float* column = tile + j * lanes;
    const FloatVector weight = load(column);
    const Quantized quantized = levels == 2 ? quantize_sign(weight, grid) : quantize(weight, grid);
    std::int32_t codes[lanes];
    store(codes, to_int(quantized.code));
    for (int i = 0; i < lanes; ++i) code_tile[j * lanes + i] = static_cast<std::uint8_t>(codes[i]);
    FloatVector error = weight - quantized.value;
    if (by_column) {
      const float* factor_row = block.factor + j * block.factor_stride;
      error = error / broadcast(factor_row[j]);
      for (std::size_t k = j + 1; k < width; ++k) {
        float* at = tile + k * lanes;
        store(at, load(at) - error * broadcast(factor_row[k]));
      }
    }
    store(column, error);
  }
  store_codes(code_tile, output.codes + first_row * output.codes_stride, output.codes_stride, rows, width);
  if (block.error != nullptr) {
    if (!by_column) compensation_error(tile, width, block.factor, block.factor_stride, block.compensation);
    store_tile(tile, block.error + first_row * width, width, rows, width);
  }
  return report;
}

}  // namespace

namespace DBELL_NUMERICS_SET {

RowsReport quantize_uniform(const BlockRows& block, int levels, const UniformOutput& output) {
  RowsReport total;
  float* tile = new float[block.width * lanes];
  std::uint8_t* code_tile = new std::uint8_t[block.width * lanes];
  for (std::size_t row = 0; row < block.rows && total.non_finite_row < 0; row += lanes) {
    const std::size_t rows = block.rows - row < std::size_t(lanes) ? block.rows - row : std::size_t(lanes);
    const RowsReport report = quantize_lanes(block, row, rows, levels, tile, code_tile, output);
    total.saturated += report.saturated;
    if (report.non_finite_row >= 0) total.non_finite_row = static_cast<std::int64_t>(row) + report.non_finite_row;
  }
  delete[] tile;
  delete[] code_tile;
  return total;
}

}  // namespace DBELL_NUMERICS_SET
}  // namespace dbell::numerics
