// Strided copies on a GPU, by the kernels of copy.cu.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "providers/cuda/launched.h"

namespace tiercel::cuda {

constexpr size_t kMoveAxes = 8;

// As in kernels/cuda/copy.cu.
struct CopyArgs {
  std::array<int64_t, kMoveAxes> shape{}, from{}, to{};
  int64_t rank = 0;
};

// y[to + sum(i * axis.to)] = x[from + sum(i * axis.from)], in items; axes from the outermost.
struct Move {
  struct Axis {
    int64_t n, from, to;
  };
  std::vector<Axis> axes;
  int64_t from = 0, to = 0;

  // Gives the work to the GPU; at most kMoveAxes axes may be left once those that continue one
  // another are joined. `item`: bytes, 1 to 16.
  void run(Device& device, const void* x, void* y, int64_t item) const;
};

// `bytes` of items of 1 to 8 bytes, of which `pattern` has eight bytes; `to` is aligned to eight.
void fill_bytes(Device& device, void* to, uint64_t pattern, int64_t bytes);

// A list that lies on the host, as int32 or int64.
[[nodiscard]] std::vector<int64_t> integers_of(const TclTensor& tensor);
[[nodiscard]] int64_t item_bytes(const TclTensor& tensor);

// nullopt: kernels move values of the type of that input.
[[nodiscard]] std::optional<std::string> move_refuses(const Graph& graph, const Node& node,
                                                      size_t input = 0);

// The state of a step that needs no other.
struct MoveState {
  std::shared_ptr<Device> device;
};
[[nodiscard]] inline Device& device_of(const Step& step) {
  return *static_cast<const MoveState*>(step.state.get())->device;
}
[[nodiscard]] Step move_step(const Graph& graph, const Node& node, StepFn run,
                             std::string_view kernel, const std::shared_ptr<Device>& device);
// Throws what a kernel of the CPU that gives `code` for the step does, of its first inputs.
[[noreturn]] void fail_step(const Step& step, RunContext& context, size_t inputs, int32_t code);
// What a kernel leaves in Device::status for an error of the step.
[[nodiscard]] inline uint64_t failure_of(const Step& step, int32_t code) {
  return static_cast<uint64_t>(step.node) << 32 | static_cast<uint32_t>(code);
}

}  // namespace tiercel::cuda
