// LTDB's training on odd shapes and hostile rows, under the sanitizers.
#include <stdexcept>

#include "common/thread_pool.h"
#include "numerics/ltdb.h"
#include "numerics_inputs.h"

using namespace dbell::numerics;
using namespace dbell::numerics_test;

namespace {

void check_usable(const Ltdb& result, std::size_t columns) {
  CHECK(result.scale.size() == columns);
  for (const float value : result.scale) CHECK(std::isfinite(value) && std::fabs(value) >= 1e-5f);
}

void loss_falls(std::size_t rows, std::size_t columns) {
  const std::vector<float> weight = random_weight(rows, columns, rows + columns);
  const std::vector<float> abs_max(columns, 2.0f);
  for (const LtdbLoss loss : {LtdbLoss::l2, LtdbLoss::l1}) {
    LtdbOptions options;
    options.loss = loss;
    const Ltdb result = train_ltdb(weight.data(), rows, columns, abs_max.data(), nullptr, options);
    check_usable(result, columns);
    for (const LtdbBlock& block : result.blocks) {
      CHECK(!block.loss_curve.empty() && block.loss_curve.size() <= 200);
      if (block.loss_curve.size() > 1) CHECK(block.loss_curve[1] <= block.loss_curve[0] * 1.001f);
    }
  }
}

void hostile(std::size_t width) {
  const std::vector<float> weight = hostile_rows(width);
  std::vector<float> abs_max(width, 1.0f);
  abs_max[width / 3] = 0;
  const Ltdb result =
      train_ltdb(weight.data(), weight.size() / width, width, abs_max.data(), nullptr, LtdbOptions());
  check_usable(result, width);
  CHECK(result.scale[width / 3] == 1);
}

void not_finite_is_refused() {
  std::vector<float> weight = random_weight(2, 3, 1);
  std::vector<float> abs_max(3, 1.0f);
  weight[4] = std::nanf("");
  bool thrown = false;
  try {
    train_ltdb(weight.data(), 2, 3, abs_max.data(), nullptr, LtdbOptions());
  } catch (const std::invalid_argument&) {
    thrown = true;
  }
  CHECK(thrown);
}

}  // namespace

int main() {
  for (const int threads : {1, 3}) {
    dbell::set_thread_count(threads);
    loss_falls(1, 3);
    loss_falls(17, 43);
    loss_falls(40, 129);
    loss_falls(5, 300);
    for (const std::size_t width : {1u, 2u, 43u, 130u}) hostile(width);
    not_finite_is_refused();
  }
  return 0;
}
