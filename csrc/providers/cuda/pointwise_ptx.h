// Writes a pointwise program as PTX, with every intermediate value in registers: a kernel, or what
// stands inside another one.
#pragma once
#include <optional>
#include <string>

#include "base/dtype.h"
#include "runtime/pointwise.h"

namespace tiercel::cuda {

// How the operands of a kernel are walked.
struct PointwiseForm {
  enum class Operand : uint8_t {
    Absent,
    Made,  // by the kernel around the program
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

// A program inside an entry of kernels/cuda: see through_program in kernels/cuda/device.cuh. Its
// first input and its result are of type `dtype`, and halves are float32 around it. `wide`: it
// makes float32 of sums that the entry else stores as halves.
struct PointwiseInside {
  bool wide = false;
  std::string functions;   // stand before the entry
  std::string parameters;  // behind the entry's own: inputs but the first, dims, strides
  std::string place;       // what the statements take the place of
  std::string statements;
};
[[nodiscard]] PointwiseInside pointwise_inside(const PointwiseProgram& program,
                                               const PointwiseForm& form, DType dtype);
// The text of a file of kernels/cuda with that entry alone and the program in it; empty where the
// entry has no place for such a program.
[[nodiscard]] std::string entry_with_program(std::string_view text, const std::string& entry,
                                             const PointwiseInside& program);

}  // namespace tiercel::cuda
