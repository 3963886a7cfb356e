// Memory of tensors: large blocks are kept when a tensor goes, for the next one of its size.
#pragma once
#include <cstddef>

namespace tiercel {

// Memory aligned for vectors; nullptr when there is none. A block that a former tensor of this size
// left is taken first: its pages are mapped already, and mapping costs more than many operators do.
// Throws nothing.
[[nodiscard]] void* take_block(size_t bytes);
// Gives a block back, or nothing for nullptr. From any thread.
void release_block(void* memory);
// Gives the blocks that are kept back to the system.
void release_kept_blocks();

}  // namespace tiercel
