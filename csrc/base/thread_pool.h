// The process-wide thread pool: one set of workers for all sessions, sized by what the process may
// use.
#pragma once
#include <cstdint>

namespace tiercel {

// Threads that this process may use: its processor affinity and its cgroup's cpu.max. At least 1.
[[nodiscard]] int usable_threads();

// A run on `threads` threads, from here to the end of the scope: workers stay awake between its
// jobs.
class RunScope {
 public:
  explicit RunScope(int threads);
  ~RunScope();
  RunScope(const RunScope&) = delete;
  RunScope& operator=(const RunScope&) = delete;

 private:
  const bool counts_;
};

// Computes `body(context, begin, end, worker)` over [0, units) in pieces of `grain` units on at
// most `width` threads, the caller's among them; `worker` is in [0, width). Returns when all is
// done. The body must not throw. `work_ns`: how long all of it takes one thread, where that is
// known: much work wakes workers before it begins. `backwards`: each thread takes the last units of
// its part first.
using ParallelBody = void (*)(void* context, int64_t begin, int64_t end, int worker);
void parallel_for(int width, int64_t units, int64_t grain, ParallelBody body, void* context,
                  int64_t work_ns = 0, bool backwards = false);

}  // namespace tiercel
