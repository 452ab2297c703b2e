#pragma once
// A weight kernel by itself, on matrices of random codes that together are larger than the caches.
#include <cstddef>

#include "kernels/kernel_table.h"

namespace dbell {

struct KernelTiming {
  double seconds = 0;      ///< of one matrix: the shortest pass over all of them, divided by their number
  std::size_t bytes = 0;   ///< codes and scales of one matrix
  std::size_t matrices = 0;
  int threads = 0;
};

/// Times `kernels.grid` on matrices `[rows, columns]` of `levels` levels and `tokens` tokens of 8-bit activations, with
/// the threads of parallel_for and the tasks that a stage makes. There are as many matrices as fill `total_bytes`, at
/// least one. `is_base3`: codes in base 3 (three levels only). Throws std::bad_alloc.
KernelTiming time_grid_kernel(const KernelTable& kernels, int levels, bool is_base3, std::size_t rows,
                              std::size_t columns, std::size_t tokens, std::size_t total_bytes, int passes);

}  // namespace dbell
