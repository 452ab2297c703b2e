#include "kernels/avx512vnni/kernels.h"

#include "kernels/avx2/kernels.h"

namespace dbell {

const KernelTable& avx512vnni_kernels() {
  static constexpr KernelTable table = {
      "avx512vnni",       avx512vnni::grid,     avx512vnni::structured,   avx512vnni::expand, avx2::expand_table,
      avx512vnni::multiply, avx512vnni::table_q8, avx512vnni::table_packed, avx2::quantize,     avx2::exponentials};
  return table;
}

}  // namespace dbell
