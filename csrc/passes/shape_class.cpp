// Which values certainly have equal shapes.
#include "passes/shape_class.h"

#include <algorithm>

#include "passes/edit.h"

namespace tiercel::passes {

namespace {

bool all_named(const Shape& shape) {
  return std::none_of(shape.begin(), shape.end(), [](const Dim& d) { return d.unknown(); });
}

bool one_element(const Graph& graph, ValueId id) {
  const Shape* shape = shape_of(graph, id);
  return shape && std::all_of(shape->begin(), shape->end(),
                              [](const Dim& d) { return d.known() && d.value() == 1; });
}

}  // namespace

ShapeClasses::ShapeClasses(const Graph& graph) : classes_(graph.values.size(), -1) {
  for (size_t i = 0; i < graph.values.size(); ++i) {
    const Shape* shape = shape_of(graph, static_cast<ValueId>(i));
    classes_[i] = shape && all_named(*shape) ? intern(*shape) : -1;
  }
  for (size_t i = 0; i < graph.values.size(); ++i) {
    if (classes_[i] < 0 && graph.values[i].producer == kNone) classes_[i] = next_++;
  }
  for (NodeId id : graph.order) {
    const Node& node = graph.node(id);
    if (node.removed) continue;
    for (ValueId out : node.outputs) {
      if (out == kNone || of(out) >= 0) continue;
      const bool elementwise = node.def && node.def->has(kElementwise);
      const int found = elementwise ? of_elementwise(graph, node) : -1;
      classes_[static_cast<size_t>(out)] = found >= 0 ? found : next_++;
    }
  }
}

int ShapeClasses::intern(const Shape& shape) {
  const auto [it, fresh] = by_text_.emplace(shape_text(shape), next_);
  if (fresh) ++next_;
  return it->second;
}

// An elementwise result has the shape of its operands when all but single elements agree.
int ShapeClasses::of_elementwise(const Graph& graph, const Node& node) const {
  int found = -1;
  const std::optional<int64_t> rank = rank_of(graph, node.outputs[0]);
  for (ValueId in : node.inputs) {
    if (in == kNone) continue;
    const std::optional<int64_t> own = rank_of(graph, in);
    if (!rank || !own) {
      if (node.inputs.size() > 1) return -1;
    } else if (one_element(graph, in) && *own < *rank) {
      continue;
    }
    if (found >= 0 && found != of(in)) return -1;
    found = of(in);
  }
  return found;
}

}  // namespace tiercel::passes
