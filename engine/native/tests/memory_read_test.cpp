// The measurement of the memory reads every word once: its sum is known.
#include "common/memory_read.h"

#include <vector>

#include "check.h"
#include "common/thread_pool.h"

using namespace dbell;

static std::uint64_t expected_sum(std::uint64_t count) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < count; ++i) sum += i;
  return sum;
}

static void test_sums() {
  // Around the number of sums that run side by side.
  for (const std::size_t count : {0u, 1u, 15u, 16u, 17u, 31u, 32u, 1000u}) {
    std::vector<std::uint64_t> words(count);
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < count; ++i) {
      words[i] = 0x9e3779b97f4a7c15ull * (i + 1);
      sum += words[i];
    }
    CHECK(sum_words(words.data(), count) == sum);
  }
}

static void test_measurement() {
  for (const int threads : {1, 2, 5}) {
    set_thread_count(threads);
    for (const std::size_t bytes : {std::size_t{8}, std::size_t{15}, std::size_t{8 * 1001}, std::size_t{1} << 20}) {
      const MemoryReadMeasurement measured = measure_memory_read(bytes, 3);
      CHECK(measured.sum == expected_sum(bytes / 8));
      CHECK(measured.threads == threads);
      CHECK(measured.seconds >= 0 && measured.seconds < 60);
    }
  }
  set_thread_count(0);
}

int main() {
  test_sums();
  test_measurement();
  return 0;
}
