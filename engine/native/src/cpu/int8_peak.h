#pragma once
// How many int8 multiplications and additions this machine does a second at most, with the instructions of one set.
#include <string>

namespace dbell {

struct Int8Peak {
  double operations_per_second = 0;  ///< a multiplication and an addition are two; of all threads together
  int threads = 0;
  const char* instruction = "";      ///< what was measured, such as "vpdpbusd zmm"
};

/// The shortest of `passes` passes over independent sums that stay in registers, with the threads of parallel_for.
/// `instruction_set` is the name of a kernel table that this machine can run; sets without an instruction of their own
/// are measured by a plain loop.
Int8Peak measure_int8_peak(const std::string& instruction_set, int passes);

}  // namespace dbell
