// Gradient: derivatives of one value of the graph by reverse accumulation, a rule per operator.
#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "passes/expand.h"

namespace tiercel {
namespace {

// What a rule sees of one node of the differentiated graph.
struct Place {
  Expander& e;
  const Node& node;
  ValueId dy;  // the derivative of the result by output 0

  [[nodiscard]] ValueId x(size_t i) const { return node.inputs[i]; }
  [[nodiscard]] ValueId y() const { return node.outputs[0]; }
  [[nodiscard]] ValueId number(double value) const { return e.number(e.dtype(dy), value); }
  [[nodiscard]] ValueId op(std::string_view name, std::vector<ValueId> inputs) const {
    return e.op(name, std::move(inputs));
  }
  [[nodiscard]] ValueId times(ValueId a, ValueId b) const { return op("Mul", {a, b}); }
  [[nodiscard]] ValueId like(ValueId value, ValueId shape_of) const {
    return op("Reshape", {value, op("Shape", {shape_of})});
  }
};

bool is_one(const Dim& dim) { return dim.known() && dim.value() == 1; }

// One derivative per input, in order; what is not made is kNone.
using Rule = std::vector<ValueId> (*)(const Place&);
using Made = std::vector<ValueId>;

Made matmul(const Place& p) {
  const auto turned = [&](ValueId value) {
    const auto& shape = p.e.type(value).shape;
    if (!shape || shape->size() < 2) p.e.fail("differentiates MatMul of matrices only");
    std::vector<int64_t> perm(shape->size());
    for (size_t i = 0; i < perm.size(); ++i) perm[i] = static_cast<int64_t>(i);
    std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
    Attributes attributes;
    attributes.set("perm", perm);
    return p.e.op("Transpose", {value}, std::move(attributes));
  };
  return {p.op("MatMul", {p.dy, turned(p.x(1))}), p.op("MatMul", {turned(p.x(0)), p.dy})};
}

Made transpose(const Place& p) {
  const auto* perm = p.node.attributes.get<std::vector<int64_t>>("perm");
  if (!perm) return {p.op("Transpose", {p.dy})};
  std::vector<int64_t> back(perm->size());
  for (size_t i = 0; i < perm->size(); ++i) {
    back[static_cast<size_t>((*perm)[i])] = static_cast<int64_t>(i);
  }
  Attributes attributes;
  attributes.set("perm", back);
  return {p.e.op("Transpose", {p.dy}, std::move(attributes))};
}

// The reduced axes come back as extents of one; the derivative is the same along them.
ValueId spread(const Place& p) {
  ValueId dy = p.dy;
  const bool kept = attr_int(p.node, "keepdims", 1) != 0;
  if (!kept && has_input(p.node, 1)) dy = p.op("Unsqueeze", {dy, p.x(1)});
  return p.op("Expand", {dy, p.op("Shape", {p.x(0)})});
}

Made reduce_sum(const Place& p) { return {spread(p)}; }

Made reduce_mean(const Place& p) {
  const DType dtype = p.e.dtype(p.dy);
  const ValueId all = p.e.cast(p.op("Size", {p.x(0)}), dtype);
  const ValueId some = p.e.cast(p.op("Size", {p.y()}), dtype);
  return {p.times(spread(p), p.op("Div", {some, all}))};
}

Made power(const Place& p) {
  const ValueId less = p.op("Sub", {p.x(1), p.e.number(p.e.dtype(p.x(1)), 1)});
  return {p.times(p.dy, p.times(p.x(1), p.op("Pow", {p.x(0), less}))),
          p.times(p.dy, p.times(p.y(), p.op("Log", {p.x(0)})))};
}

Made same_shape_rule(const Place& p) { return {p.like(p.dy, p.x(0))}; }

const std::map<std::string_view, Rule>& rules() {
  static const std::map<std::string_view, Rule> table = {
      {"Identity", [](const Place& p) -> Made { return {p.dy}; }},
      {"Neg", [](const Place& p) -> Made { return {p.op("Neg", {p.dy})}; }},
      {"Add", [](const Place& p) -> Made { return {p.dy, p.dy}; }},
      {"Sum", [](const Place& p) { return Made(p.node.inputs.size(), p.dy); }},
      {"Sub", [](const Place& p) -> Made { return {p.dy, p.op("Neg", {p.dy})}; }},
      {"Mul",
       [](const Place& p) -> Made { return {p.times(p.dy, p.x(1)), p.times(p.dy, p.x(0))}; }},
      {"Div",
       [](const Place& p) -> Made {
         const ValueId part = p.op("Div", {p.dy, p.x(1)});
         return {part, p.op("Neg", {p.times(part, p.y())})};
       }},
      {"Pow", power},
      {"Exp", [](const Place& p) -> Made { return {p.times(p.dy, p.y())}; }},
      {"Log", [](const Place& p) -> Made { return {p.op("Div", {p.dy, p.x(0)})}; }},
      {"Sqrt",
       [](const Place& p) -> Made { return {p.op("Div", {p.dy, p.op("Add", {p.y(), p.y()})})}; }},
      {"Sin", [](const Place& p) -> Made { return {p.times(p.dy, p.op("Cos", {p.x(0)}))}; }},
      {"Cos",
       [](const Place& p) -> Made {
         return {p.op("Neg", {p.times(p.dy, p.op("Sin", {p.x(0)}))})};
       }},
      {"Tanh",
       [](const Place& p) -> Made {
         return {p.times(p.dy, p.op("Sub", {p.number(1), p.times(p.y(), p.y())}))};
       }},
      {"Sigmoid",
       [](const Place& p) -> Made {
         return {p.times(p.dy, p.times(p.y(), p.op("Sub", {p.number(1), p.y()})))};
       }},
      {"Relu",
       [](const Place& p) -> Made {
         const ValueId above = p.op("Greater", {p.x(0), p.number(0)});
         return {p.op("Where", {above, p.dy, p.number(0)})};
       }},
      {"MatMul", matmul},
      {"Transpose", transpose},
      {"ReduceSum", reduce_sum},
      {"ReduceMean", reduce_mean},
      {"Reshape", same_shape_rule},
      {"Flatten", same_shape_rule},
      {"Squeeze", same_shape_rule},
      {"Unsqueeze", same_shape_rule},
  };
  return table;
}

class Reverse {
 public:
  Reverse(Graph& graph, NodeId id) : e_(graph, id) {}

