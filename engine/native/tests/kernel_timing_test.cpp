// The timing of kernels by themselves touches no byte that is not there, whatever the shape; the peak is a number.
#include <cstdio>
#include <string>

#include "check.h"
#include "cpu/int8_peak.h"
#include "cpu/kernel_choice.h"
#include "runtime/kernel_timing.h"

using namespace dbell;

int main() {
  const struct {
    int levels;
    bool is_base3;
  } storages[] = {{2, false}, {3, true}, {3, false}, {8, false}, {16, false}};
  const std::size_t shapes[][2] = {{16, 32}, {17, 33}, {40, 130}, {48, 256}};
  for (const KernelTable* kernels : available_kernels()) {
    for (const auto& [levels, is_base3] : storages) {
      for (const auto& shape : shapes) {
        for (const std::size_t tokens : {std::size_t{1}, std::size_t{5}}) {
          const KernelTiming timing =
              time_grid_kernel(*kernels, levels, is_base3, shape[0], shape[1], tokens, 20'000, 2);
          CHECK(timing.seconds > 0 && timing.matrices >= 1 && timing.bytes > 0);
        }
      }
    }
    const Int8Peak peak = measure_int8_peak(kernels->name, 1);
    CHECK(peak.operations_per_second > 1e6 && std::string(peak.instruction) != "");
  }
  std::puts("checked");
  return 0;
}
