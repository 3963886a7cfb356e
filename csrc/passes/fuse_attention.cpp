// Softmax(QK · scale + mask)V as frameworks export it becomes Attention, with heads in its 3-D
// form.
#include <algorithm>
#include <utility>

#include "passes/edit.h"
#include "passes/rules.h"

namespace tiercel::passes {

namespace {

using pattern::Match;
using pattern::P;

bool softmax_over_last_axis(const Graph& graph, const Node& node) {
  const int64_t axis = attr_int(node, "axis", -1);
  const std::optional<int64_t> rank = rank_of(graph, node.inputs[0]);
  return axis == -1 || (rank && axis == *rank - 1);
}

P MatMul(const P& a, const P& b) { return P::op("MatMul", {a, b}); }
P Softmax(const P& x) { return P::op("Softmax", {x}, softmax_over_last_axis); }

P attention_pattern() {
  const P q = P::variable("q");
  const P k = P::variable("k");  // already transposed
  const P v = P::variable("v");
  const P s = P::variable("scale", true);
  const P t = P::variable("key_scale", true);
  const P d = P::variable("divisor", true);
  const P scores = P::either({MatMul(q * s, k * t), MatMul(q * s, k), MatMul(q / d, k),
                              MatMul(q, k) * s, MatMul(q, k) / d, MatMul(q, k)});
  return MatMul(Softmax(P::either({scores + P::variable("mask"), scores})), v);
}

bool is_float(DType dtype) {
  return dtype == DType::Float || dtype == DType::Double || dtype == DType::Float16 ||
         dtype == DType::BFloat16;
}

bool same_dim(const Graph& graph, ValueId a, size_t axis_a, ValueId b, size_t axis_b) {
  return (*shape_of(graph, a))[axis_a].same((*shape_of(graph, b))[axis_b]);
}

double scale_of(const Graph& graph, const Match& match) {
  double scale = 1;
  for (const char* factor : {"scale", "key_scale"}) {
    const auto it = match.variables.find(factor);
    if (it != match.variables.end()) scale *= *scalar(graph, it->second);
  }
  const auto divisor = match.variables.find("divisor");
  if (divisor != match.variables.end()) scale /= *scalar(graph, divisor->second);
  return scale;
}

// Attention pads a short mask instead of broadcasting its last axis, and knows masks of rank 2
// to 4.
std::optional<std::string> mask_refused(const Graph& graph, ValueId mask, ValueId q, ValueId kt) {
  const Shape* shape = shape_of(graph, mask);
  if (!shape || shape->size() < 2 || shape->size() > 4) return "mask is not of rank 2 to 4";
  const Dim& last = shape->back();
  if (!last.same((*shape_of(graph, kt))[3])) return "mask does not span all keys";
  if (graph.value(mask).type.dtype != graph.value(q).type.dtype) return "mask has another type";
  return std::nullopt;
}

std::optional<std::string> refused(const Graph& graph, const Match& match) {
  const ValueId q = match["q"];
  const ValueId kt = match["k"];
  const ValueId v = match["v"];
  for (ValueId id : {q, kt, v}) {
    if (rank_of(graph, id) != 4) return "an operand is not of rank 4";
    if (!is_float(graph.value(id).type.dtype)) return "an operand is not floating-point";
  }
  for (size_t axis : {0, 1}) {
    if (!same_dim(graph, q, axis, kt, axis) || !same_dim(graph, q, axis, v, axis)) {
      return "batch or heads may differ";
    }
  }
  const NodeId made_by = graph.value(kt).producer;
  if (made_by == kNone || !is_op(graph.node(made_by), "Transpose"))
    return "keys are not transposed";
  const auto mask = match.variables.find("mask");
  if (mask != match.variables.end()) return mask_refused(graph, mask->second, q, kt);
  return std::nullopt;
}

// The keys before the transpose that swapped their last two axes.
ValueId untransposed(Graph& graph, NodeId before, ValueId kt) {
  const Node& node = graph.node(graph.value(kt).producer);
  const ValueId source = node.inputs[0];
  std::vector<int64_t> perm = *node.attributes.get<std::vector<int64_t>>("perm");
  std::swap(perm[2], perm[3]);
  if (std::is_sorted(perm.begin(), perm.end())) return source;
  Type type = graph.value(kt).type;
  std::swap((*type.shape)[2], (*type.shape)[3]);
  Attributes attributes;
  attributes.set("perm", perm);
  return insert_node(graph, before, {"Transpose", {source}, std::move(attributes)}, std::move(type),
                     node.name);
}

bool fuse_at(Graph& graph, NodeId root, const P& pattern) {
  for (const Match& match : pattern::find_matches(graph, root, pattern)) {
    if (!pattern::self_contained(graph, match) || refused(graph, match)) continue;
    const ValueId kt = match["k"];
    const Node& transpose = graph.node(graph.value(kt).producer);
    if (!transpose.attributes.get<std::vector<int64_t>>("perm")) continue;
    const double scale = scale_of(graph, match);
    const ValueId out = graph.node(root).outputs[0];
    const ValueId keys = untransposed(graph, root, kt);
    NewNode made{"Attention", {match["q"], keys, match["v"]}};
    const auto mask = match.variables.find("mask");
    if (mask != match.variables.end()) made.inputs.push_back(mask->second);
    made.attributes.set("scale", scale);
    const ValueId attended =
        insert_node(graph, root, std::move(made), graph.value(out).type, graph.node(root).name);
    redirect(graph, out, attended);
    for (NodeId id : match.nodes) {
      if (!graph.node(id).removed) graph.remove_node(id);
    }
    return true;
  }
  return false;
}

// What the transpose that swaps heads and sequence made `id` of; kNone when it is no such
// transpose.
ValueId before_head_transpose(const Graph& graph, ValueId id) {
  const NodeId made_by = graph.value(id).producer;
  if (made_by == kNone || !is_op(graph.node(made_by), "Transpose")) return kNone;
  const auto* perm = graph.node(made_by).attributes.get<std::vector<int64_t>>("perm");
  const bool swaps = perm && *perm == std::vector<int64_t>{0, 2, 1, 3};
  return swaps ? graph.node(made_by).inputs[0] : kNone;
}

// [batch, sequence, heads, size] with known heads and size, before it was transposed.
ValueId split_heads(const Graph& graph, ValueId id) {
  const ValueId source = before_head_transpose(graph, id);
  const Shape* shape = source == kNone ? nullptr : shape_of(graph, source);
  return shape && (*shape)[2].known() && (*shape)[3].known() ? source : kNone;
}

ValueId join_heads(Graph& graph, NodeId before, ValueId source) {
  const Shape shape = *shape_of(graph, source);
  const int64_t target[] = {0, 0, shape[2].value() * shape[3].value()};
  const std::string name = graph.node(before).name;
  const ValueId constant = graph.add_constant(name + "_shape", Tensor::vector_i64(target));
  const Type type =
      Type::tensor(graph.value(source).type.dtype, Shape{shape[0], shape[1], Dim(target[2])});
  return insert_node(graph, before, {"Reshape", {source, constant}}, type, name);
}

// The only reader of the attention's output, when it is the transpose that joins heads again.
NodeId transpose_after(const Graph& graph, ValueId out) {
  const std::vector<NodeId> users = graph.consumers()[static_cast<size_t>(out)];
  if (users.size() != 1 || graph.is_output(out)) return kNone;
  const Node& node = graph.node(users[0]);
  const bool transposes =
      is_op(node, "Transpose") && before_head_transpose(graph, node.outputs[0]) == out;
  return transposes ? users[0] : kNone;
}

bool fuse_heads_at(Graph& graph, NodeId id) {
  const Node attention = graph.node(id);
  if (attention.inputs.size() > 4 || attention.outputs.size() != 1) return false;
  const NodeId after = transpose_after(graph, attention.outputs[0]);
  if (after == kNone) return false;
  std::vector<ValueId> sources;
  for (size_t i = 0; i < 3; ++i) {
    sources.push_back(split_heads(graph, attention.inputs[i]));
    if (sources.back() == kNone) return false;
  }
  const Shape q = *shape_of(graph, sources[0]);
  const Shape k = *shape_of(graph, sources[1]);
  const Shape v = *shape_of(graph, sources[2]);
  NewNode made{"Attention", {}, attention.attributes};
  for (ValueId source : sources) made.inputs.push_back(join_heads(graph, id, source));
  made.inputs.insert(made.inputs.end(), attention.inputs.begin() + 3, attention.inputs.end());
  made.attributes.set("q_num_heads", q[2].value());
  made.attributes.set("kv_num_heads", k[2].value());
  const DType dtype = graph.value(attention.outputs[0]).type.dtype;
  const Dim width(q[2].value() * v[3].value());
  const ValueId attended = insert_node(
      graph, id, std::move(made), Type::tensor(dtype, Shape{q[0], q[1], width}), attention.name);
  const int64_t target[] = {0, 0, q[2].value(), v[3].value()};
  const ValueId shape = graph.add_constant(attention.name + "_shape", Tensor::vector_i64(target));
  const ValueId joined = graph.node(after).outputs[0];
  const ValueId split = insert_node(graph, after, {"Reshape", {attended, shape}},
                                    graph.value(joined).type, attention.name);
  redirect(graph, joined, split);
  graph.remove_node(id);
  return true;
}

}  // namespace

bool fuse_attention(Graph& graph) {
  static const P pattern = attention_pattern();
  bool changed = false;
  const std::vector<NodeId> order = graph.order;
  for (NodeId id : order) {
    if (is_op(graph.node(id), "MatMul")) changed = fuse_at(graph, id, pattern) || changed;
  }
  return changed;
}

bool fuse_attention_heads(Graph& graph) {
  bool changed = false;
  const std::vector<NodeId> order = graph.order;
  for (NodeId id : order) {
    if (is_op(graph.node(id), "Attention")) changed = fuse_heads_at(graph, id) || changed;
  }
  return changed;
}

}  // namespace tiercel::passes
