#pragma once
namespace dbell::numerics {

/// |t| counts at least as this fraction of |a| + b where a loss divides by it: where a target lies near 0 one row would otherwise own the gradient of the whole
/// block (docs/method.md, section 1). A row of normal weights is nowhere near (its |a| is a tenth of b).
constexpr float smallest_target_fraction = 0.01f;

/// Least |T|, of the start (the paper's floor) and of the result.
constexpr float smallest_scale = 1e-5f;

/// Greatest start: beyond it Z or 1/T would leave float32.
constexpr float largest_start = 1e30f;

}  // namespace dbell::numerics
