// Pointwise programs of one operand of bytes as tables of what each of its 256 values gives.
#pragma once
#include <array>
#include <cstdint>
#include <optional>

#include "runtime/pointwise.h"

namespace tiercel {

struct ByteTable {
  size_t operand = 0;     // the input of bytes
  int64_t out_bytes = 1;  // of one element of the result
  alignas(64) std::array<std::byte, 256 * sizeof(uint32_t)> values{};

  // Nanoseconds for so many elements on one thread, roughly.
  [[nodiscard]] int64_t work(int64_t count) const;
  // Elements [begin, end) of `to`; may work in place when an element of the result is a byte.
  void look_up(const void* from, void* to, int64_t begin, int64_t end) const;
};

// The table of a program whose other operands are constant numbers; nullopt where there is none, or
// where the program is as fast.
[[nodiscard]] std::optional<ByteTable> tabulate(const PointwiseProgram& program, const Graph& graph,
                                                const Node& node);

}  // namespace tiercel
