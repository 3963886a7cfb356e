// Scheduling: which thread goes on, barriers of the block, failures, asynchronous copies.
#include "runner.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

namespace softcuda {

Runner* active_runner = nullptr;

namespace {

std::string triple(const Dim& d) {
  return "(" + std::to_string(d.x) + "," + std::to_string(d.y) + "," + std::to_string(d.z) + ")";
}

}  // namespace

std::string describe(const Where& w) {
  std::string ptx = "PTX line " + std::to_string(w.ptx_line);
  return w.line ? std::string(w.file) + ":" + std::to_string(w.line) + " (" + ptx + ")" : ptx;
}

// Where every thread's stack begins.
void fiber_entry() {
  Runner& r = *active_runner;
  Fiber& f = *r.current_;
  r.launch_.kernel->body(f, r.launch_.parameters);
  r.finish(f);
  r.fail(nullptr, nullptr, Fault::kLaunch, "a finished thread went on");
}

Runner::Runner(const Window& window, Checker::Find find) : window_(window) {
  checker_.set_window(window, std::move(find));
}

void Runner::set_schedule(const Schedule& schedule) {
  schedule_ = schedule;
  random_ = schedule.seed * 0x9e3779b97f4a7c15 + 0x2545f4914f6cdd1d;
  checker_.set_initial_check(schedule.initial_check);
}

uint64_t Runner::random() {
  random_ ^= random_ << 13, random_ ^= random_ >> 7, random_ ^= random_ << 17;
  return random_ >> 11;
}

std::optional<Failure> Runner::run(const Launch& launch) {
  active_runner = this;
  launch_ = launch;
  failure_.reset();
  threads_ = static_cast<uint32_t>(launch.block.count());
  stacks_.reserve(threads_);
  const uint64_t blocks = launch.grid.count();
  checker_.begin_launch();
  // a random order of the blocks: multiples of a number without a common divisor
  uint64_t step = 1, first = 0;
  if (schedule_.seed != 0 && blocks > 2) {
    for (step = 1 + random() % (blocks - 1); std::gcd(step, blocks) != 1;) step++;
    first = random() % blocks;
  }
  for (uint64_t i = 0; i < blocks && !failure_; i++) {
    const auto number =
        static_cast<uint64_t>((static_cast<unsigned __int128>(i) * step + first) % blocks);
    prepare_block(launch, number);
    if (launch.kernel->waits)
      schedule();
    else
      run_without_waiting();
  }
  return failure_;
}

void Runner::prepare_block(const Launch& launch, uint64_t number) {
  const Dim& g = launch.grid;
  const Dim& d = launch.block;
  const uint32_t dynamic = (launch.kernel->shared_bytes + 1023) / 1024 * 1024;
  block_ = Block{};
  block_.index = {static_cast<uint32_t>(number % g.x), static_cast<uint32_t>(number / g.x % g.y),
                  static_cast<uint32_t>(number / g.x / g.y)};
  block_.dims = d, block_.grid = g;
  block_.dynamic_offset = dynamic;
  block_.shared_bytes = dynamic + launch.dynamic_bytes;
  shared_.assign(block_.shared_bytes + 256, '\xff');  // not a number as float, -1 as integer
  block_.shared = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(shared_.data()) + 127) &
                                          ~uintptr_t{127});
  block_.window = window_;
  block_.services = &services();
  block_.checked = launch.checked;
  const uint32_t warps = (threads_ + 31) / 32;
  if (fibers_.size() < warps * 32) fibers_.resize(warps * 32);
  warps_.assign(warps, Warp{});
  for (uint32_t i = 0; i < threads_; i++) {
    Fiber& f = fibers_[i];
    f.tid = {i % d.x, i / d.x % d.y, i / (d.x * d.y)};
    f.index = i, f.lane = i % 32, f.warp = i / 32;
    f.block = &block_;
    f.state = State::kReady, f.started = false;
    f.copies.clear(), f.group = 0;
    warps_[f.warp].live |= 1u << f.lane;
  }
  for (Warp& w : warps_) w.ready = w.live;
  barriers_.fill(Barrier{});
  live_ = threads_;
  current_warp_ = 0;
  if (launch.checked) checker_.begin_block(*launch.kernel, block_, warps);
}

