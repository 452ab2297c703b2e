#include "numerics/uniform_grid.h"

#include <algorithm>

#include "common/thread_pool.h"
#include "numerics/rows_report.h"

namespace dbell::numerics {

UniformGrid quantize_uniform(const float* weight, std::size_t out_features, std::size_t in_features,
                             const float* factor, int bits, Compensation compensation, std::size_t block_size) {
  const Loops& loop = loops();
  const std::size_t blocks = (in_features + block_size - 1) / block_size;
  const bool compensated = factor != nullptr && compensation != Compensation::none;
  UniformGrid grid;
  grid.codes.resize(out_features * in_features);
  grid.scales.resize(out_features * blocks);
  grid.offsets.resize(out_features * blocks);
  std::vector<float> current(weight, weight + out_features * in_features);
  std::vector<float> error(compensated ? out_features * std::min(block_size, in_features) : 0);
  const std::size_t chunks = (out_features + rows_per_task - 1) / rows_per_task;
  std::vector<RowsReport> reports(chunks);

  for (std::size_t b = 0; b < blocks; ++b) {
    const std::size_t first = b * block_size;
    const std::size_t width = std::min(block_size, in_features - first);
    const std::size_t behind = first + width;
    parallel_for(chunks, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t chunk = begin; chunk < end; ++chunk) {
        const std::size_t row = chunk * rows_per_task;
        const std::size_t rows = std::min(rows_per_task, out_features - row);
        float* chunk_error = compensated ? error.data() + row * width : nullptr;
        const BlockRows block_rows{current.data() + row * in_features + first,
                                   in_features,
                                   rows,
                                   width,
                                   compensated ? factor + first * in_features + first : nullptr,
                                   in_features,
                                   compensation,
                                   chunk_error};
        const UniformOutput output{grid.codes.data() + row * in_features + first, in_features,
                                   grid.scales.data() + row * blocks + b, grid.offsets.data() + row * blocks + b,
                                   blocks};
        reports[chunk] = loop.quantize_uniform(block_rows, 1 << bits, output);
        if (compensated && behind < in_features && reports[chunk].non_finite_row < 0)
          loop.subtract_product_float(current.data() + row * in_features + behind, in_features, chunk_error, width,
                                      factor + first * in_features + behind, in_features, rows, in_features - behind,
                                      width);
      }
    });
    for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
      throw_if_not_finite(reports[chunk], chunk * rows_per_task, first);
      grid.saturated += reports[chunk].saturated;
    }
  }
  return grid;
}

}  // namespace dbell::numerics
