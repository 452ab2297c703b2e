#pragma once
// Threads that stay: work is handed to them in parallel loops, the caller takes part.
#include <cstddef>
#include <functional>

namespace dbell {

/// Number of hardware threads, at least 1.
int hardware_threads();

/// Sets how many threads parallel_for may use (including the caller). 0 means hardware_threads().
void set_thread_count(int threads);
int thread_count();

/// Calls body(begin, end) over disjoint ranges that cover [0, count). The split depends on `grain` alone, never on the
/// number of threads, so a body whose result depends only on its own range gives the same bytes with any thread count.
/// The first exception thrown by a body is rethrown in the caller after all threads have finished.
/// Not reentrant: a body must not call parallel_for (nested calls run in the calling thread).
void parallel_for(std::size_t count, std::size_t grain, const std::function<void(std::size_t, std::size_t)>& body);

}  // namespace dbell
