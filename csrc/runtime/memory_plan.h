// The memory planner: from lifetimes to offsets, a pure function.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace tiercel {

// A block that must keep its bytes from step `first` to step `last`, both included.
struct MemoryBlock {
  int64_t bytes;
  int first;
  int last;
};

struct MemoryPlan {
  std::vector<int64_t> offsets;  // one per block, multiples of kMemoryAlignment
  int64_t bytes = 0;             // of the arena
  int64_t lower_bound = 0;       // the largest sum of blocks alive at one step
};

inline constexpr int64_t kMemoryAlignment = 64;

// Blocks whose lifetimes overlap get disjoint ranges.
[[nodiscard]] MemoryPlan plan_memory(std::span<const MemoryBlock> blocks);

// nullptr when `plan` is right for `blocks`, else what is wrong with it. Shares no code with the
// planner.
[[nodiscard]] const char* check_memory_plan(std::span<const MemoryBlock> blocks,
                                            const MemoryPlan& plan);

}  // namespace tiercel
