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
    drop_enlarged_results();
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

  // Results of networks are enlarged behind the conversion, and so is what comes after.
  void drop_enlarged_results() {
    const auto users = graph_.consumers();
    for (const NodeId id : std::vector<NodeId>(chosen_.begin(), chosen_.end())) {
      const Node& node = graph_.node(id);
      if (!is_op(node, "Resize") || shrinks(node)) continue;
      const std::set<NodeId> behind = carriers_behind(id, users);
      std::erase_if(chosen_, [&](NodeId n) { return behind.contains(n); });
    }
  }

  [[nodiscard]] bool shrinks(const Node& resize) const {
    const Shape* out = shape_of(graph_, resize.outputs[0]);
    const bool known =
        out && std::all_of(out->begin(), out->end(), [](const Dim& d) { return d.known(); });
    return known && elements(resize.outputs[0]) < elements(resize.inputs[0]);
  }

  // The node and the chosen ones behind it; none where these are convolutions too, or read other
  // blocked values.
  [[nodiscard]] std::set<NodeId> carriers_behind(
      NodeId id, const std::vector<std::vector<NodeId>>& users) const {
    std::set<NodeId> behind{id};
    for (std::vector<NodeId> open{id}; !open.empty();) {
      const Node& node = graph_.node(open.back());
      open.pop_back();
      if (rules_.is_convolution(node)) return {};
      for (const ValueId out : node.outputs) {
        if (out == kNone) continue;
        for (const NodeId user : users[static_cast<size_t>(out)]) {
          if (chosen_.contains(user) && behind.insert(user).second) open.push_back(user);
        }
      }
    }
    for (const NodeId node : behind) {
      for (const ValueId in : rules_.blocked_operands(graph_.node(node))) {
        const bool other = blocked(in) && !behind.contains(graph_.value(in).producer);
        if (other && node != id) return {};
      }
    }
    return behind;
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
