// Floats between conversions from and to 16 bits: the node takes 16 bits itself where its provider
// has such a kernel, which makes its sums in floats all the same.
#include <algorithm>
#include <cmath>
#include <map>

#include "passes/edit.h"
#include "passes/passes.h"

namespace tiercel::passes {

namespace {

constexpr std::string_view kNarrowed[] = {
    "Conv",          "ConvTranspose", "MaxPool",   "AveragePool",     "LpPool",
    "GlobalMaxPool", "GlobalLpPool",  "ReduceSum", "ReduceProd",      "GlobalAveragePool",
    "ReduceMax",     "ReduceMin",     "ReduceL1",  "ReduceSumSquare", "ReduceLogSum",
    "ReduceMean",    "ReduceL2",
};

// A constant in another type, if no element of it is rounded.
std::optional<Tensor> exactly(const Tensor& tensor, DType dtype) {
  std::vector<double> values;
  for (int64_t i = 0; i < tensor.size(); ++i) values.push_back(*element(tensor, i));
  Tensor made = make_tensor(dtype, tensor.dims(), values);
  for (size_t i = 0; i < values.size(); ++i) {
    const double kept = *element(made, static_cast<int64_t>(i));
    if (kept != values[i] && !(std::isnan(kept) && std::isnan(values[i]))) return std::nullopt;
  }
  return made;
}

class Narrower {
 public:
  Narrower(Graph& graph, PassContext& context) : graph_(graph), context_(context) {}

  bool run() {
    bool changed = false;
    const std::vector<NodeId> order = graph_.order;
    const auto users = graph_.consumers();
    for (const NodeId id : order) changed = narrow(id, users) || changed;
    return changed;
  }

 private:
  [[nodiscard]] DType dtype(ValueId id) const { return graph_.value(id).type.dtype; }

  // The nodes that make 16 bits of a float; empty where somebody else reads it.
  [[nodiscard]] std::vector<NodeId> conversions_of(
      ValueId id, DType half, const std::vector<std::vector<NodeId>>& users) const {
    if (graph_.is_output(id)) return {};
    std::vector<NodeId> found = users[static_cast<size_t>(id)];
    const bool all = std::ranges::all_of(found, [&](NodeId user) {
      const Node& node = graph_.node(user);
      return is_op(node, "Cast") && dtype(node.outputs[0]) == half;
    });
    return all ? found : std::vector<NodeId>();
  }

  // The value of `half` that a float comes from.
  [[nodiscard]] std::optional<ValueId> before(ValueId id, DType half) {
    if (const Node* cast = producer(graph_, id, "Cast")) {
      return dtype(cast->inputs[0]) == half ? std::optional(cast->inputs[0]) : std::nullopt;
    }
    const Tensor* tensor = graph_.constant(id);
    if (tensor == nullptr) return std::nullopt;
    const auto [place, added] = constants_.try_emplace({id, half});
    if (added) {
      auto made = exactly(*tensor, half);
      if (made) place->second = graph_.add_constant(graph_.value(id).name, std::move(*made));
    }
    return place->second;
  }

  bool narrow(NodeId id, const std::vector<std::vector<NodeId>>& users) {
    Node made = graph_.node(id);
    const bool known = made.domain.empty() && std::ranges::count(kNarrowed, made.op_type) > 0;
    if (made.removed || !known || made.provider == context_.layout_provider) return false;
    const Node* first = producer(graph_, made.inputs[0], "Cast");
    const ValueId y = made.outputs[0];
    if (first == nullptr || dtype(y) != DType::Float) return false;
    const DType half = dtype(first->inputs[0]);
    if (!dtype_is_half(half)) return false;
    const std::vector<NodeId> casts = conversions_of(y, half, users);
    if (casts.empty()) return false;
    for (ValueId& input : made.inputs) {
      if (input == kNone || dtype(input) != DType::Float) continue;
      const auto narrowed = before(input, half);
      if (!narrowed) return false;
      input = *narrowed;
    }
    graph_.value(y).type.dtype = half;
    if (context_.refuses && context_.refuses(graph_, made)) {
      graph_.value(y).type.dtype = DType::Float;
      return false;
    }
    graph_.node(id) = std::move(made);
    for (const NodeId cast : casts) redirect(graph_, graph_.node(cast).outputs[0], y);
    return true;
  }

  Graph& graph_;
  PassContext& context_;
  std::map<std::pair<ValueId, DType>, std::optional<ValueId>> constants_;
};

}  // namespace

bool narrow(Graph& graph, PassContext& context) {
  return each_graph(graph, [&](Graph& g) { return Narrower(g, context).run(); });
}

}  // namespace tiercel::passes
