#include "common/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#if defined(_MSC_VER)
#define NOMINMAX
#include <windows.h>
#endif

namespace dbell {
namespace {

thread_local bool inside_parallel_for = false;

struct Job {
  std::size_t count = 0;
  std::size_t grain = 1;
  const std::function<void(std::size_t, std::size_t)>* body = nullptr;
  std::atomic<std::size_t> next{0};
  std::exception_ptr error;
  std::mutex error_mutex;

  void run() {
    inside_parallel_for = true;
    for (;;) {
      const std::size_t begin = next.fetch_add(grain, std::memory_order_relaxed);
      if (begin >= count) break;
      try {
        (*body)(begin, std::min(begin + grain, count));
      } catch (...) {
        const std::lock_guard<std::mutex> lock(error_mutex);
        if (!error) error = std::current_exception();
      }
    }
    inside_parallel_for = false;
  }
};

/// Tells the processor that this thread is waiting for another.
inline void relax() {
#if defined(_MSC_VER)
  YieldProcessor();
#elif defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Looks that a waiting thread takes before it sleeps, some 50 to 150 µs in all: the stages of a token follow each other
/// faster than the system wakes a thread.
constexpr int kSpins = 2000;

template <class Condition>
bool spin_until(const Condition& condition, int spins) {
  for (int i = 0; i < spins; ++i) {
    if (condition()) return true;
    relax();
  }
  return condition();
}

/// Workers take part in a job while it is open. The caller closes it when no work is left and waits only for those who
/// joined: one that the system has not woken up yet holds nobody up.
class Pool {
 public:
  ~Pool() { resize(0); }

  void resize(int workers) {
    stopping_ = true;
    announce();
    for (auto& worker : workers_) worker.join();
    workers_.clear();
    stopping_ = false;
    // More threads than processors would spin where the one that they wait for should run.
    spins_ = workers < hardware_threads() ? kSpins : 0;
    // The generation is fixed here: a worker that starts late must still see the job handed out meanwhile.
    for (int i = 0; i < workers; ++i) workers_.emplace_back([this, seen = generation_.load()] { loop(seen); });
  }

  int workers() const { return static_cast<int>(workers_.size()); }

  void run(Job& job) {
    job_ = &job;
    state_.fetch_and(~kClosed);
    announce();
    job.run();
    state_.fetch_or(kClosed);
    const auto is_alone = [this] { return state_.load() == kClosed; };
    if (spin_until(is_alone, spins_)) return;
    std::unique_lock<std::mutex> lock(mutex_);
    is_caller_asleep_ = true;
    done_.wait(lock, is_alone);
    is_caller_asleep_ = false;
  }

 private:
  /// Bit of state_: no job may be joined. The other bits count the workers who joined.
  static constexpr unsigned kClosed = 1u << 31;

  /// A new job, or the end. A worker counts itself among the sleepers before it looks at the generation for the last
  /// time, and here it is the other way round, so that one of the two sees the other.
  void announce() {
    ++generation_;
    if (sleepers_.load() == 0) return;
    { const std::lock_guard<std::mutex> lock(mutex_); }
    wake_.notify_all();
  }

  bool join() {
    unsigned state = state_.load();
    while ((state & kClosed) == 0) {
      if (state_.compare_exchange_weak(state, state + 1)) return true;
    }
    return false;
  }

  void leave() {
    if (state_.fetch_sub(1) != (kClosed | 1u) || !is_caller_asleep_.load()) return;
    { const std::lock_guard<std::mutex> lock(mutex_); }
    done_.notify_one();
  }

  void loop(unsigned long seen) {
    const auto is_called = [&] { return generation_.load() != seen; };
    for (;;) {
      if (!spin_until(is_called, spins_)) {
        std::unique_lock<std::mutex> lock(mutex_);
        ++sleepers_;
        wake_.wait(lock, is_called);
        --sleepers_;
      }
      seen = generation_.load();
      if (stopping_) return;
      if (!join()) continue;
      job_->run();
      leave();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> workers_;
  /// Written while nobody may join, read by those who have.
  Job* job_ = nullptr;
  int spins_ = 0;
  std::atomic<unsigned> state_{kClosed};
  std::atomic<unsigned long> generation_{0};
  std::atomic<int> sleepers_{0};
  std::atomic<bool> is_caller_asleep_{false}, stopping_{false};
};

// Leaked on purpose: joining threads while the process tears down its libraries can hang.
Pool& pool() {
  static Pool* instance = new Pool();
  return *instance;
}

std::atomic<int> requested_threads{0};

}  // namespace

int hardware_threads() {
  // Asked once: the C library opens a file of the system for each answer.
  static const int threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  return threads;
}

void set_thread_count(int threads) { requested_threads = std::max(0, threads); }

int thread_count() {
  const int requested = requested_threads.load();
  return requested == 0 ? hardware_threads() : requested;
}

void parallel_for(std::size_t count, std::size_t grain, const std::function<void(std::size_t, std::size_t)>& body) {
  if (count == 0) return;
  Job job;
  job.count = count;
  job.grain = std::max<std::size_t>(1, grain);
  job.body = &body;
  const int wanted = thread_count() - 1;
  if (inside_parallel_for || wanted <= 0 || count <= job.grain) {
    const bool outer = inside_parallel_for;
    job.run();
    inside_parallel_for = outer;
  } else {
    if (pool().workers() != wanted) pool().resize(wanted);
    pool().run(job);
  }
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace dbell