  bool run() {
    const auto* xs = e_.node().attributes.get<std::vector<std::string>>("xs");
    const auto* zs = e_.node().attributes.get<std::vector<std::string>>("zs");
    std::vector<std::string> names = xs ? *xs : std::vector<std::string>();
    const size_t wanted = names.size();
    if (zs) names.insert(names.end(), zs->begin(), zs->end());
    if (names.size() != e_.node().inputs.size()) {
      e_.fail(concat("names ", names.size(), " variables and has ", e_.node().inputs.size(),
                     " inputs"));
    }
    for (size_t i = 0; i < names.size(); ++i) {
      const ValueId named = find(names[i]);
      now_[named] = e_.input(i);
      if (i < wanted) variables_.push_back(named);
      if (i < wanted) depends_.insert(named);
    }
    const ValueId y = find(attr_string(e_.node(), "y"));
    const std::vector<Node> path = replayed(y);
    slope_[at(y)] = e_.op("Expand", {e_.number(e_.dtype(at(y)), 1), e_.op("Shape", {at(y)})});
    for (size_t i = path.size(); i-- > 0;) backward(path[i]);
    std::vector<ValueId> made;
    for (ValueId x : variables_) made.push_back(derivative(at(x)));
    e_.finish(made);
    e_.graph().sort();
    return true;
  }

 private:
  ValueId find(const std::string& name) const {
    const Graph& graph = const_cast<Expander&>(e_).graph();
    for (size_t i = 0; i < graph.values.size(); ++i) {
      if (graph.values[i].name == name) return static_cast<ValueId>(i);
    }
    e_.fail(concat("the graph has no value \"", name, "\""));
  }

  // The value at the point where the derivative is taken.
  [[nodiscard]] ValueId at(ValueId id) const {
    const auto found = now_.find(id);
    return found == now_.end() ? id : found->second;
  }

