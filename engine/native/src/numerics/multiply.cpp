#include "numerics/multiply.h"

#include <algorithm>

#include "common/thread_pool.h"
#include "numerics/loops.h"

namespace dbell::numerics {
namespace {

constexpr std::size_t rows_per_chunk = 64;

}  // namespace

std::vector<double> multiply(const float* a, const double* b, std::size_t rows, std::size_t inner,
                             std::size_t columns) {
  const Loops& loop = loops();
  std::vector<double> result(rows * columns);
  const std::size_t chunks = (rows + rows_per_chunk - 1) / rows_per_chunk;
  parallel_for(chunks, 1, [&](std::size_t begin, std::size_t end) {
    std::vector<double> negated(rows_per_chunk * inner);
    for (std::size_t chunk = begin; chunk < end; ++chunk) {
      const std::size_t row = chunk * rows_per_chunk;
      const std::size_t count = std::min(rows_per_chunk, rows - row);
      for (std::size_t k = 0; k < count * inner; ++k) negated[k] = -static_cast<double>(a[row * inner + k]);
      loop.subtract_product_double(result.data() + row * columns, columns, negated.data(), inner, b, columns, count,
                                   columns, inner);
    }
  });
  return result;
}

}  // namespace dbell::numerics
