// Dead code elimination: nodes that nothing uses, optional outputs that nothing reads, captures
// that bodies ignore.
#include <algorithm>

#include "passes/edit.h"
#include "passes/passes.h"

namespace tiercel::passes {

namespace {

class Liveness {
 public:
  explicit Liveness(Graph& graph) : graph_(graph), live_(graph.values.size(), false) {
    for (ValueId out : graph.outputs) mark(out);
  }

  bool run() {
    bool changed = false;
    for (auto it = graph_.order.rbegin(); it != graph_.order.rend(); ++it) {
      Node& node = graph_.node(*it);
      if (node.removed) continue;
      if (std::none_of(node.outputs.begin(), node.outputs.end(),
                       [&](ValueId out) { return is_live(out); })) {
        dead_.push_back(*it);
        continue;
      }
      changed = drop_optional_outputs(node) || changed;
      for (const std::shared_ptr<Graph>& body : subgraphs(node)) {
        changed = drop_captures(*body) || changed;
        for (const Capture& capture : body->captures) mark(capture.outer);
      }
      for (ValueId in : node.inputs) mark(in);
    }
    for (NodeId id : dead_) graph_.remove_node(id);
    return changed || !dead_.empty();
  }

 private:
  void mark(ValueId id) {
    if (id != kNone) live_[static_cast<size_t>(id)] = true;
  }
  [[nodiscard]] bool is_live(ValueId id) const {
    return id != kNone && live_[static_cast<size_t>(id)];
  }

  // Outputs that the standard calls optional need not be computed when nothing reads them.
  bool drop_optional_outputs(Node& node) {
    if (!node.def || node.def->has(kControlFlow)) return false;
    bool changed = false;
    const size_t n = std::min(node.outputs.size(), node.def->outputs.size());
    for (size_t i = 0; i < n; ++i) {
      if (node.def->outputs[i].kind != Param::Optional || node.outputs[i] == kNone) continue;
      if (is_live(node.outputs[i])) continue;
      graph_.value(node.outputs[i]).producer = kNone;
      node.outputs[i] = kNone;
      changed = true;
    }
    while (node.outputs.size() > 1 && node.outputs.size() <= node.def->outputs.size() &&
           node.outputs.back() == kNone &&
           node.def->outputs[node.outputs.size() - 1].kind == Param::Optional) {
      node.outputs.pop_back();
    }
    return changed;
  }

  // The order of an epilogue's or program's captures is the order of its operands: only unused ones
  // go.
  static bool drop_captures(Graph& body) {
    const Uses uses(body);
    return std::erase_if(body.captures, [&](const Capture& capture) {
             return uses.count(capture.inner) == 0 || body.constant(capture.inner) != nullptr;
           }) > 0;
  }

  Graph& graph_;
  std::vector<bool> live_;
  std::vector<NodeId> dead_;
};

}  // namespace

bool dce(Graph& graph, PassContext&) {
  const bool changed = each_graph(graph, [](Graph& g) { return Liveness(g).run(); });
  if (changed) graph.compact();
  return changed;
}

}  // namespace tiercel::passes
