// What the threads of a warp do together: meetings, shuffles, votes, reductions, matrix work.
#include <bit>

#include "runner.h"

namespace softcuda {

namespace {

uint32_t first_lane(uint32_t mask) { return static_cast<uint32_t>(std::countr_zero(mask)); }

std::string hex(uint32_t mask) {
  char text[16];
  snprintf(text, sizeof text, "0x%08x", mask);
  return text;
}

uint64_t reduce(Gather kind, uint64_t a, uint64_t b) {
  const auto sa = static_cast<int32_t>(a), sb = static_cast<int32_t>(b);
  switch (kind) {
    case Gather::kAdd:
      return static_cast<uint32_t>(a + b);
    case Gather::kMin:
      return std::min(a, b);
    case Gather::kMax:
      return std::max(a, b);
    case Gather::kMinS:
      return static_cast<uint32_t>(std::min(sa, sb));
    case Gather::kMaxS:
      return static_cast<uint32_t>(std::max(sa, sb));
    case Gather::kAnd:
      return a & b;
    case Gather::kOr:
      return a | b;
    default:
      return a ^ b;
  }
}

}  // namespace

uint64_t gather_values(Gather kind, const Fiber* lanes, uint32_t mask, uint32_t lane, bool* all) {
  uint32_t same = 0, set = 0;
  uint64_t sum = lanes[first_lane(mask)].value;
  for (uint32_t m = mask; m; m &= m - 1) {
    const uint32_t other = first_lane(m);
    same |= static_cast<uint32_t>(lanes[other].value == lanes[lane].value) << other;
    set |= static_cast<uint32_t>(lanes[other].value != 0) << other;
    if (m != mask) sum = reduce(kind, sum, lanes[other].value);
  }
  *all = same == mask;
  if (kind == Gather::kBallot) return set;
  if (kind == Gather::kMatch) return same;
  if (kind == Gather::kMatchAll) return same == mask ? mask : 0;
  return sum;
}

// The PTX rules of shfl: `clamp` holds the segment mask in bits 8 to 12, the clamp in bits 0 to 4.
uint32_t shuffle_source(const Fiber& f, bool* inside) {
  const uint32_t segment = f.clamp >> 8 & 31, bound = f.clamp & 31, by = f.arg & 31;
  const uint32_t most = (f.lane & segment) | (bound & ~segment), least = f.lane & segment;
  uint32_t source = 0;
  switch (static_cast<Exchange>(f.kind)) {
    case Exchange::kUp:
      source = f.lane - by;
      *inside = static_cast<int32_t>(source) >= static_cast<int32_t>(most);
      break;
    case Exchange::kDown:
      source = f.lane + by;
      *inside = source <= most;
      break;
    case Exchange::kXor:
      source = f.lane ^ by;
      *inside = source <= most;
      break;
    case Exchange::kIndex:
      source = least | (by & ~segment);
      *inside = source <= most;
      break;
  }
  return *inside ? source : f.lane;
}

void Runner::exchange_values(Warp&, Fiber* lanes, uint32_t mask) {
  for (uint32_t m = mask; m; m &= m - 1) {
    Fiber& f = lanes[first_lane(m)];
    if (f.meeting == Meeting::kGather) {
      f.result = gather_values(static_cast<Gather>(f.kind), lanes, mask, f.lane, &f.predicate);
    } else if (f.meeting == Meeting::kShuffle) {
      const uint32_t source = shuffle_source(f, &f.predicate);
      // the value of a lane that does not take part is undefined
      f.result = mask >> source & 1 ? lanes[source].value : ~uint64_t{0};
    }
  }
}

void Runner::complete(Fiber& last, uint32_t mask) {
  Warp& warp = warps_[last.warp];
  Fiber* lanes = &fibers_[last.warp * 32];
  exchange_values(warp, lanes, mask);
  if (last.meeting == Meeting::kWork) {
    void* operands[32] = {};
    for (uint32_t lane = 0; lane < 32; lane++)
      operands[lane] = reinterpret_cast<void*>(lanes[lane].value);
    last.work(last, *last.where, operands);
  }
  for (uint32_t m = mask; m; m &= m - 1) lanes[first_lane(m)].state = State::kReady;
  warp.waiting &= ~mask;
  warp.ready |= mask;
  if (launch_.checked) checker_.warp_meeting(last.warp);
}

void Runner::check_agreement(Fiber& f, Fiber* lanes, uint32_t waiting) {
  for (uint32_t m = waiting; m; m &= m - 1) {
    const Fiber& other = lanes[first_lane(m)];
    if (!(other.mask & f.mask)) continue;
    const auto there = [&] {
      return "lane " + std::to_string(other.lane) + " waits at " + describe(*other.where);
    };
    if (other.mask != f.mask)
      fail(&f, f.where, Fault::kLaunch,
           "lanes disagree on the mask: " + hex(f.mask) + " here, " + hex(other.mask) + ", " +
               there());
    const bool plain = f.meeting == Meeting::kBarrier && other.meeting == Meeting::kBarrier;
    if (!plain && other.where->ptx_line != f.where->ptx_line)
      fail(&f, f.where, Fault::kLaunch, "divergent warp operation: " + there());
  }
}

void Runner::meet(Fiber& f, const Where& w, Meeting meeting, uint32_t mask) {
  Warp& warp = warps_[f.warp];
  Fiber* lanes = &fibers_[f.warp * 32];
  if (!(mask >> f.lane & 1))
    fail(&f, &w, Fault::kLaunch, "the mask " + hex(mask) + " lacks its own lane");
  const uint32_t gone = mask & ~warp.live;
  if (gone)
    fail(&f, &w, Fault::kLaunch,
         "the mask " + hex(mask) + " names lanes that exited or never were: " + hex(gone));
  f.where = &w, f.meeting = meeting, f.mask = mask;
  check_agreement(f, lanes, warp.waiting);
  warp.waiting |= 1u << f.lane;
  f.state = State::kAtWarp;
  if ((warp.waiting & mask) != mask) return yield(f, State::kAtWarp);
  complete(f, mask);
  if (coin()) return yield(f, State::kReady);
  warp.ready &= ~(1u << f.lane);
}

namespace {

Fiber& fiber(Thread& t) { return static_cast<Fiber&>(t); }

void begin_copy(Thread& t, const Where& w, uint64_t to, uint64_t from, uint32_t bytes,
                uint32_t bytes_read) {
  Fiber& f = fiber(t);
  const char* source = nullptr;
  bytes_read = std::min(bytes, bytes_read);
  if (to % bytes || (bytes_read && from % bytes))
    active_runner->fail(&f, &w, Fault::kMisaligned, "misaligned cp.async");
  if (bytes_read && t.block->checked)
    source = active_runner->access(f, w, Space::kGlobal, from, bytes_read, Access::kRead);
  else if (bytes_read)
    source = reinterpret_cast<const char*>(from + t.block->window.delta);
  active_runner->async_copy(f, w, {to, source, bytes, bytes_read, f.group});
}

}  // namespace

const Services& services() {
  static const Services table = {
      .barrier =
          [](Thread& t, const Where& w, uint32_t id, uint32_t threads, bool wait) {
            if (active_runner->left_out(w)) return;
            active_runner->barrier(fiber(t), w, id, threads, wait);
          },
      .barrier_count =
          [](Thread& t, const Where& w, bool value) {
            fiber(t).value = value;
            active_runner->barrier(fiber(t), w, 0, 0, true);
            return static_cast<uint32_t>(fiber(t).result);
          },
      .warp_barrier =
          [](Thread& t, const Where& w, uint32_t mask) {
            if (active_runner->left_out(w)) return;
            active_runner->meet(fiber(t), w, Meeting::kBarrier, mask);
          },
      .shuffle =
          [](Thread& t, const Where& w, Exchange kind, uint32_t mask, uint32_t value, uint32_t arg,
             uint32_t clamp) {
            Fiber& f = fiber(t);
            f.kind = static_cast<uint32_t>(kind), f.value = value, f.arg = arg, f.clamp = clamp;
            active_runner->meet(f, w, Meeting::kShuffle, mask);
            return static_cast<uint32_t>(f.result);
          },
      .gather =
          [](Thread& t, const Where& w, Gather kind, uint32_t mask, uint64_t value) {
            Fiber& f = fiber(t);
            f.kind = static_cast<uint32_t>(kind), f.value = value;
            active_runner->meet(f, w, Meeting::kGather, mask);
            return f.result;
          },
      .warp_work =
          [](Thread& t, const Where& w, WarpWork work, void* operand) {
            Fiber& f = fiber(t);
            f.work = work, f.value = reinterpret_cast<uint64_t>(operand);
            active_runner->meet(f, w, Meeting::kWork, ~0u);
          },
      .access =
          [](Thread& t, const Where& w, Space space, uint64_t address, uint32_t bytes, Access a) {
            return active_runner->access(fiber(t), w, space, address, bytes, a);
          },
      .async_copy = begin_copy,
      .async_commit = [](Thread& t) { fiber(t).group++; },
      .async_wait =
          [](Thread& t, const Where& w, uint32_t n) {
            if (active_runner->left_out(w)) return;
            active_runner->async_wait(fiber(t), n);
          },
      .fence =
          [](Thread&, bool device_wide) {
            if (device_wide) active_runner->fence();
          },
      .clock = [](Thread&) { return active_runner->tick(); },
      .fail = [](Thread& t, const Where& w, Fault fault,
                 const char* text) { active_runner->fail(&fiber(t), &w, fault, text); },
  };
  return table;
}

}  // namespace softcuda
