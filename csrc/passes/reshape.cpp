// Chains of operators that only relabel dims as one Reshape with a constant shape.
#include "passes/reshape.h"

#include <algorithm>

#include "passes/edit.h"

namespace tiercel::passes {

namespace {

constexpr std::string_view kRelabels[] = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"};

bool relabels(const Node& node) {
  return std::any_of(std::begin(kRelabels), std::end(kRelabels),
                     [&](std::string_view op) { return is_op(node, op); });
}

// The first value of the chain that ends at `id`.
ValueId chain_source(const Graph& graph, ValueId id) {
  while (graph.value(id).producer != kNone) {
    const Node& node = graph.node(graph.value(id).producer);
    if (!relabels(node) || !shape_of(graph, node.inputs[0])) break;
    id = node.inputs[0];
  }
  return id;
}

}  // namespace

std::optional<std::vector<int64_t>> reshape_target(const Shape& from, const Shape& to) {
  std::vector<int64_t> target;
  bool inferred = false, copied = false;
  for (size_t i = 0; i < to.size(); ++i) {
    if (to[i].known()) {
      if (to[i].value() <= 0) return std::nullopt;  // an empty tensor: 0 would mean "copy"
      target.push_back(to[i].value());
    } else if (i < from.size() && to[i].same(from[i])) {
      target.push_back(0);
      copied = true;
    } else if (!inferred) {
      target.push_back(-1);
      inferred = true;
    } else {
      return std::nullopt;
    }
  }
  // The copied extent may turn out to be 0, next to which -1 has no solution.
  if (inferred && copied) return std::nullopt;
  return target;
}

bool to_reshape(Graph& graph, NodeId id, ValueId source) {
  const ValueId out = graph.node(id).outputs[0];
  const Shape* from = shape_of(graph, source);
  const Shape* to = shape_of(graph, out);
  if (!from || !to) return false;
  // With an extent of 0 somewhere, -1 would be ambiguous.
  const auto may_be_empty = [](const Dim& d) { return d.known() && d.value() == 0; };
  if (std::any_of(from->begin(), from->end(), may_be_empty)) return false;
  const std::optional<std::vector<int64_t>> target = reshape_target(*from, *to);
  if (!target) return false;
  const Type type = graph.value(out).type;
  const std::string name = graph.node(id).name;
  const ValueId shape = graph.add_constant(name + "_shape", Tensor::vector_i64(*target));
  const ValueId made = insert_node(graph, id, {"Reshape", {source, shape}}, type, name);
  graph.value(made).known = graph.value(out).known;
  redirect(graph, out, made);
  return true;
}

bool merge_reshapes(Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  const ValueId in = node.inputs[0];
  const ValueId out = node.outputs[0];
  const ValueId source = chain_source(graph, in);
  if (!shape_of(graph, source) || !shape_of(graph, out)) return false;
  if (same_shape(graph, source, out)) {
    redirect(graph, out, source);
    return graph.node(id).removed;
  }
  const bool plain = is_op(node, "Reshape") && source == in && has_input(node, 1) &&
                     graph.constant(node.inputs[1]) != nullptr;
  return !plain && to_reshape(graph, id, source);
}

}  // namespace tiercel::passes
