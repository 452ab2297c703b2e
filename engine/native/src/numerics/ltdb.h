#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "numerics/loops.h"

namespace dbell::numerics {

struct LtdbOptions {
  double epsilon = 0.85;
  /// False: T0 alone.
  bool trained = true;
  double learning_rate = 0.01;
  std::size_t maximum_epochs = 200;
  LtdbLoss loss = LtdbLoss::l2;
  std::size_t block_size = 128;
};

struct LtdbBlock {
  /// L_DTNP of every epoch.
  std::vector<float> loss_curve;
  bool stopped_early = false;
  bool kept_start = false;
};

struct Ltdb {
  /// T, `[in]`.
  std::vector<float> scale;
  std::vector<LtdbBlock> blocks;
};

/// Learnable Transformation for Dual-Bell (DBellQuant; docs/method.md, section 1) of one linear. `abs_max` is max|X_j|, `weight_maximum` max_i |W_ij| or null
/// (then the linear's own). Throws std::invalid_argument where a weight or maximum is not finite.
Ltdb train_ltdb(const float* weight, std::size_t out_features, std::size_t in_features, const float* abs_max,
                const float* weight_maximum, const LtdbOptions& options);

}  // namespace dbell::numerics
