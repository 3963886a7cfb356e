// The process-wide thread pool. A job stands in one of a few slots, where workers join it without a
// lock; they spin while runs are in progress and for microseconds after, then sleep.
#include "base/thread_pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <climits>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/platform.h"

namespace tiercel {
namespace {

// Nanoseconds that a worker without work spins: after the last run, and within one.
constexpr int64_t kSpinAfter = 20'000, kSpinWithin = 40'000;
// Waking a worker pays when so much work is left, or has been missed; it comes late.
constexpr int64_t kWakeNs = 20'000;
constexpr int64_t kMuchNs = 100'000;  // work that wakes workers at once, whatever a grain takes
constexpr int kSlots = 64;            // jobs at once
constexpr int kWaits = 2000;          // looks at the last workers of a job before the caller yields
constexpr int kLooksPerTime = 16;     // looks for a job per look at the clock

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// One thread's run: how deep runs are nested, and the work for which a worker slept.
struct OwnRun {
  int depth = 0;
  int64_t missed = 0;
};
thread_local OwnRun own_run;

// The part of a job's units that one thread takes first; others help when theirs are done.
struct alignas(64) Share {
  std::atomic<int64_t> next{0};
  int64_t begin = 0, end = 0;
};

struct Job {
  ParallelBody body = nullptr;
  void* context = nullptr;
  int64_t units = 0;
  int64_t grain = 1;
  int width = 1;
  uint64_t float_mode = 0;  // of the caller: results do not depend on who computes them
  int64_t work_ns = 0;      // of all units, where it is known
  bool backwards = false;   // the last units of a share first
};

// `state`: the workers inside, those that have joined (the caller is the first), how many may join,
// and whether they still may. What else is here is written while the slot is closed and empty.
struct alignas(64) Slot {
  static constexpr uint64_t kInside = 1, kJoined = uint64_t{1} << 16, kWidth = uint64_t{1} << 32,
                            kOpen = uint64_t{1} << 48, kField = 0xffff;
  std::atomic<uint64_t> state{0};
  Job job;
  std::unique_ptr<Share[]> shares;

  void open(const Job& given) {
    job = given;
    for (int i = 0; i < job.width; ++i) {
      Share& share = shares[static_cast<size_t>(i)];
      share.begin = job.units * i / job.width;
      share.end = job.units * (i + 1) / job.width;
      share.next.store(share.begin, std::memory_order_relaxed);
    }
    const auto width = static_cast<uint64_t>(job.width);
    state.store(kOpen | kWidth * width | kJoined, std::memory_order_release);
  }

  // The number of this worker in the job; 0 when it is too late.
  int join() {
    uint64_t seen = state.load(std::memory_order_acquire);
    for (;;) {
      const uint64_t joined = seen / kJoined & kField;
      if ((seen & kOpen) == 0 || joined >= (seen / kWidth & kField)) return 0;
      if (state.compare_exchange_weak(seen, seen + kJoined + kInside, std::memory_order_acq_rel)) {
        return static_cast<int>(joined);
      }
    }
  }
  void leave() { state.fetch_sub(kInside, std::memory_order_release); }

  // Nobody joins any more, and the last worker has left.
  void close() {
    state.fetch_and(~kOpen, std::memory_order_acq_rel);
    for (int i = 0; (state.load(std::memory_order_acquire) & kField) != 0; ++i) {
      if (i < kWaits) {
        cpu_relax();
      } else {
        std::this_thread::yield();
      }
    }
  }

  // Computes one grain of the share; false when none is left.
  bool step(Share& share, int worker) {
    if (share.next.load(std::memory_order_relaxed) >= share.end) return false;
    const int64_t begin = share.next.fetch_add(job.grain, std::memory_order_relaxed);
    if (begin >= share.end) return false;
    const int64_t end = std::min(begin + job.grain, share.end);
    if (job.backwards) {
      job.body(job.context, share.begin + share.end - end, share.begin + share.end - begin, worker);
    } else {
      job.body(job.context, begin, end, worker);
    }
    return true;
  }

  // `place`: of the thread in the pool. It begins with the same share in every job, as far as there
  // are so many: its caches may hold what the job before left there.
  void work(int worker, int place) {
    const int first = place < job.width ? place : worker;
    for (int i = 0; i < job.width; ++i) {
      Share& share = shares[static_cast<size_t>((first + i) % job.width)];
      while (step(share, worker)) {
      }
    }
  }
};

class Pool {
 public:
  explicit Pool(int workers) : workers_(workers) {
    for (Slot& slot : slots_) slot.shares = std::make_unique<Share[]>(size_t(workers) + 1);
  }

  void begin_run() { runs_.fetch_add(1, std::memory_order_relaxed); }
  void end_run() { runs_.fetch_sub(1, std::memory_order_relaxed); }

