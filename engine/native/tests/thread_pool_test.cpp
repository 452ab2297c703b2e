// parallel_for under every order of waking, sleeping and ending that can be provoked: each index once, exceptions
// handed on, the number of threads changed on the way. The thread sanitizer runs it too.
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "check.h"
#include "common/thread_pool.h"

using dbell::parallel_for;
using dbell::set_thread_count;

namespace {

/// Every index of [0, count) exactly once, in ranges that begin at multiples of the grain.
void check_cover(std::size_t count, std::size_t grain) {
  std::vector<int> visits(count, 0);  // plain on purpose: ranges are disjoint, so no two threads write one element
  std::atomic<std::size_t> covered{0};
  parallel_for(count, grain, [&](std::size_t begin, std::size_t end) {
    CHECK(begin < end && end <= count && begin % (grain == 0 ? 1 : grain) == 0);
    for (std::size_t i = begin; i < end; ++i) ++visits[i];
    covered += end - begin;
  });
  CHECK(covered == count);
  for (const int visit : visits) CHECK(visit == 1);
}

void check_exception(std::size_t count) {
  std::atomic<std::size_t> ran{0};
  bool thrown = false;
  try {
    parallel_for(count, 1, [&](std::size_t begin, std::size_t) {
      ++ran;
      if (begin == count / 2) throw std::runtime_error("the middle one");
    });
  } catch (const std::runtime_error&) {
    thrown = true;
  }
  CHECK(thrown && ran == count);
}

void check_nested() {
  std::vector<int> visits(64, 0);
  parallel_for(8, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i)
      parallel_for(8, 1, [&, i](std::size_t from, std::size_t to) {
        for (std::size_t j = from; j < to; ++j) ++visits[8 * i + j];
      });
  });
  for (const int visit : visits) CHECK(visit == 1);
}

/// Pauses between the loops from none, where threads still spin, to some in which they fall asleep.
void check_pauses() {
  for (int round = 0; round < 60; ++round) {
    check_cover(16, 1);
    std::this_thread::sleep_for(std::chrono::microseconds(round * 15));
  }
  // Work so uneven that the caller waits for a worker, spinning at first and asleep in the end.
  for (const int milliseconds : {0, 1, 20}) {
    std::atomic<int> ran{0};
    parallel_for(4, 1, [&](std::size_t begin, std::size_t) {
      if (begin > 0) std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
      ++ran;
    });
    CHECK(ran == 4);
  }
}

}  // namespace

int main() {
  for (const int threads : {1, 2, 3, 8, 2, 1, 4}) {
    set_thread_count(threads);
    check_cover(0, 1);
    for (const std::size_t count : {1, 2, 3, 17, 1000})
      for (const std::size_t grain : {0, 1, 2, 7, 1000}) check_cover(count, grain);
    for (int repeat = 0; repeat < 2000; ++repeat) check_cover(4, 1);
    check_exception(9);
    check_cover(9, 1);
    check_nested();
    check_pauses();
  }
  std::puts("thread pool: ok");
  return 0;
}
