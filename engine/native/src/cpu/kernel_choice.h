#pragma once
// Which instruction set's kernels run on this machine.
#include <string>
#include <vector>

#include "kernels/kernel_table.h"

namespace dbell {

/// Every table that was compiled in and that this CPU (and operating system: wide registers must be saved) can run,
/// slowest first; never empty.
const std::vector<const KernelTable*>& available_kernels();

/// The fastest available table, or the one that the environment variable DBELL_FORCE_ISA names (generic, sse41, avx2,
/// avx512, avxvnni, avx512vnni; on ARM generic, neon, neon-dot). Read at each call. Throws std::invalid_argument where the variable names an unknown set or one that
/// this machine cannot run.
const KernelTable& chosen_kernels();

/// The table of that name, under the same conditions.
const KernelTable& kernels_by_name(const std::string& name);

}  // namespace dbell
