#include "numerics/loops.h"

#include <cstdlib>
#include <cstring>

#include "numerics/loops/loops_set.h"

DBELL_DECLARE_LOOPS(generic)
#if defined(DBELL_NUMERICS_HAVE_X86_SETS)
DBELL_DECLARE_LOOPS(avx2)
DBELL_DECLARE_LOOPS(avx512)
#endif

#define DBELL_LOOPS_OF(set)                                                                                          \
  Loops {                                                                                                            \
    #set, set::lane_count, set::subtract_product_float, set::subtract_product_double, set::quantize_uniform,         \
        set::salient_errors, set::split_errors, set::quantize_structured, set::ltdb_losses, set::round_grid,         \
        set::descend_grid, set::quantize_table                                                                                            \
  }

namespace dbell::numerics {
namespace {

/// DBELL_FORCE_ISA takes the names of the runtime's kernels (cpu/kernel_choice.h); each stands for the loops that its
/// processor can run too, those of AVX-VNNI for those of AVX2.
Loops choose() {
  const char* forced = std::getenv("DBELL_FORCE_ISA");
  const auto allowed = [&](const char* set) {
    if (forced == nullptr || *forced == '\0') return true;
    const char* name = std::strcmp(forced, "avxvnni") == 0 ? "avx2" : forced;
    return std::strncmp(name, set, std::strlen(set)) == 0;
  };
  (void)allowed;
#if defined(DBELL_NUMERICS_HAVE_X86_SETS)
  __builtin_cpu_init();
  if (allowed("avx512") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    return DBELL_LOOPS_OF(avx512);
  if (allowed("avx2") && __builtin_cpu_supports("avx2")) return DBELL_LOOPS_OF(avx2);
#endif
  return DBELL_LOOPS_OF(generic);
}

}  // namespace

const Loops& loops() {
  static const Loops chosen = choose();
  return chosen;
}

}  // namespace dbell::numerics
