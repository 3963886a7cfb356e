// Steps that run compiled kernels, pointwise programs and host operators.
#pragma once
#include <optional>
#include <string>

#include "ir/graph.h"
#include "runtime/step.h"

namespace tiercel {

// Each pair: nullopt when the node can be run so, else why not; and the compiled step.
[[nodiscard]] std::optional<std::string> kernel_refuses(const Graph& graph, const Node& node);
[[nodiscard]] Step compile_kernel(const Graph& graph, const Node& node);
[[nodiscard]] Step compile_pointwise_step(const Graph& graph, const Node& node);
// Whether a C++ function stands for the node, though it may refuse.
[[nodiscard]] bool has_host(const Graph& graph, const Node& node);
[[nodiscard]] std::optional<std::string> host_refuses(const Graph& graph, const Node& node);
[[nodiscard]] Step compile_host(const Graph& graph, const Node& node);

}  // namespace tiercel
