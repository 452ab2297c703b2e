#include "kernels/lanes/lanes.h"
#include "kernels/vector/kernels.h"

#ifdef DBELL_AVX2_VECTORS
namespace dbell::avx2 {
float quantize(const float*, const float*, std::size_t, int, std::int8_t*);
void exponentials(float*, std::size_t, float);
void softmax(float*, std::size_t, const SeenPositions*, SoftmaxState*, float*);
void expand_halves(const std::uint16_t*, std::size_t, float*);
void expand_codes(const std::int8_t*, const float*, std::size_t, float*);
}  // namespace dbell::avx2
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
#ifdef DBELL_HAS_SUM_TABLES
                                        DBELL_KERNEL_SET::make_sum_tables,
#else
                                        nullptr,
#endif
                                        DBELL_KERNEL_SET::expand,
                                        DBELL_KERNEL_SET::expand_table,
                                        DBELL_KERNEL_SET::multiply,
                                        DBELL_KERNEL_SET::table_q8,
                                        DBELL_KERNEL_SET::table_packed,
                                        vectors::quantize,
                                        vectors::exponentials,
                                        vectors::softmax,
                                        vectors::expand_halves,
                                        vectors::expand_codes};
  return table;
}

}  // namespace dbell
