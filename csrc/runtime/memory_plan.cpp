// The memory planner: largest block first, each at the lowest gap that fits best.
#include "runtime/memory_plan.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace tiercel {
namespace {

int64_t aligned(int64_t bytes) {
  return (bytes + kMemoryAlignment - 1) / kMemoryAlignment * kMemoryAlignment;
}

bool overlap(const MemoryBlock& a, const MemoryBlock& b) {
  return a.first <= b.last && b.first <= a.last;
}

int64_t largest_live_sum(std::span<const MemoryBlock> blocks) {
  int steps = 0;
  for (const MemoryBlock& block : blocks) steps = std::max(steps, block.last + 1);
  std::vector<int64_t> change(static_cast<size_t>(steps) + 1, 0);
  for (const MemoryBlock& block : blocks) {
    change[static_cast<size_t>(block.first)] += aligned(block.bytes);
    change[static_cast<size_t>(block.last) + 1] -= aligned(block.bytes);
  }
  int64_t live = 0, most = 0;
  for (int64_t delta : change) {
    live += delta;
    most = std::max(most, live);
  }
  return most;
}

// Places blocks in the given order; the smallest gap that holds a block is its place.
MemoryPlan place(std::span<const MemoryBlock> blocks, const std::vector<size_t>& order) {
  MemoryPlan plan;
  plan.offsets.assign(blocks.size(), 0);
  std::vector<size_t> placed;  // by offset
  for (size_t index : order) {
    const int64_t size = aligned(blocks[index].bytes);
    int64_t end = 0, best = -1, best_gap = std::numeric_limits<int64_t>::max();
    for (size_t other : placed) {
      if (!overlap(blocks[index], blocks[other])) continue;
      const int64_t gap = plan.offsets[other] - end;
      if (gap >= size && gap < best_gap) {
        best = end;
        best_gap = gap;
      }
      end = std::max(end, plan.offsets[other] + aligned(blocks[other].bytes));
    }
    const int64_t offset = best >= 0 ? best : end;
    plan.offsets[index] = offset;
    plan.bytes = std::max(plan.bytes, offset + size);
    const auto later = [&](size_t other) { return plan.offsets[other] > offset; };
    placed.insert(std::find_if(placed.begin(), placed.end(), later), index);
  }
  return plan;
}

// Orders worth a try: by size, by the steps that a block spans, by both, by time.
using Order = std::vector<size_t>;
std::vector<Order> orders(std::span<const MemoryBlock> blocks) {
  Order all(blocks.size());
  std::iota(all.begin(), all.end(), size_t{0});
  std::vector<Order> out;
  const auto add = [&](const auto& key) {
    out.push_back(all);
    std::stable_sort(out.back().begin(), out.back().end(),
                     [&](size_t a, size_t b) { return key(blocks[a]) > key(blocks[b]); });
  };
  add([](const MemoryBlock& b) { return b.bytes; });
  add([](const MemoryBlock& b) { return -int64_t{b.first}; });
  add([](const MemoryBlock& b) { return b.bytes * (b.last - b.first + 1); });
  add([](const MemoryBlock& b) { return int64_t{b.last} - b.first; });
  add([](const MemoryBlock& b) { return int64_t{b.last}; });
  return out;
}

// Blocks that reach above the bound go first in the next attempt, in front of those that were
// there: what does not fit well into the rest is placed while there is room.
void promote(std::span<const MemoryBlock> blocks, const MemoryPlan& plan, int64_t bound,
             Order& order) {
  std::stable_partition(order.begin(), order.end(), [&](size_t index) {
    return plan.offsets[index] + aligned(blocks[index].bytes) > bound;
  });
}

}  // namespace

MemoryPlan plan_memory(std::span<const MemoryBlock> blocks) {
  constexpr size_t kWork = 40'000'000;  // comparisons, about 50 ms
  const size_t each = std::max<size_t>(1, blocks.size() * blocks.size());
  const size_t attempts = std::min<size_t>(100, kWork / each);
  const int64_t bound = largest_live_sum(blocks);
  MemoryPlan best;
  best.bytes = std::numeric_limits<int64_t>::max();
  size_t made = 0;
  for (Order& order : orders(blocks)) {
    // The first order always counts; a large graph has no time for more than some of the others.
    for (size_t round = 0; best.bytes > bound && (made == 0 || (made < attempts && round < 20));
         ++round, ++made) {
      MemoryPlan plan = place(blocks, order);
      promote(blocks, plan, bound, order);
      if (plan.bytes < best.bytes) best = std::move(plan);
    }
  }
  best.lower_bound = bound;
  return best;
}

const char* check_memory_plan(std::span<const MemoryBlock> blocks, const MemoryPlan& plan) {
  if (plan.offsets.size() != blocks.size()) return "not one offset per block";
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (plan.offsets[i] < 0 || plan.offsets[i] % kMemoryAlignment != 0) return "bad offset";
    if (plan.offsets[i] + blocks[i].bytes > plan.bytes) return "a block ends beyond the arena";
    for (size_t j = 0; j < i; ++j) {
      const bool same_time =
          std::max(blocks[i].first, blocks[j].first) <= std::min(blocks[i].last, blocks[j].last);
      const bool same_bytes =
          std::max(plan.offsets[i], plan.offsets[j]) <
          std::min(plan.offsets[i] + blocks[i].bytes, plan.offsets[j] + blocks[j].bytes);
      if (same_time && same_bytes) return "two live blocks share bytes";
    }
  }
  return nullptr;
}

}  // namespace tiercel