  // The nodes between the variables and `y`, in order; made anew where an input of the Gradient
  // node is another value than the one that its name is.
  std::vector<Node> replayed(ValueId y) {
    std::set<NodeId> needed;
    std::vector<ValueId> open = {y};
    while (!open.empty()) {
      const ValueId id = open.back();
      open.pop_back();
      if (id == kNone || now_.contains(id)) continue;
      const NodeId made_by = e_.graph().value(id).producer;
      if (made_by == kNone || !needed.insert(made_by).second) continue;
      const std::vector<ValueId>& inputs = e_.graph().node(made_by).inputs;
      open.insert(open.end(), inputs.begin(), inputs.end());
    }
    std::vector<Node> path;
    const std::vector<NodeId> order = e_.graph().order;
    for (NodeId id : order) {
      if (!needed.contains(id)) continue;
      Node node = e_.graph().node(id);
      const auto is_variable = [&](ValueId in) { return depends_.contains(in); };
      const bool depends = std::any_of(node.inputs.begin(), node.inputs.end(), is_variable);
      std::vector<ValueId> inputs = node.inputs;
      for (ValueId& in : inputs) in = at(in);
      if (depends) depends_.insert(node.outputs.begin(), node.outputs.end());
      if (inputs != node.inputs) {
        const auto outputs =
            e_.ops(node.op_type, inputs, node.outputs.size(), node.attributes, node.def->domain);
        for (size_t i = 0; i < outputs.size(); ++i) now_[node.outputs[i]] = outputs[i];
        if (depends) depends_.insert(outputs.begin(), outputs.end());
        node.inputs = inputs;
        node.outputs = outputs;
      }
      if (depends) path.push_back(std::move(node));
    }
    for (ValueId x : variables_) depends_.insert(at(x));
    return path;
  }

  void backward(const Node& node) {
    const auto dy = slope_.find(node.outputs[0]);
    if (dy == slope_.end()) return;
    const auto rule = rules().find(node.op_type);
    if (rule == rules().end() || !node.domain.empty()) {
      e_.fail(concat("cannot differentiate ", node.op_type));
    }
    const Made made = rule->second({e_, node, dy->second});
    for (size_t i = 0; i < made.size() && i < node.inputs.size(); ++i) {
      const ValueId x = node.inputs[i];
      if (x == kNone || made[i] == kNone || !depends_.contains(x)) continue;
      const ValueId part = folded(made[i], x);
      const auto other = slope_.find(x);
      slope_[x] = other == slope_.end() ? part : e_.op("Add", {other->second, part});
    }
  }

  // Summed over the axes along which x was broadcast.
  ValueId folded(ValueId part, ValueId x) {
    const auto& from = e_.type(part).shape;
    const auto& to = e_.type(x).shape;
    if (!from || !to) e_.fail("needs the ranks of what it differentiates");
    const size_t missing = from->size() - to->size();
    std::vector<int64_t> axes;
    for (size_t i = 0; i < from->size(); ++i) {
      const bool broadcast = i < missing || (is_one((*to)[i - missing]) && !is_one((*from)[i]));
      if (broadcast) axes.push_back(static_cast<int64_t>(i));
    }
    if (axes.empty()) return part;
    const ValueId sum = e_.op("ReduceSum", {part, e_.ints(axes)});
    return e_.op("Reshape", {sum, e_.op("Shape", {x})});
  }

  ValueId derivative(ValueId x) {
    const auto found = slope_.find(x);
    if (found != slope_.end()) return found->second;
    return e_.op("Expand", {e_.number(e_.dtype(x), 0), e_.op("Shape", {x})});
  }

  Expander e_;
  std::vector<ValueId> variables_;
  std::map<ValueId, ValueId> now_;    // value of the graph to its value here
  std::map<ValueId, ValueId> slope_;  // value to the derivative of the result by it
  std::set<ValueId> depends_;         // on the variables
};

bool gradient(Graph& graph, NodeId id) { return Reverse(graph, id).run(); }

constexpr Expansion kGradient[] = {
    {"ai.onnx.preview.training", "Gradient", gradient},
};

}  // namespace

std::span<const Expansion> gradient_expansions() { return kGradient; }

}  // namespace tiercel
