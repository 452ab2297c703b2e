#include "kernels/vector/kernels.h"

#ifdef DBELL_AVX2_VECTORS
#include "kernels/avx2/kernels.h"
#endif

#define DBELL_JOIN_NAMES(a, b) a##b
#define DBELL_KERNELS_OF(set) DBELL_JOIN_NAMES(set, _kernels)

namespace dbell {
#ifdef DBELL_AVX2_VECTORS
namespace vectors = avx2;
#else
namespace vectors = DBELL_KERNEL_SET;
#endif

const KernelTable& DBELL_KERNELS_OF(DBELL_KERNEL_SET)() {
  static constexpr KernelTable table = {DBELL_KERNEL_NAME,
                                        DBELL_KERNEL_SET::grid,
                                        DBELL_KERNEL_SET::structured,
                                        DBELL_KERNEL_SET::expand,
                                        DBELL_KERNEL_SET::expand_table,
                                        DBELL_KERNEL_SET::multiply,
                                        DBELL_KERNEL_SET::table_q8,
                                        DBELL_KERNEL_SET::table_packed,
                                        vectors::quantize,
                                        vectors::exponentials};
  return table;
}

}  // namespace dbell
