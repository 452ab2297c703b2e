#pragma once
// How fast this machine's memory can be read in order: what bounds the decoding of one token.
#include <cstddef>
#include <cstdint>

namespace dbell {

struct MemoryReadMeasurement {
  double seconds = 0;        ///< shortest of the passes
  std::uint64_t sum = 0;     ///< of all 64-bit words of the buffer, so that the reading cannot be left out
  int threads = 0;           ///< that took part
};

/// Sum of `count` words modulo 2^64, read in order.
std::uint64_t sum_words(const std::uint64_t* words, std::size_t count);

/// Fills a buffer of `bytes` (rounded down to whole words; word i holds i) and reads it whole `passes` times with the
/// threads of parallel_for, each its own contiguous share, as the kernels read weights. A buffer well beyond the last
/// cache makes it a measurement of the memory. Throws std::bad_alloc.
MemoryReadMeasurement measure_memory_read(std::size_t bytes, int passes);

}  // namespace dbell
