// The process-wide thread pool: workers spin for microseconds after a job, then sleep.
#include "base/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/platform.h"

namespace tiercel {
namespace {

constexpr int kSpins = 2000;  // a few tens of microseconds

struct Job {
  ParallelBody body;
  void* context;
  int64_t units;
  int64_t grain;
  int width;
  uint64_t float_mode;  // of the caller: results do not depend on who computes them
  std::atomic<int64_t> next{0};
  std::atomic<int> joined{1};  // the caller is worker 0
  std::atomic<int> active{0};  // workers inside, without the caller

  void work(int worker) {
    for (;;) {
      const int64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
      if (begin >= units) return;
      body(context, begin, std::min(begin + grain, units), worker);
    }
  }
  [[nodiscard]] bool open() const {
    return next.load(std::memory_order_relaxed) < units &&
           joined.load(std::memory_order_relaxed) < width;
  }
};

class Pool {
 public:
  explicit Pool(int workers) : workers_(workers) {}

  void run(Job& job) {
    start();
    {
      std::lock_guard lock(mutex_);
      jobs_.push_back(&job);
      epoch_.fetch_add(1, std::memory_order_release);
    }
    if (sleeping_.load(std::memory_order_acquire) > 0) wake_.notify_all();
    job.work(0);
    {
      std::lock_guard lock(mutex_);
      jobs_.erase(std::find(jobs_.begin(), jobs_.end(), &job));
    }
    for (int spin = 0; job.active.load(std::memory_order_acquire) != 0; ++spin) {
      if (spin < kSpins) {
        cpu_relax();
      } else {
        std::this_thread::yield();
      }
    }
  }

 private:
  void start() {
    std::call_once(started_, [this] {
      for (int i = 0; i < workers_; ++i) std::thread([this] { serve(); }).detach();
    });
  }

  // Joins an open job under the lock, so that the caller cannot leave before `active` counts us.
  bool help() {
    Job* job = nullptr;
    int worker = 0;
    {
      std::lock_guard lock(mutex_);
      for (Job* candidate : jobs_) {
        if (!candidate->open()) continue;
        job = candidate;
        worker = job->joined.fetch_add(1, std::memory_order_relaxed);
        job->active.fetch_add(1, std::memory_order_relaxed);
        break;
      }
    }
    if (job == nullptr) return false;
    if (float_mode() != job->float_mode) set_float_mode(job->float_mode);
    job->work(worker);
    job->active.fetch_sub(1, std::memory_order_release);
    return true;
  }

  [[noreturn]] void serve() {
    for (;;) {
      const uint64_t seen = epoch_.load(std::memory_order_acquire);
      if (help()) continue;
      int spin = 0;
      while (spin < kSpins && epoch_.load(std::memory_order_acquire) == seen) {
        cpu_relax();
        ++spin;
      }
      if (spin < kSpins) continue;
      std::unique_lock lock(mutex_);
      sleeping_.fetch_add(1, std::memory_order_release);
      wake_.wait(lock, [&] { return epoch_.load(std::memory_order_relaxed) != seen; });
      sleeping_.fetch_sub(1, std::memory_order_release);
    }
  }

  const int workers_;
  std::once_flag started_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Job*> jobs_;
  std::atomic<uint64_t> epoch_{0};
  std::atomic<int> sleeping_{0};
};

std::atomic<Pool*> current{nullptr};

// Threads do not survive a fork: the child begins with a pool of its own; the old one is left
// alone.
void forget_pool() { current.store(nullptr); }

// Never destroyed: detached workers use it until the process ends.
Pool& pool() {
  Pool* found = current.load(std::memory_order_acquire);
  if (found != nullptr) return *found;
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  found = current.load();
  if (found != nullptr) return *found;
  static const int registered = pthread_atfork(nullptr, nullptr, forget_pool);
  static_cast<void>(registered);
  const int hardware = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  found = new Pool(std::max(1, std::max(hardware, usable_threads()) - 1));
  current.store(found, std::memory_order_release);
  return *found;
}

constexpr int kNoLimit = 1 << 20;

// Processors that one cgroup's cpu.max allows.
int quota_of(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return kNoLimit;
  try {
    return std::max(1, static_cast<int>(std::stod(quota) / period + 0.5));
  } catch (const std::exception&) {
    return kNoLimit;
  }
}

// The smallest quota of this process's cgroup and of those around it. Version 2 is the line that
// begins with "0::"; in a container of its own the cgroup is the root.
int cgroup_limit() {
  const std::string root = "/sys/fs/cgroup";
  int limit = quota_of(root);
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("0::/", 0) != 0) continue;
    std::string path = line.substr(3);
    for (; path.size() > 1; path.resize(path.rfind('/'))) {
      limit = std::min(limit, quota_of(root + path));
      if (path.rfind('/') == 0) break;
    }
  }
  return limit;
}

}  // namespace

int usable_threads() {
  int count = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) count = std::max(1, CPU_COUNT(&set));
  static const int limit = cgroup_limit();
  return std::min(count, limit);
}

void parallel_for(int width, int64_t units, int64_t grain, ParallelBody body, void* context) {
  if (units <= 0) return;
  if (width <= 1 || units <= grain) {
    body(context, 0, units, 0);
    return;
  }
  Job job{body, context, units, grain, width, float_mode()};
  pool().run(job);
}

}  // namespace tiercel
