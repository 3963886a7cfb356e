// Writes a pointwise program as PTX: one kernel that keeps every intermediate value in registers.
#pragma once
#include <optional>
#include <string>

#include "runtime/pointwise.h"

namespace tiercel::cuda {

// How the operands of a kernel are walked.
struct PointwiseForm {
  enum class Operand : uint8_t {
    Absent,
    Dense,
    Scalar,
    Strided,  // advances along the innermost axis, or not all elements of a thread share a line
    Repeated  // one element for all elements of a thread
  };
  std::vector<Operand> inputs;
  int64_t rank = 0;       // of strided operands
  int64_t elements = 1;   // per thread
  bool one_walk = false;  // the elements of a thread lie in one line of the innermost axis
  auto operator<=>(const PointwiseForm&) const = default;
};

// nullopt: every instruction has PTX; else which has not.
[[nodiscard]] std::optional<std::string> pointwise_ptx_refuses(const PointwiseProgram& program);

// Elements per thread that make accesses of 16 bytes where types are as wide as the widest, and
// whole bytes of packed ones.
[[nodiscard]] int64_t elements_per_thread(const PointwiseProgram& program);

// The module. Its entry is `pointwise(input …, output …, size, dims, strides of each strided
// input)`: addresses and the number of elements (64 bits), then 32-bit extents and strides. Thread
// g computes elements [g * elements, (g + 1) * elements).
[[nodiscard]] std::string pointwise_ptx(const PointwiseProgram& program, const PointwiseForm& form);

}  // namespace tiercel::cuda
