// Causal attention with grouped heads over the cache, softmax(q kᵀ / sqrt(head_dimension)) v. Each query's result is
// computed in an order that depends on its own position alone, so that tokens fed one by one and all at once give the
// same bits.
#include <algorithm>
#include <cmath>
#include <vector>

#include "common/thread_pool.h"
#include "runtime/session.h"

namespace dbell {
namespace {

/// Queries (tokens × heads that share a key head) of one task: enough to reuse keys, few enough that their scores stay
/// in the cache.
constexpr std::size_t kQueriesPerTask = 24;
/// Below this many multiplications the other threads are not woken.
constexpr double kParallelMultiplications = 1e6;

}  // namespace

void Session::attend(BlockCache& cache, std::size_t count) {
  const std::size_t head_size = model_.head_dimension, value_size = padded(head_size),
                    key_heads = model_.key_value_head_count;
  const std::size_t group = model_.head_count / key_heads, stride = padded(model_.head_count * head_size);
  const std::size_t tokens_per_task = std::max<std::size_t>(1, kQueriesPerTask / group),
                    tiles = (count + tokens_per_task - 1) / tokens_per_task;
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_size)));
  const KernelTable& kernels = *model_.kernels;
  const double multiplications =
      2.0 * static_cast<double>(count * model_.head_count * head_size) * static_cast<double>(position_ + count);
  const std::size_t tasks = key_heads * tiles;

  parallel_for(tasks, multiplications < kParallelMultiplications ? tasks : 1, [&](std::size_t begin, std::size_t end) {
    static thread_local AlignedBuffer<float> queries, scores, mixed, expanded;
    static thread_local std::vector<SoftmaxState> softmax;
    static thread_local std::vector<SeenPositions> seen;
    static thread_local std::vector<float> factors;
    for (std::size_t task = begin; task < end; ++task) {
      const std::size_t head = task / tiles, first_token = task % tiles * tokens_per_task,
                        tokens = std::min(tokens_per_task, count - first_token);
      const std::size_t rows = tokens * group, keys = position_ + first_token + tokens;
      // Keys that no query of this tile sees, in whole segments.
      const std::size_t window = model_.sliding_window, first_position = position_ + first_token;
      const std::size_t lowest_key = window == 0 || first_position + 1 <= window ? 0 : first_position + 1 - window;
      const std::size_t first_segment = lowest_key / kPositionsPerSegment;
      queries.reserve(rows * head_size);
      scores.reserve(rows * kPositionsPerSegment);
      mixed.reserve(rows * value_size);
      expanded.reserve(kPositionsPerSegment * value_size);
      softmax.assign(rows, {});
      seen.resize(rows);
      factors.resize(rows);
      for (std::size_t row = 0; row < rows; ++row) {
        const float* query =
            workspace_.query.data() + (first_token + row / group) * stride + (head * group + row % group) * head_size;
        for (std::size_t i = 0; i < head_size; ++i) queries[row * head_size + i] = query[i] * scale;
      }
      for (std::size_t segment = first_segment; segment * kPositionsPerSegment < keys; ++segment) {
        const std::size_t start = segment * kPositionsPerSegment, size = std::min(kPositionsPerSegment, keys - start);
        const std::size_t tiles_here = padded(size) / kKeysPerTile;
        kernels.multiply(queries.data(), head_size, rows, head_size,
                         cache[segment].keys(kernels, head, tiles_here, expanded.data()), kKeysPerTile,
                         head_size * kKeysPerTile, tiles_here, scores.data(), kPositionsPerSegment, false);
        for (std::size_t row = 0; row < rows; ++row) {
          // Keys [first, last) are seen; those of this segment counted from its start.
          const std::size_t last = first_position + row / group + 1;
          const std::size_t first = window == 0 || last <= window ? 0 : last - window;
          seen[row] = {std::max(first, start) - start, std::min(last, start + size) - std::min(last, start)};
        }
        kernels.softmax(scores.data(), rows, seen.data(), softmax.data(), factors.data());
        for (std::size_t row = 0; row < rows; ++row) {
          if (segment == first_segment || factors[row] == 1.0f) continue;
          for (std::size_t i = 0; i < value_size; ++i) mixed[row * value_size + i] *= factors[row];
        }
        kernels.multiply(scores.data(), kPositionsPerSegment, rows, size,
                         cache[segment].values(kernels, head, size, expanded.data()), value_size, kRowsPerGroup,
                         value_size / kRowsPerGroup, mixed.data(), value_size, segment > first_segment);
      }
      for (std::size_t row = 0; row < rows; ++row) {
        float* out = workspace_.attention.data() + (first_token + row / group) * stride +
                     (head * group + row % group) * head_size;
        const float factor = 1.0f / softmax[row].total;
        for (std::size_t i = 0; i < head_size; ++i) out[i] = mixed[row * value_size + i] * factor;
      }
    }
  });
}

}  // namespace dbell
