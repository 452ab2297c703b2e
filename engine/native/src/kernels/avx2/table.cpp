#include "kernels/avx2/kernels.h"

namespace dbell {

const KernelTable& avx2_kernels() {
  static constexpr KernelTable table = {"avx2",         avx2::grid,     avx2::structured,   avx2::expand,   avx2::expand_table,
                                        avx2::multiply, avx2::table_q8, avx2::table_packed, avx2::quantize, avx2::exponentials};
  return table;
}

}  // namespace dbell
