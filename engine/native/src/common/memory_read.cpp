#include "common/memory_read.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <memory>

#include "common/thread_pool.h"

namespace dbell {
namespace {

/// Running sums side by side: additions must not wait for one another.
constexpr std::size_t kSums = 16;
/// Parts of the buffer for each thread, so that one thread that was interrupted does not hold up the pass.
constexpr std::size_t kPartsPerThread = 8;

}  // namespace

std::uint64_t sum_words(const std::uint64_t* words, std::size_t count) {
  std::uint64_t sums[kSums] = {};
  const std::size_t whole = count - count % kSums;
  for (std::size_t i = 0; i < whole; i += kSums) {
    for (std::size_t lane = 0; lane < kSums; ++lane) sums[lane] += words[i + lane];
  }
  std::uint64_t total = 0;
  for (const std::uint64_t sum : sums) total += sum;
  for (std::size_t i = whole; i < count; ++i) total += words[i];
  return total;
}

MemoryReadMeasurement measure_memory_read(std::size_t bytes, int passes) {
  const std::size_t count = bytes / sizeof(std::uint64_t);
  // Not initialised here: the threads that read a part are the first to touch it, which places its pages near them.
  const std::unique_ptr<std::uint64_t[]> words(new std::uint64_t[std::max<std::size_t>(count, 1)]);
  MemoryReadMeasurement measured;
  measured.threads = thread_count();
  const std::size_t parts = static_cast<std::size_t>(measured.threads) * kPartsPerThread;
  const std::size_t grain = std::max<std::size_t>(1, (count + parts - 1) / parts);
  parallel_for(count, grain, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) words[i] = i;
  });
  measured.seconds = std::numeric_limits<double>::infinity();
  for (int pass = 0; pass < passes; ++pass) {
    std::atomic<std::uint64_t> sum{0};
    const auto started_at = std::chrono::steady_clock::now();
    parallel_for(count, grain, [&](std::size_t begin, std::size_t end) {
      sum.fetch_add(sum_words(words.get() + begin, end - begin), std::memory_order_relaxed);
    });
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started_at;
    measured.seconds = std::min(measured.seconds, took.count());
    measured.sum = sum.load();
  }
  return measured;
}

}  // namespace dbell