// Threads that never wait for each other run as plain calls, on one stack that a failure can leave.
void Runner::run_without_waiting() {
  const uint64_t first = schedule_.seed ? random() % threads_ : 0;
  const auto all = [] {
    Runner& r = *active_runner;
    const auto from = static_cast<uint32_t>(r.current_->index);
    for (uint32_t i = 0; i < r.threads_; i++) {
      Fiber& f = r.fibers_[(from + i) % r.threads_];
      r.current_ = &f;
      r.launch_.kernel->body(f, r.launch_.parameters);
      if (!f.copies.empty())
        r.fail(&f, nullptr, Fault::kLaunch, "exits with cp.async copies nobody waits for");
    }
    softcuda_switch(&r.current_->stack, r.main_stack_);
  };
  current_ = &fibers_[first];
  softcuda_switch(&main_stack_, stacks_.start(0, all));
  if (!stacks_.intact(0)) failure_ = Failure{Fault::kLaunch, "a thread overflowed its stack"};
}

Fiber* Runner::pick() {
  const auto count = static_cast<uint32_t>(warps_.size());
  uint32_t w = current_warp_;
  if (schedule_.seed != 0 && (random() & 3) == 0) w = static_cast<uint32_t>(random() % count);
  for (uint32_t i = 0; i < count; i++, w = w + 1 == count ? 0 : w + 1) {
    const uint32_t ready = warps_[w].ready;
    if (!ready) continue;
    current_warp_ = w;
    const auto turn = schedule_.seed ? static_cast<int>(random() & 31) : 0;
    const auto lane = (static_cast<uint32_t>(std::countr_zero(std::rotr(ready, turn))) +
                       static_cast<uint32_t>(turn)) %
                      32;
    return &fibers_[w * 32 + lane];
  }
  return nullptr;
}

void Runner::schedule() {
  while (live_ > 0 && !failure_) {
    Fiber* f = pick();
    if (!f) return note_deadlock();
    current_ = f;
    warps_[f->warp].ready &= ~(1u << f->lane);
    if (!f->started) {
      f->started = true;
      f->stack = stacks_.start(f->index, fiber_entry);
    }
    softcuda_switch(&main_stack_, f->stack);
  }
  for (uint32_t i = 0; i < threads_ && !failure_; i++)
    if (!stacks_.intact(i)) failure_ = Failure{Fault::kLaunch, "a thread overflowed its stack"};
}

void Runner::yield(Fiber& f, State state) {
  f.state = state;
  if (state == State::kReady) warps_[f.warp].ready |= 1u << f.lane;
  softcuda_switch(&f.stack, main_stack_);
}

void Runner::finish(Fiber& f) {
  if (!f.copies.empty())
    fail(&f, nullptr, Fault::kLaunch, "exits with cp.async copies nobody waits for");
  Warp& warp = warps_[f.warp];
  warp.live &= ~(1u << f.lane);
  live_--;
  if (barriers_[0].arrived && barriers_[0].expected == threads_)
    fail(&f, nullptr, Fault::kLaunch,
         "exits while others wait at the barrier " + describe(*barriers_[0].where));
  for (uint32_t lanes = warp.waiting; lanes; lanes &= lanes - 1) {
    const Fiber& other = fibers_[f.warp * 32 + static_cast<uint32_t>(std::countr_zero(lanes))];
    if (other.mask >> f.lane & 1)
      fail(&f, nullptr, Fault::kLaunch,
           "exits while its warp waits for it at " + describe(*other.where));
  }
  yield(f, State::kDone);
}

void Runner::fail(Fiber* f, const Where* w, Fault fault, const std::string& text) {
  std::string where = launch_.kernel->name + std::string(", block ") + triple(block_.index);
  if (f) where += ", thread " + triple(f->tid);
  if (w) where += ", " + describe(*w);
  failure_ = Failure{fault, where + ": " + text};
  void* left = nullptr;
  softcuda_switch(&left, main_stack_);
  __builtin_unreachable();
}

void Runner::note_deadlock() {
  std::string text = "deadlock:";
  int named = 0;
  for (uint32_t i = 0; i < threads_ && named < 4; i++) {
    const Fiber& f = fibers_[i];
    if (f.state != State::kAtBarrier && f.state != State::kAtWarp) continue;
    const char* what = f.state == State::kAtBarrier ? "a barrier" : "a warp operation";
    text += " thread " + std::to_string(i) + " waits at " + what + ", " + describe(*f.where) + ";";
    named++;
  }
  failure_ = Failure{Fault::kLaunch, launch_.kernel->name + std::string(": ") + text};
}

void Runner::release(uint32_t id) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < threads_; i++) {
    const Fiber& f = fibers_[i];
    if (f.state == State::kAtBarrier && f.barrier_id == id) count += f.value != 0;
  }
  for (uint32_t i = 0; i < threads_; i++) {
    Fiber& f = fibers_[i];
    if (f.state != State::kAtBarrier || f.barrier_id != id) continue;
    f.state = State::kReady;
    f.result = count;
    warps_[f.warp].ready |= 1u << f.lane;
  }
  barriers_[id] = Barrier{};
  if (launch_.checked) checker_.barrier();
}

