#include "common/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

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

class Pool {
 public:
  ~Pool() { resize(0); }

  void resize(int workers) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
    workers_.clear();
    stopping_ = false;
    // The generation is fixed here: a worker that starts late must still see the job handed out meanwhile.
    for (int i = 0; i < workers; ++i) workers_.emplace_back([this, seen = generation_] { loop(seen); });
  }

  int workers() const { return static_cast<int>(workers_.size()); }

  void run(Job& job) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      job_ = &job;
      ++generation_;
      pending_ = workers();
    }
    wake_.notify_all();
    job.run();
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return pending_ == 0; });
    job_ = nullptr;
  }

 private:
  void loop(unsigned long seen) {
    for (;;) {
      Job* job = nullptr;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return stopping_ || generation_ != seen; });
        if (stopping_) return;
        seen = generation_;
        job = job_;
      }
      job->run();
      bool last = false;
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        last = --pending_ == 0;
      }
      if (last) done_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> workers_;
  Job* job_ = nullptr;
  unsigned long generation_ = 0;
  int pending_ = 0;
  bool stopping_ = false;
};

// Leaked on purpose: joining threads while the process tears down its libraries can hang.
Pool& pool() {
  static Pool* instance = new Pool();
  return *instance;
}

std::atomic<int> requested_threads{0};

}  // namespace

int hardware_threads() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

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
