// Codes of grids with row-block and column scales (docs/method.md, section 8): GPTQ's pass as the start, then coordinate descent, `lanes` rows at a time.
#include "numerics/loops/loops_set.h"
#include "numerics/tile.h"

DBELL_DECLARE_LOOPS(DBELL_NUMERICS_SET)

namespace dbell::numerics {
namespace {

/// Below this size of r·c a code means nothing and stays.
constexpr float smallest_step = 1e-12f;
/// Columns whose changes are carried to the rest of the block together, so that its gradient is loaded and stored once for all of them.
constexpr std::size_t columns_at_once = 8;

DBELL_INLINE FloatVector nearest_code(FloatVector position, FloatVector last_code) {
  return truncated(minimum(maximum(position, broadcast(0.0f)), last_code) + 0.5f);
}

void store_float_codes(const float* tile, const GridRows& grid, std::size_t first_row, std::size_t rows) {
  for (std::size_t i = 0; i < rows; ++i) {
    std::uint8_t* codes = grid.codes + (first_row + i) * grid.codes_stride;
    for (std::size_t j = 0; j < grid.width; ++j) codes[j] = static_cast<std::uint8_t>(tile[j * lanes + i]);
  }
}

void load_float_codes(float* tile, const GridRows& grid, std::size_t first_row, std::size_t rows) {
  for (std::size_t i = 0; i < std::size_t(lanes); ++i) {
    const std::uint8_t* codes = grid.codes + (first_row + i) * grid.codes_stride;
    for (std::size_t j = 0; j < grid.width; ++j)
      tile[j * lanes + i] = i < rows ? static_cast<float>(codes[j]) : 0.0f;
  }
}

/// True if any lane of a stored vector is not zero (a change of −0 counts and does no harm).
DBELL_INLINE bool any_change(const float* values) {
  std::uint32_t bits[lanes], all = 0;
  std::memcpy(bits, values, sizeof bits);
  for (int i = 0; i < lanes; ++i) all |= bits[i];
  return all != 0;
}

/// gradient −= change · H for `Count` columns of change, in their order, over the block's columns from … to.
template <int Count>
DBELL_INLINE void carry(float* gradient, const FloatVector* changes, const float* const* hessian_rows, std::size_t from,
                        std::size_t to) {
  FloatVector change[Count];
  for (int n = 0; n < Count; ++n) change[n] = changes[n];
  for (std::size_t k = from; k < to; ++k) {
    FloatVector value = load(gradient + k * lanes);
    for (int n = 0; n < Count; ++n) value = value - change[n] * broadcast(hessian_rows[n][k]);
    store(gradient + k * lanes, value);
  }
}

void carry_all(float* gradient, const FloatVector* changes, const float* const* hessian_rows, std::size_t count,
               std::size_t from, std::size_t to) {
  switch (count) {
    case 1: return carry<1>(gradient, changes, hessian_rows, from, to);
    case 2: return carry<2>(gradient, changes, hessian_rows, from, to);
    case 3: return carry<3>(gradient, changes, hessian_rows, from, to);
    case 4: return carry<4>(gradient, changes, hessian_rows, from, to);
    case 5: return carry<5>(gradient, changes, hessian_rows, from, to);
    case 6: return carry<6>(gradient, changes, hessian_rows, from, to);
    case 7: return carry<7>(gradient, changes, hessian_rows, from, to);
    case 8: return carry<8>(gradient, changes, hessian_rows, from, to);
    default: return;
  }
}

/// GPTQ's pass over a block's tile with one scale a lane: leaves E (without a factor: the plain error) in the tile and returns the sum of its squares.
FloatVector round_tile(float* tile, float* code_tile, const BlockRows& block, int levels, FloatVector scale) {
  const FloatVector last_code = broadcast(static_cast<float>(levels - 1));
  const FloatVector centre = last_code * 0.5f;
  const IntVector meaningless = scale < broadcast(smallest_step);
  FloatVector sum = broadcast(0.0f);
  for (std::size_t j0 = 0; j0 < block.width; j0 += columns_at_once) {
    const std::size_t end = block.width - j0 < columns_at_once ? block.width : j0 + columns_at_once;
    FloatVector errors[columns_at_once];
    const float* factor_rows[columns_at_once];
    for (std::size_t j = j0; j < end; ++j) {
      const FloatVector weight = load(tile + j * lanes);
      const FloatVector position = select(meaningless, centre, weight / scale + centre);
      const FloatVector code = nearest_code(position, last_code);
      store(code_tile + j * lanes, code);
      FloatVector error = weight - scale * (code - centre);
      if (block.factor != nullptr) {
        const float* factor_row = block.factor + j * block.factor_stride;
        error = error / broadcast(factor_row[j]);
        errors[j - j0] = error;
        factor_rows[j - j0] = factor_row;
        carry<1>(tile, &error, &factor_row, j + 1, end);
      }
      sum += error * error;
      store(tile + j * lanes, error);
    }
    if (block.factor != nullptr) carry_all(tile, errors, factor_rows, end - j0, end, block.width);
  }
  return sum;
}

void round_lanes(const BlockRows& block, const GridRows& grid, const ScaleSearch& search, std::size_t first_row,
                 std::size_t rows, float* tile, float* code_tile) {
  const float* weight = block.weight + first_row * block.weight_stride;
  float* scales = grid.scales + first_row * grid.scales_stride;
  float values[lanes] = {};
  for (std::size_t i = 0; i < rows; ++i) values[i] = scales[i * grid.scales_stride];
  FloatVector best = load(values), least = broadcast(0.0f);
  for (std::size_t stage = 0; stage < search.stages; ++stage) {
    const FloatVector centre = best;
    for (std::size_t n = 0; n < search.factors_per_stage[stage]; ++n) {
      const FloatVector scale = centre * broadcast(search.factors[stage][n]);
      load_tile(tile, weight, block.weight_stride, rows, block.width);
      const FloatVector sum = round_tile(tile, code_tile, block, grid.levels, scale);
      const bool first = stage == 0 && n == 0;
      const IntVector better = sum < least;
      best = first ? scale : select(better, scale, best);
      least = first ? sum : select(better, sum, least);
    }
  }
  load_tile(tile, weight, block.weight_stride, rows, block.width);
  round_tile(tile, code_tile, block, grid.levels, best);
  store(values, best);
  for (std::size_t i = 0; i < rows; ++i) scales[i * grid.scales_stride] = values[i];
  store_float_codes(code_tile, grid, first_row, rows);
  if (block.error != nullptr) store_tile(tile, block.error + first_row * block.width, block.width, rows, block.width);
}

std::int64_t descend_lanes(const GridRows& grid, const GridDescent& descent, std::size_t first_row, std::size_t rows,
                           float* gradient, float* code_tile, float* change_tile) {
  const std::size_t width = grid.width;
  float* gradient_rows = descent.gradient + first_row * descent.gradient_stride;
  load_tile(gradient, gradient_rows, descent.gradient_stride, rows, width);
  load_float_codes(code_tile, grid, first_row, rows);
  float scales[lanes] = {};
  for (std::size_t i = 0; i < rows; ++i) scales[i] = grid.scales[(first_row + i) * grid.scales_stride];
  const FloatVector scale = load(scales);
  const FloatVector zero = broadcast(0.0f);
  const FloatVector last_code = broadcast(static_cast<float>(grid.levels - 1));
  IntVector changed_codes = to_int(zero);

  for (std::size_t j0 = 0; j0 < width; j0 += columns_at_once) {
    const std::size_t end = width - j0 < columns_at_once ? width : j0 + columns_at_once;
    FloatVector changes[columns_at_once];
    const float* hessian_rows[columns_at_once];
    std::size_t count = 0;
    for (std::size_t j = j0; j < end; ++j) {
      const FloatVector code = load(code_tile + j * lanes);
      const FloatVector step = scale * broadcast(descent.column_scale[j]);
      const float* hessian_row = descent.hessian + j * descent.hessian_stride;
      const FloatVector curvature = broadcast(hessian_row[j]);
      const FloatVector slope = load(gradient + j * lanes);
      FloatVector position = code + slope / (curvature * step);
      position = select(step < broadcast(smallest_step), code, position);
      FloatVector next = nearest_code(position, last_code);
      FloatVector change = step * (next - code);
      const IntVector better = change * (curvature * change - 2.0f * slope) < zero;
      next = select(better, next, code);
      change = select(better, change, zero);
      changed_codes = changed_codes + to_int(select(better, broadcast(1.0f), zero));
      store(code_tile + j * lanes, next);
      store(change_tile + j * lanes, change);
      if (!any_change(change_tile + j * lanes)) continue;
      changes[count] = change;
      hessian_rows[count] = hessian_row;
      carry<1>(gradient, changes + count, hessian_rows + count, j0, end);
      ++count;
    }
    carry_all(gradient, changes, hessian_rows, count, 0, j0);
    carry_all(gradient, changes, hessian_rows, count, end, width);
  }
  store_float_codes(code_tile, grid, first_row, rows);
  store_tile(gradient, gradient_rows, descent.gradient_stride, rows, width);
  store_tile(change_tile, descent.change + first_row * width, width, rows, width);
  std::int32_t counts[lanes];
  store(counts, changed_codes);
  std::int64_t total = 0;
  for (std::size_t i = 0; i < rows; ++i) total += counts[i];
  return total;
}

template <class Body>
void for_each_tile(std::size_t rows, Body body) {
  for (std::size_t row = 0; row < rows; row += lanes)
    body(row, rows - row < std::size_t(lanes) ? rows - row : std::size_t(lanes));
}

}  // namespace

namespace DBELL_NUMERICS_SET {

void round_grid(const BlockRows& block, const GridRows& grid, const ScaleSearch& search) {
  float* tiles = new float[2 * block.width * lanes];
  for_each_tile(block.rows, [&](std::size_t row, std::size_t rows) {
    round_lanes(block, grid, search, row, rows, tiles, tiles + block.width * lanes);
  });
  delete[] tiles;
}

std::int64_t descend_grid(const GridRows& grid, const GridDescent& descent) {
  const std::size_t size = grid.width * lanes;
  float* tiles = new float[3 * size];
  std::int64_t changed = 0;
  for_each_tile(grid.rows, [&](std::size_t row, std::size_t rows) {
    changed += descend_lanes(grid, descent, row, rows, tiles, tiles + size, tiles + 2 * size);
  });
  delete[] tiles;
  return changed;
}

}  // namespace DBELL_NUMERICS_SET
}  // namespace dbell::numerics
