// Losses of the Learnable Transformation for Dual-Bell and their gradient in T (DBellQuant; docs/method.md, section 1), `lanes` rows at a time.
#include "numerics/loops/loops_set.h"
#include "numerics/ltdb_constants.h"
#include "numerics/tile.h"

DBELL_DECLARE_LOOPS(DBELL_NUMERICS_SET)

namespace dbell::numerics {
namespace {

/// Row i adds to partial sum i mod 16 of a column's gradient, so that the order of the sum is the same for every vector length.
constexpr std::size_t partial_sums = 16;
static_assert(partial_sums % lanes == 0, "a group of rows adds to neighbouring partial sums");

DBELL_INLINE FloatVector sign(FloatVector value) {
  const FloatVector zero = broadcast(0.0f), one = broadcast(1.0f);
  return select(value > zero, one, select(value < zero, -one, zero));
}

/// One of a row's two targets t = a ± b, and what divides by it.
struct Target {
  FloatVector value;
  /// 1 / t, with |t| not below a fraction of |a| + b; 0 in a row of zeros.
  FloatVector inverse;
  /// All ones where |t| was raised: then the divisor counts as a constant.
  IntVector raised;
};

DBELL_INLINE Target make_target(FloatVector value, FloatVector floor) {
  const FloatVector zero = broadcast(0.0f), one = broadcast(1.0f);
  const IntVector raised = absolute(value) < floor;
  const FloatVector divisor = select(raised, select(value >= zero, floor, -floor), value);
  const IntVector nothing = divisor == zero;
  return {value, select(nothing, zero, one / select(nothing, one, divisor)), raised};
}

/// Where the gradient of one group of rows is put together.
struct Workspace {
  float* scaled;    // Z, [columns][lanes]
  float* gradient;  // dL/dZ without the part through a and b, [columns][lanes]
  float* partial;   // [columns][partial_sums]
};

template <LtdbLoss loss>
void add_group(const float* weight, std::size_t columns, const float* scale, std::size_t first_row, std::size_t rows,
               const Workspace& work, LtdbSums& sums) {
  const FloatVector zero = broadcast(0.0f), one = broadcast(1.0f);
  const FloatVector count = broadcast(static_cast<float>(columns));
  FloatVector sum = zero, deviation = zero, sign_sum = zero;
  for (std::size_t j = 0; j < columns; ++j) {
    const FloatVector value = load(weight + j * lanes) * broadcast(scale[j]);
    store(work.scaled + j * lanes, value);
    sum += value;
  }
  const FloatVector mean = sum / count;
  for (std::size_t j = 0; j < columns; ++j) {
    const FloatVector centred = load(work.scaled + j * lanes) - mean;
    deviation += absolute(centred);
    sign_sum += sign(centred);
  }
  const FloatVector half_width = deviation / count;
  const FloatVector floor = (absolute(mean) + half_width) * smallest_target_fraction;
  const Target upper = make_target(mean + half_width, floor), lower = make_target(mean - half_width, floor);

  FloatVector proportional = zero, least_distance = zero, upper_gradient = zero, lower_gradient = zero;
  for (std::size_t j = 0; j < columns; ++j) {
    const FloatVector value = load(work.scaled + j * lanes);
    const FloatVector to_upper = absolute(value - upper.value), to_lower = absolute(value - lower.value);
    const IntVector is_upper = to_upper < to_lower;
    const FloatVector target = select(is_upper, upper.value, lower.value);
    const FloatVector inverse = select(is_upper, upper.inverse, lower.inverse);
    const FloatVector ratio = (value - target) * inverse;
    least_distance += minimum(to_upper, to_lower);
    FloatVector gradient;
    if (loss == LtdbLoss::l2) {
      proportional += ratio * ratio;
      gradient = 2.0f * ratio * inverse;
    } else {
      proportional += absolute(ratio);
      gradient = sign(ratio) * inverse;
    }
    store(work.gradient + j * lanes, gradient);
    // d((z − t) / t) / dt = −z / t²; −1 / divisor where the divisor is a constant.
    const FloatVector through = value * inverse;
    upper_gradient += select(is_upper, -gradient * select(upper.raised, one, through), zero);
    lower_gradient += select(is_upper, zero, -gradient * select(lower.raised, one, through));
  }

  // t = a ± b, a = mean z, b = mean |z − a|.
  const FloatVector through_mean = (upper_gradient + lower_gradient) / count;
  const FloatVector through_width = (upper_gradient - lower_gradient) / count;
  const FloatVector sign_mean = sign_sum / count;
  const std::size_t partial_at = first_row % partial_sums;
  for (std::size_t j = 0; j < columns; ++j) {
    const FloatVector centred = load(work.scaled + j * lanes) - mean;
    const FloatVector gradient =
        load(work.gradient + j * lanes) + through_mean + through_width * (sign(centred) - sign_mean);
    float* at = work.partial + j * partial_sums + partial_at;
    store(at, load(at) + gradient * load(weight + j * lanes));
  }

  float row_losses[lanes], row_distances[lanes];
  store(row_losses, proportional);
  store(row_distances, least_distance);
  for (std::size_t i = 0; i < rows; ++i) {
    sums.proportional += static_cast<double>(row_losses[i]);
    sums.deviation += static_cast<double>(row_distances[i]);
  }
}

}  // namespace

namespace DBELL_NUMERICS_SET {

const std::size_t lane_count = lanes;

LtdbSums ltdb_losses(const LtdbRows& rows, const float* scale, LtdbLoss loss, double* gradient) {
  const std::size_t columns = rows.columns;
  float* memory = new float[columns * (2 * lanes + partial_sums)];
  const Workspace work{memory, memory + columns * lanes, memory + 2 * columns * lanes};
  for (std::size_t k = 0; k < columns * partial_sums; ++k) work.partial[k] = 0.0f;
  LtdbSums sums;
  for (std::size_t row = 0; row < rows.rows; row += lanes) {
    const std::size_t here = rows.rows - row < std::size_t(lanes) ? rows.rows - row : std::size_t(lanes);
    const float* weight = rows.packed + row * columns;
    if (loss == LtdbLoss::l2)
      add_group<LtdbLoss::l2>(weight, columns, scale, row, here, work, sums);
    else
      add_group<LtdbLoss::l1>(weight, columns, scale, row, here, work, sums);
  }
  for (std::size_t j = 0; j < columns; ++j) {
    double sum = 0;
    for (std::size_t part = 0; part < partial_sums; ++part)
      sum += static_cast<double>(work.partial[j * partial_sums + part]);
    gradient[j] += sum;
  }
  delete[] memory;
  return sums;
}

}  // namespace DBELL_NUMERICS_SET
}  // namespace dbell::numerics
