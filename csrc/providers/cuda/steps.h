// Compiles nodes to steps that give their work to a GPU.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "providers/cuda/device.h"
#include "runtime/step.h"

namespace tiercel::cuda {

// Each pair: nullopt when the node can be run so, else why not; and the compiled step.
[[nodiscard]] std::optional<std::string> kernel_refuses(const Graph& graph, const Node& node);
[[nodiscard]] Step compile_kernel(const Graph& graph, const Node& node,
                                  const std::shared_ptr<Device>& device);
[[nodiscard]] std::optional<std::string> pointwise_refuses(const Graph& graph, const Node& node);
[[nodiscard]] Step compile_pointwise(const Graph& graph, const Node& node,
                                     const std::shared_ptr<Device>& device);
// tiercel.Copy, in both directions. One to the host whose attribute `late` is 1 ends with the run.
[[nodiscard]] Step compile_copy(const Node& node, const std::shared_ptr<Device>& device);

// Waits for the work of a run. Throws what a kernel reported, with the node that it ran.
void finish_run(Device& device, RunContext& context);

}  // namespace tiercel::cuda
