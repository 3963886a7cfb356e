// Runs a kernel's blocks one after the other, each thread on a stack of its own.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "checker.h"
#include "device.h"
#include "fiber.h"

namespace softcuda {

struct Schedule {
  uint64_t seed = 0;  // 0: ascending; others: random
  bool initial_check = true;
};

struct Failure {
  Fault fault;
  std::string text;
};

struct Launch {
  const Kernel* kernel;
  Dim grid, block;
  uint32_t dynamic_bytes;
  char* parameters;
  bool checked;
};

enum class State : uint8_t { kReady, kAtBarrier, kAtWarp, kDone };
enum class Meeting : uint8_t { kBarrier, kShuffle, kGather, kWork };

struct PendingCopy {
  uint64_t to;
  const char* from;
  uint32_t bytes, bytes_read, group;
};

// A thread that can stop and go on.
struct Fiber : Thread {
  State state = State::kReady;
  bool started = false;
  void* stack = nullptr;
  const Where* where = nullptr;
  // the warp meeting or barrier it waits at
  Meeting meeting = Meeting::kBarrier;
  uint32_t mask = 0, kind = 0, arg = 0, clamp = 0, barrier_id = 0;
  uint64_t value = 0, result = 0;
  WarpWork work = nullptr;
  // asynchronous copies
  std::vector<PendingCopy> copies;
  uint32_t group = 0;
};

struct Warp {
  uint32_t live = 0, ready = 0, waiting = 0;
};
struct Barrier {
  uint32_t arrived = 0, expected = 0;
  const Where* where = nullptr;
};

class Runner {
 public:
  Runner(const Window& window, Checker::Find find);

  void set_schedule(const Schedule& schedule);
  std::optional<Failure> run(const Launch& launch);
  // Barriers and waits of these PTX lines do nothing: whoever needs them must notice.
  void leave_out(uint32_t ptx_line) { left_out_.push_back(ptx_line); }
  void leave_nothing_out() { left_out_.clear(); }

  // The services, from inside a kernel (runner.cpp, warp.cpp).
  void barrier(Fiber& f, const Where& w, uint32_t id, uint32_t threads, bool wait);
  void meet(Fiber& f, const Where& w, Meeting meeting, uint32_t mask);
  char* access(Fiber& f, const Where& w, Space space, uint64_t address, uint32_t bytes, Access a);
  void async_copy(Fiber& f, const Where& w, const PendingCopy& copy);
  void async_wait(Fiber& f, uint32_t pending);
  [[nodiscard]] bool left_out(const Where& w) const;
  void fence() { checker_.fence(); }
  [[noreturn]] void fail(Fiber* f, const Where* w, Fault fault, const std::string& text);
  uint64_t tick() { return ++clock_; }

 private:
  friend void fiber_entry();
  void prepare_block(const Launch& launch, uint64_t number);
  void run_without_waiting();
  void schedule();
  Fiber* pick();
  void yield(Fiber& f, State state);
  void finish(Fiber& f);
  void release(uint32_t id);
  void complete(Fiber& last, uint32_t mask);
  void exchange_values(Warp& warp, Fiber* lanes, uint32_t mask);
  void check_agreement(Fiber& f, Fiber* lanes, uint32_t waiting);
  void note_deadlock();
  void copy_now(Fiber& f, const PendingCopy& copy);
  uint64_t random();
  bool coin() { return schedule_.seed != 0 && (random() & 1); }

  Schedule schedule_;
  Window window_;
  Checker checker_;
  Stacks stacks_;
  Launch launch_{};
  Block block_;
  std::vector<Fiber> fibers_;
  std::vector<Warp> warps_;
  std::array<Barrier, 16> barriers_;
  std::vector<char> shared_;
  std::vector<uint32_t> left_out_;
  uint32_t threads_ = 0, live_ = 0, current_warp_ = 0;
  Fiber* current_ = nullptr;
  void* main_stack_ = nullptr;
  uint64_t random_ = 0, clock_ = 0;
  std::optional<Failure> failure_;
};

// The one whose kernel runs: the driver's lock lets one run at a time.
extern Runner* active_runner;

std::string describe(const Where& where);

// The operators that reduce or compare the values of a warp (warp.cpp).
uint64_t gather_values(Gather kind, const Fiber* lanes, uint32_t mask, uint32_t lane, bool* all);
uint32_t shuffle_source(const Fiber& f, bool* inside);
const Services& services();

}  // namespace softcuda