bool Runner::left_out(const Where& w) const {
  return !left_out_.empty() && std::ranges::find(left_out_, w.ptx_line) != left_out_.end();
}

void Runner::barrier(Fiber& f, const Where& w, uint32_t id, uint32_t threads, bool wait) {
  if (id > 15) fail(&f, &w, Fault::kLaunch, "there are barriers 0 to 15");
  const bool whole = threads == 0;
  if (whole && live_ != threads_)
    fail(&f, &w, Fault::kLaunch,
         "barrier after " + std::to_string(threads_ - live_) + " threads of the block exited");
  const uint32_t expected = whole ? threads_ : threads;
  Barrier& b = barriers_[id];
  if (b.arrived && b.expected != expected)
    fail(&f, &w, Fault::kLaunch, "threads disagree on how many meet at the barrier");
  if (b.arrived && whole && b.where->ptx_line != w.ptx_line)
    fail(&f, &w, Fault::kLaunch, "divergent barrier: others wait at " + describe(*b.where));
  if (!b.arrived) b.where = &w;
  b.expected = expected;
  f.where = &w, f.barrier_id = id;
  const bool last = ++b.arrived == expected;
  f.state = wait ? State::kAtBarrier : State::kReady;
  if (last) {
    release(id);
    if (!wait) return;
    // the last to arrive is not always the first to go on
    if (coin()) return yield(f, State::kReady);
    warps_[f.warp].ready &= ~(1u << f.lane);
  } else if (wait) {
    yield(f, State::kAtBarrier);
  }
}

char* Runner::access(Fiber& f, const Where& w, Space space, uint64_t address, uint32_t bytes,
                     Access a) {
  const uint64_t base = reinterpret_cast<uint64_t>(block_.shared);
  if (space == Space::kGeneric && address - base < block_.shared_bytes) {
    space = Space::kShared;
    address -= base;
  }
  if (space == Space::kShared) {
    const std::string wrong = checker_.shared(f, address, bytes, a);
    if (!wrong.empty())
      fail(&f, &w, Fault::kAddress,
           wrong + " (" + std::to_string(bytes) + " bytes of shared memory at offset " +
               std::to_string(address) + ")");
    return block_.shared + address;
  }
  const bool global = address - window_.base < window_.size;
  if (space == Space::kLocal || (space == Space::kGeneric && !global && address > 4096))
    return reinterpret_cast<char*>(address);
  const std::string wrong = global ? checker_.global(f, address, bytes, a) : "not device memory";
  if (!wrong.empty()) {
    char place[64];
    snprintf(place, sizeof place, " (%u bytes at 0x%llx)", bytes,
             static_cast<unsigned long long>(address));
    fail(&f, &w, Fault::kAddress, wrong + place);
  }
  return reinterpret_cast<char*>(address + window_.delta);
}

void Runner::copy_now(Fiber& f, const PendingCopy& copy) {
  char* to = block_.shared + copy.to;
  if (copy.bytes_read) std::memcpy(to, copy.from, copy.bytes_read);
  std::memset(to + copy.bytes_read, 0, copy.bytes - copy.bytes_read);
  if (launch_.checked) checker_.copy_ends(f, copy.to, copy.bytes);
}

// A copy happens at some moment between its start and the wait for it; the checker keeps its bytes
// untouchable until the wait, whenever that is.
void Runner::async_copy(Fiber& f, const Where& w, const PendingCopy& copy) {
  if (launch_.checked) {
    const std::string wrong = checker_.copy_begins(f, copy.to, copy.bytes);
    if (!wrong.empty()) fail(&f, &w, Fault::kAddress, wrong + " (cp.async into shared memory)");
  } else if (copy.to + copy.bytes > block_.shared_bytes) {
    fail(&f, &w, Fault::kAddress, "cp.async outside of shared memory");
  } else if (coin()) {
    return copy_now(f, copy);
  }
  f.copies.push_back(copy);
}

void Runner::async_wait(Fiber& f, uint32_t pending) {
  size_t done = 0;
  while (done < f.copies.size() && f.copies[done].group + pending < f.group)
    copy_now(f, f.copies[done++]);
  f.copies.erase(f.copies.begin(), f.copies.begin() + static_cast<std::ptrdiff_t>(done));
}

}  // namespace softcuda
