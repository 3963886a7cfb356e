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

}  // namespace

MemoryPlan plan_memory(std::span<const MemoryBlock> blocks) {
  std::vector<size_t> by_size(blocks.size());
  std::iota(by_size.begin(), by_size.end(), size_t{0});
  std::vector<size_t> by_time = by_size;
  std::stable_sort(by_size.begin(), by_size.end(),
                   [&](size_t a, size_t b) { return blocks[a].bytes > blocks[b].bytes; });
  std::stable_sort(by_time.begin(), by_time.end(),
                   [&](size_t a, size_t b) { return blocks[a].first < blocks[b].first; });
  MemoryPlan plan = place(blocks, by_size);
  const int64_t bound = largest_live_sum(blocks);
  if (plan.bytes > bound) {
    MemoryPlan other = place(blocks, by_time);
    if (other.bytes < plan.bytes) plan = std::move(other);
  }
  plan.lower_bound = bound;
  return plan;
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
