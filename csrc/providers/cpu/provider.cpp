// The CPU provider: a node runs as a compiled kernel, a pointwise program or a host operator.
#include "providers/cpu/provider.h"

#include "ops/op_def.h"
#include "providers/cpu/kernel_step.h"
#include "runtime/pointwise.h"

namespace tiercel {
namespace {

bool holds_other_than_tensors(const Graph& graph, const Node& node) {
  const auto other = [&](ValueId id) {
    if (id == kNone) return false;
    const Type& type = graph.value(id).type;
    return !type.is_tensor() || type.dtype == DType::String || type.dtype == DType::Undefined;
  };
  for (ValueId id : node.inputs) {
    if (other(id)) return true;
  }
  for (ValueId id : node.outputs) {
    if (other(id)) return true;
  }
  return false;
}

class CpuProvider final : public Provider {
 public:
  [[nodiscard]] std::string_view name() const override { return "CPUExecutionProvider"; }

  [[nodiscard]] std::optional<std::string> refuses(const Graph& graph,
                                                   const Node& node) const override {
    const std::optional<std::string> host = host_refuses(graph, node);
    if (!host || has_host(graph, node)) return host;
    if (holds_other_than_tensors(graph, node)) {
      return "no host operator for these types";
    }
    const std::optional<std::string> kernel = kernel_refuses(graph, node);
    if (!kernel) return std::nullopt;
    if (!node.def->has(kElementwise)) return kernel;
    const std::optional<std::string> pointwise = pointwise_refuses(graph, node);
    if (!pointwise) return std::nullopt;
    return concat(*kernel, "; ", *pointwise);
  }

  [[nodiscard]] Step compile(const Graph& graph, const Node& node) const override {
    if (has_host(graph, node)) return compile_host(graph, node);
    if (node.def->has(kElementwise) && !pointwise_refuses(graph, node)) {
      return compile_pointwise_step(graph, node);
    }
    return compile_kernel(graph, node);
  }
};

}  // namespace

std::shared_ptr<Provider> make_cpu_provider() { return std::make_shared<CpuProvider>(); }

}  // namespace tiercel
