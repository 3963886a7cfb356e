// Where nodes that several providers run are best run: shape arithmetic stays on the host.
#include "runtime/placement.h"

#include "ops/op_def.h"

namespace tiercel {
namespace {

class ShapeArithmetic {
 public:
  ShapeArithmetic(Graph& graph, const CompileOptions& options)
      : graph_(graph),
        options_(options),
        consumers_(graph.consumers()),
        only_shapes_(graph.nodes.size(), false) {
    for (const auto& provider : options.providers) {
      if (provider->device() == nullptr && host_.empty()) host_ = provider->name();
    }
  }

  void run() {
    for (auto id = graph_.order.rbegin(); id != graph_.order.rend(); ++id) {
      Node& node = graph_.node(*id);
      if (node.removed || node.def == nullptr || node.def->has(kControlFlow)) continue;
      if (!makes_only_shapes(node)) continue;
      only_shapes_[static_cast<size_t>(*id)] = true;
      if (node.provider == host_ || options_.chosen.contains(node.name)) continue;
      node.provider = host_;
      node.reason = kMakesShapes;
    }
  }

 private:
  // Whether every reader takes the value for a shape, or makes nothing but shapes of it.
  bool is_for_shapes(ValueId value) const {
    const std::vector<NodeId>& readers = consumers_[static_cast<size_t>(value)];
    if (readers.empty() || graph_.is_output(value)) return false;
    for (const NodeId id : readers) {
      const Node& reader = graph_.node(id);
      if (reader.def == nullptr || !subgraphs(reader).empty()) return false;
      if (only_shapes_[static_cast<size_t>(id)]) continue;
      for (size_t i = 0; i < reader.inputs.size(); ++i) {
        if (reader.inputs[i] == value && !reader.def->reads_value(i)) return false;
      }
    }
    return true;
  }

  bool makes_only_shapes(const Node& node) const {
    bool some = false;
    for (const ValueId out : node.outputs) {
      if (out == kNone) continue;
      if (!graph_.value(out).type.is_tensor() || !is_for_shapes(out)) return false;
      some = true;
    }
    return some;
  }

  Graph& graph_;
  const CompileOptions& options_;
  const std::vector<std::vector<NodeId>> consumers_;
  std::vector<bool> only_shapes_;
  std::string host_;
};

}  // namespace

void keep_shapes_on_host(Graph& graph, const CompileOptions& options) {
  ShapeArithmetic(graph, options).run();
}

}  // namespace tiercel
