// The layout pass: convolutions, and what lies between them, over blocks of channels. Conversions
// stand only where blocked values meet others.
#include <algorithm>
#include <map>
#include <set>

#include "passes/blocked_nodes.h"
#include "passes/passes.h"

namespace tiercel::passes {

namespace {

// Multiplications that the blocked form has to save for one converted element; measured.
constexpr double kConversion = 64;
// What one output element of a convolution gains beyond its multiplications: no packing of inputs.
constexpr double kOutput = 16;
// The same for a depthwise convolution, whose planes are padded and cut into phases otherwise: for
// a plane, an element of the input, and a tap of each element of the output.
constexpr double kPlane = 8000;
constexpr double kPlaneElement = 48;
constexpr double kPlaneTap = 8;

class BlockedLayout {
 public:
  BlockedLayout(Graph& graph, const PassContext& context)
      : graph_(graph), rules_{graph, context.block, context.layout_provider, context.winograd} {}

  bool run() {
    choose();
    drop_what_does_not_pay();
    if (chosen_.empty()) return false;
    Rewriter rewriter(graph_, rules_, chosen_);
    for (const NodeId id : std::vector<NodeId>(graph_.order)) {
      if (chosen_.contains(id)) rewriter.replace(id);
    }
    rewriter.finish();
    graph_.sort();
    return true;
  }

 private:
  [[nodiscard]] bool blocked(ValueId id) const {
    return id != kNone && chosen_.contains(graph_.value(id).producer);
  }

  // Convolutions, and carriers that read more blocked than other elements.
  void choose() {
    for (const NodeId id : graph_.order) {
      const Node& node = graph_.node(id);
      if (node.removed || node.provider != rules_.provider) continue;
      if (rules_.is_convolution(node)) {
        chosen_.insert(id);
        continue;
      }
      const std::optional<std::vector<ValueId>> read = rules_.carried(node);
      if (!read) continue;
      double balance = 0;
      for (ValueId in : *read) balance += blocked(in) ? elements(in) : -elements(in);
      if (balance > 0) chosen_.insert(id);
    }
  }

  // Elements of a value as far as they are known: unknown extents count as one.
  [[nodiscard]] double elements(ValueId id) const {
    double n = 1;
    const Shape* shape = shape_of(graph_, id);
    if (!shape) return n;
    for (const Dim& d : *shape) n *= d.known() ? static_cast<double>(d.value()) : 1;
    return n;
  }

  // What the blocked form of a convolution saves.
  [[nodiscard]] double gain(const Node& node) const {
    if (!rules_.is_convolution(node)) return 0;
    const Tensor& weight = *graph_.constant(node.inputs[1]);
    const double out = elements(node.outputs[0]);
    const auto multiplications = static_cast<double>(weight.size() / weight.dims()[0]);
    const bool depthwise = weight.dims()[1] == 1 && attr_int(node, "group", 1) > 1;
    if (depthwise) {
      return out * multiplications * kPlaneTap + elements(node.inputs[0]) * kPlaneElement +
             static_cast<double>(weight.dims()[0]) * kPlane;
    }
    return out * (multiplications + kOutput);
  }

  // Chosen nodes that are linked by blocked values stay or go together.
  void drop_what_does_not_pay() {
    std::map<NodeId, NodeId> parent;
    for (NodeId id : chosen_) parent[id] = id;
    const auto root = [&](NodeId id) {
      while (parent[id] != id) id = parent[id];
      return id;
    };
    for (NodeId id : chosen_) {
      for (ValueId in : rules_.blocked_operands(graph_.node(id))) {
        if (blocked(in)) parent[root(id)] = root(graph_.value(in).producer);
      }
    }
    std::map<NodeId, double> balance;
    for (NodeId id : chosen_) balance[root(id)] += gain(graph_.node(id));
    for (const auto& [where, cost] : conversions()) balance[root(where)] -= cost;
    std::erase_if(chosen_, [&](NodeId id) { return balance[root(id)] <= 0; });
  }

  // The cost of every conversion, with one of the nodes that it serves.
  [[nodiscard]] std::vector<std::pair<NodeId, double>> conversions() const {
    std::vector<std::pair<NodeId, double>> found;
    std::set<ValueId> seen;
    const auto users = graph_.consumers();
    for (NodeId id : chosen_) {
      for (ValueId in : rules_.blocked_operands(graph_.node(id))) {
        if (blocked(in) || rules_.reads_planes(graph_.node(id))) continue;
        if (seen.insert(in).second) {
          found.emplace_back(id, kConversion * elements(in));
        }
      }
      for (ValueId out : graph_.node(id).outputs) {
        if (out == kNone) continue;
        const auto& list = users[static_cast<size_t>(out)];
        const bool plain = graph_.is_output(out) ||
                           std::any_of(list.begin(), list.end(),
                                       [&](NodeId user) { return !chosen_.contains(user); });
        if (plain) found.emplace_back(id, kConversion * elements(out));
      }
    }
    return found;
  }

  Graph& graph_;
  BlockedRules rules_;
  std::set<NodeId> chosen_;
};

}  // namespace

bool layout(Graph& graph, PassContext& context) {
  if (context.block <= 0) return false;
  return each_graph(graph, [&](Graph& g) { return BlockedLayout(g, context).run(); });
}

}  // namespace tiercel::passes
