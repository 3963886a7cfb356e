// Simplifications: nodes that do nothing go, and chains that one node can do become that node.
#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "passes/edit.h"
#include "passes/passes.h"
#include "passes/reshape.h"
#include "passes/rules.h"

namespace tiercel::passes {

namespace {

// Tries one simplification at a node; true when the graph changed.
using Simplify = bool (*)(Graph& graph, NodeId id);

// The node's output 0 becomes its input `i` when type and shape certainly agree.
bool bypass(Graph& graph, NodeId id, size_t i) {
  const Node& node = graph.node(id);
  const ValueId in = node.inputs[i];
  const ValueId out = node.outputs[0];
  if (graph.value(in).type.dtype != graph.value(out).type.dtype) return false;
  if (!same_shape(graph, in, out)) return false;
  redirect(graph, out, in);
  return graph.node(id).removed;
}

bool only_first_output_used(const Graph& graph, const Node& node) {
  const Uses uses(graph);
  return node.outputs[0] != kNone &&
         std::all_of(node.outputs.begin() + 1, node.outputs.end(),
                     [&](ValueId out) { return out == kNone || uses.count(out) == 0; });
}

bool identity(Graph& graph, NodeId id) {
  const ValueId in = graph.node(id).inputs[0];
  const ValueId out = graph.node(id).outputs[0];
  if (in == kNone || out == kNone) return false;
  redirect(graph, out, in);
  return graph.node(id).removed;
}

bool dropout(Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (has_input(node, 2) && scalar(graph, node.inputs[2]) != 0.0) return false;
  return only_first_output_used(graph, node) && bypass(graph, id, 0);
}

// An Identity may take its place, which has no 6-bit floats.
bool cast(Graph& graph, NodeId id) {
  const DType dtype = graph.value(graph.node(id).inputs[0]).type.dtype;
  return dtype != DType::Float6E2M3 && dtype != DType::Float6E3M2 && bypass(graph, id, 0);
}

bool single_operand(Graph& graph, NodeId id) {
  return graph.node(id).inputs.size() == 1 && bypass(graph, id, 0);
}

bool expand(Graph& graph, NodeId id) { return bypass(graph, id, 0); }

bool is_ones(const std::vector<int64_t>& values) {
  return std::all_of(values.begin(), values.end(), [](int64_t v) { return v == 1; });
}

bool slice(Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (has_input(node, 4)) {
    const std::optional<std::vector<int64_t>> steps = integers(graph, node.inputs[4]);
    if (!steps || !is_ones(*steps)) return false;
  }
  return bypass(graph, id, 0);
}

bool pad(Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (!has_input(node, 1)) return false;
  const std::optional<std::vector<int64_t>> pads = integers(graph, node.inputs[1]);
  if (!pads || std::any_of(pads->begin(), pads->end(), [](int64_t p) { return p != 0; })) {
    return false;
  }
  return bypass(graph, id, 0);
}

// One operand is a constant scalar that leaves the other as it is.
bool neutral_scalar(Graph& graph, NodeId id, size_t constant, bool (*neutral)(double)) {
  const std::optional<double> value = scalar(graph, graph.node(id).inputs[constant]);
  return value && neutral(*value) && bypass(graph, id, 1 - constant);
}

bool is_one(double v) { return v == 1.0; }

// x + 0 is x for integers; among floats -0 + 0 is +0, so that only adding -0 is exact.
bool is_exact_zero(const Graph& graph, ValueId id, bool negative) {
  const std::optional<double> value = scalar(graph, id);
  if (!value || *value != 0.0) return false;
  return dtype_is_integer(graph.value(id).type.dtype) || std::signbit(*value) == negative;
}

bool mul(Graph& graph, NodeId id) {
  return neutral_scalar(graph, id, 1, is_one) || neutral_scalar(graph, id, 0, is_one);
}

bool add(Graph& graph, NodeId id) {
  const std::vector<ValueId>& in = graph.node(id).inputs;
  if (is_exact_zero(graph, in[1], true)) return bypass(graph, id, 0);
  if (is_exact_zero(graph, in[0], true)) return bypass(graph, id, 1);
  return false;
}

bool sub(Graph& graph, NodeId id) {
  return is_exact_zero(graph, graph.node(id).inputs[1], false) && bypass(graph, id, 0);
}

// x / 2^k is x * 2^-k, exactly, and multiplying is several times faster.
bool div(Graph& graph, NodeId id) {
  if (neutral_scalar(graph, id, 1, is_one)) return true;
  const Node& node = graph.node(id);
  const ValueId out = node.outputs[0];
  const DType dtype = graph.value(node.inputs[1]).type.dtype;
  if (dtype != DType::Float && dtype != DType::Double) return false;
  const std::optional<double> value = scalar(graph, node.inputs[1]);
  if (!value || !std::isfinite(*value) || *value == 0.0) return false;
  int exponent = 0;
  if (std::fabs(std::frexp(*value, &exponent)) != 0.5 || std::abs(exponent) > 100) return false;
  const double inverse = 1.0 / *value;
  const Dims dims = graph.constant(node.inputs[1])->dims();
  const ValueId factor = graph.add_constant(graph.value(node.inputs[1]).name + "_inverse",
                                            make_tensor(dtype, dims, {&inverse, 1}));
  const ValueId made = insert_node(graph, id, {"Mul", {graph.node(id).inputs[0], factor}},
                                   graph.value(out).type, graph.node(id).name);
  redirect(graph, out, made);
  return true;
}

bool pow(Graph& graph, NodeId id) { return neutral_scalar(graph, id, 1, is_one); }

// Every element of a constant bool tensor is `wanted`.
bool all_bool(const Graph& graph, ValueId id, bool wanted) {
  const Tensor* constant = id == kNone ? nullptr : graph.constant(id);
  if (!constant || constant->dtype() != DType::Bool || constant->size() > (1 << 20)) return false;
  const bool* data = constant->data<bool>();
  return std::all_of(data, data + constant->size(), [&](bool v) { return v == wanted; });
}

bool logical(Graph& graph, NodeId id, bool neutral) {
  const std::vector<ValueId>& in = graph.node(id).inputs;
  if (all_bool(graph, in[1], neutral)) return bypass(graph, id, 0);
  if (all_bool(graph, in[0], neutral)) return bypass(graph, id, 1);
  return false;
}

bool logical_and(Graph& graph, NodeId id) { return logical(graph, id, true); }
bool logical_or(Graph& graph, NodeId id) { return logical(graph, id, false); }

bool where_constant(Graph& graph, NodeId id) {
  const ValueId condition = graph.node(id).inputs[0];
  if (all_bool(graph, condition, true)) return bypass(graph, id, 1);
  return all_bool(graph, condition, false) && bypass(graph, id, 2);
}

std::vector<int64_t> permutation(const Node& node, int64_t rank) {
  if (const auto* perm = node.attributes.get<std::vector<int64_t>>("perm")) return *perm;
  std::vector<int64_t> reversed(static_cast<size_t>(rank));
  std::iota(reversed.rbegin(), reversed.rend(), 0);
  return reversed;
}

// Transpose of a transpose is one transpose; one that keeps the order of all long axes is a
// Reshape.
bool transpose(Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  const ValueId in = node.inputs[0];
  const std::optional<int64_t> rank = rank_of(graph, in);
  if (!rank) return false;
  std::vector<int64_t> perm = permutation(node, *rank);
  if (std::is_sorted(perm.begin(), perm.end())) return identity(graph, id);
  const ValueId out = node.outputs[0];
  if (const Node* first = producer(graph, in, "Transpose")) {
    const std::vector<int64_t> inner = permutation(*first, *rank);
    for (int64_t& p : perm) p = inner[static_cast<size_t>(p)];
    Attributes attributes;
    attributes.set("perm", perm);
    const ValueId made = insert_node(graph, id, {"Transpose", {first->inputs[0]}, attributes},
                                     graph.value(out).type, node.name);
    redirect(graph, out, made);
    return true;
  }
  const Shape& shape = *shape_of(graph, in);
  std::erase_if(perm, [&](int64_t p) {
    const Dim& dim = shape[static_cast<size_t>(p)];
    return dim.known() && dim.value() == 1;
  });
  return std::is_sorted(perm.begin(), perm.end()) && to_reshape(graph, id, in);
}

// Mean over the two spatial axes of an image, which layouts and kernels know by its own name.
bool spatial_mean(Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  const ValueId in = node.inputs[0];
  const DType dtype = graph.value(in).type.dtype;
  if (rank_of(graph, in) != 4 || attr_int(node, "keepdims", 1) != 1 || !has_input(node, 1)) {
    return false;
  }
  if (dtype != DType::Float && dtype != DType::Double && dtype != DType::Float16) return false;
  std::optional<std::vector<int64_t>> axes = integers(graph, node.inputs[1]);
  if (!axes || axes->size() != 2) return false;
  for (int64_t& axis : *axes) axis = axis < 0 ? axis + 4 : axis;
  std::sort(axes->begin(), axes->end());
  if (*axes != std::vector<int64_t>{2, 3}) return false;
  const ValueId out = node.outputs[0];
  const ValueId made =
      insert_node(graph, id, {"GlobalAveragePool", {in}}, graph.value(out).type, node.name);
  redirect(graph, out, made);
  return true;
}

struct Simplification {
  std::string_view op;
  Simplify run;
};

constexpr Simplification kRules[] = {
    {"Identity", identity},
    {"Dropout", dropout},
    {"Cast", cast},
    {"CastLike", cast},
    {"Concat", single_operand},
    {"Sum", single_operand},
    {"Max", single_operand},
    {"Min", single_operand},
    {"Mean", single_operand},
    {"Expand", expand},
    {"Slice", slice},
    {"Pad", pad},
    {"Mul", mul},
    {"Add", add},
    {"Sub", sub},
    {"Div", div},
    {"Pow", pow},
    {"And", logical_and},
    {"Or", logical_or},
    {"Where", where_constant},
    {"Transpose", transpose},
    {"Reshape", merge_reshapes},
    {"Flatten", merge_reshapes},
    {"Squeeze", merge_reshapes},
    {"Unsqueeze", merge_reshapes},
    {"ReduceMean", spatial_mean},
    {"If", inline_branch},
};

bool simplify_graph(Graph& graph) {
  bool changed = false;
  const std::vector<NodeId> order = graph.order;
  for (NodeId id : order) {
    for (const Simplification& rule : kRules) {
      const Node& node = graph.node(id);
      if (!is_op(node, rule.op) || node.inputs.empty() || node.outputs.empty()) continue;
      changed = rule.run(graph, id) || changed;
    }
  }
  return changed;
}

}  // namespace

bool simplify(Graph& graph, PassContext&) {
  constexpr int kRounds = 8;
  return each_graph(graph, [](Graph& g) {
    int round = 0;
    while (round < kRounds && simplify_graph(g)) ++round;
    return round > 0;
  });
}

}  // namespace tiercel::passes