  void run(Job job) {
    job.width = std::min(job.width, workers_ + 1);
    // Where every processor has a caller of its own, handing work around gains nothing.
    const int place = runs_.load(std::memory_order_relaxed) > workers_ ? -1 : claim();
    if (place < 0) return job.body(job.context, 0, job.units, 0);
    start();
    Slot& slot = slots_[static_cast<size_t>(place)];
    const uint64_t bit = uint64_t{1} << place;
    slot.open(job);
    open_.fetch_or(bit, std::memory_order_seq_cst);
    const int sleeping = sleeping_.load(std::memory_order_seq_cst);
    const int lacking = job.width - 1 - (workers_ - sleeping);
    if (lacking > 0) {
      if (job.work_ns >= kMuchNs) {
        wake(lacking);
      } else {
        wake_if_worth(slot, lacking);
      }
    }
    slot.work(0, 0);
    open_.fetch_and(~bit, std::memory_order_relaxed);
    slot.close();
    claimed_.fetch_and(~bit, std::memory_order_release);
  }

 private:
  void start() {
    std::call_once(started_, [this] {
      for (int i = 0; i < workers_; ++i) std::thread([this, i] { serve(i + 1); }).detach();
    });
  }

  // A slot for the caller alone; -1 when there is none.
  int claim() {
    uint64_t seen = claimed_.load(std::memory_order_relaxed);
    for (;;) {
      const int place = std::countr_one(seen);
      if (place >= kSlots) return -1;
      const uint64_t bit = uint64_t{1} << place;
      if (claimed_.compare_exchange_weak(seen, seen | bit, std::memory_order_acquire)) return place;
    }
  }

  // The first grain tells how long the rest takes.
  void wake_if_worth(Slot& slot, int count) {
    const int64_t start = now_ns();
    if (!slot.step(slot.shares[0], 0)) return;
    const int64_t rest = (now_ns() - start) * ((slot.job.units - 1) / slot.job.grain);
    own_run.missed += rest;
    if (own_run.missed < kWakeNs) return;
    wake(count);
  }

  void wake(int count) {
    own_run.missed = 0;
    bell_.fetch_add(1, std::memory_order_seq_cst);
    syscall(SYS_futex, &bell_, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
  }

  // Whether there was a job to help with. `place`: of this thread in the pool, from 1 on.
  bool help(int place) {
    for (uint64_t left = open_.load(std::memory_order_seq_cst); left != 0; left &= left - 1) {
      Slot& slot = slots_[static_cast<size_t>(std::countr_zero(left))];
      const int worker = slot.join();
      if (worker == 0) continue;
      if (float_mode() != slot.job.float_mode) set_float_mode(slot.job.float_mode);
      slot.work(worker, place);
      slot.leave();
      return true;
    }
    return false;
  }

  // Looks for a job, for as long as one may come soon. Spinning longer costs more, where others
  // want the processor, than waking does.
  bool help_soon(int place) {
    const int64_t start = now_ns();
    for (;;) {
      for (int i = 0; i < kLooksPerTime; ++i) {
        if (help(place)) return true;
        cpu_relax();
      }
      const int runs = runs_.load(std::memory_order_relaxed);
      const bool within = runs > 0 && runs <= workers_;
      if (now_ns() - start > (within ? kSpinWithin : kSpinAfter)) return false;
    }
  }

  [[noreturn]] void serve(int place) {
    for (;;) {
      while (help_soon(place)) {
      }
      const uint32_t heard = bell_.load(std::memory_order_seq_cst);
      sleeping_.fetch_add(1, std::memory_order_seq_cst);
      if (!help(place)) syscall(SYS_futex, &bell_, FUTEX_WAIT_PRIVATE, heard, nullptr, nullptr, 0);
      sleeping_.fetch_sub(1, std::memory_order_seq_cst);
    }
  }

  const int workers_;
  std::once_flag started_;
  std::array<Slot, kSlots> slots_;
  alignas(64) std::atomic<uint64_t> open_{0};  // slots in which there may be work
  alignas(64) std::atomic<uint64_t> claimed_{0};
  alignas(64) std::atomic<int> runs_{0};
  alignas(64) std::atomic<int> sleeping_{0};
  alignas(64) std::atomic<uint32_t> bell_{0};
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

RunScope::RunScope(int threads) : counts_(threads > 1) {
  if (!counts_ || own_run.depth++ > 0) return;
  own_run.missed = 0;
  pool().begin_run();
}

RunScope::~RunScope() {
  if (counts_ && --own_run.depth == 0) pool().end_run();
}

void parallel_for(int width, int64_t units, int64_t grain, ParallelBody body, void* context,
                  int64_t work_ns, bool backwards) {
  if (units <= 0) return;
  if (width <= 1 || units <= grain) {
    body(context, 0, units, 0);
    return;
  }
  pool().run({body, context, units, grain, width, float_mode(), work_ns, backwards});
}

}  // namespace tiercel
