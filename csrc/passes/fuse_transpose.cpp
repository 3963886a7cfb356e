// Transposes in front of matrix products: the product reads its operands in another order instead.
#include <algorithm>

#include "passes/edit.h"
#include "passes/passes.h"

namespace tiercel::passes {

namespace {

using Axes = std::vector<int64_t>;

// The axes that a Transpose in front of input `i` permutes; empty when there is none, or when
// neither rows nor columns of the matrices would lie together.
Axes permutation_before(const Graph& graph, const Node& node, size_t i) {
  const NodeId made_by = graph.value(node.inputs[i]).producer;
  if (made_by == kNone || !is_op(graph.node(made_by), "Transpose")) return {};
  const Node& transpose = graph.node(made_by);
  const std::optional<int64_t> rank = rank_of(graph, node.inputs[i]);
  if (!rank || *rank < 2 || transpose.provider != node.provider) return {};
  Axes perm;
  if (const Axes* given = transpose.attributes.get<Axes>("perm")) {
    perm = *given;
  } else {
    for (int64_t axis = *rank; axis-- > 0;) perm.push_back(axis);
  }
  return std::find(perm.end() - 2, perm.end(), *rank - 1) != perm.end() ? perm : Axes{};
}

bool fold_into_matmul(Graph& graph, PassContext& context, NodeId id) {
  const Node& node = graph.node(id);
  const Axes perms[] = {permutation_before(graph, node, 0), permutation_before(graph, node, 1)};
  if (perms[0].empty() && perms[1].empty()) return false;
  Node made = node;
  made.domain = "tiercel";
  made.op_type = "PermutedMatMul";
  made.def = find_op(made.domain, made.op_type);
  made.version = made.def->since;
  for (size_t i : {0, 1}) {
    if (perms[i].empty()) continue;
    made.attributes.set(i == 0 ? "perm_a" : "perm_b", perms[i]);
    made.inputs[i] = graph.node(graph.value(node.inputs[i]).producer).inputs[0];
  }
  if (context.refuses && context.refuses(graph, made)) return false;
  graph.node(id) = std::move(made);
  return true;
}

// Gemm has switches for both operands.
bool fold_into_gemm(Graph& graph, NodeId id) {
  bool changed = false;
  for (size_t i : {0, 1}) {
    const Axes perm = permutation_before(graph, graph.node(id), i);
    if (perm != Axes{1, 0}) continue;
    Node& node = graph.node(id);
    const char* name = i == 0 ? "transA" : "transB";
    node.attributes.set(name, attr_int(node, name) == 0 ? int64_t{1} : int64_t{0});
    node.inputs[i] = graph.node(graph.value(node.inputs[i]).producer).inputs[0];
    changed = true;
  }
  return changed;
}

}  // namespace

bool fuse_transpose(Graph& graph, PassContext& context) {
  return each_graph(graph, [&](Graph& g) {
    bool changed = false;
    const std::vector<NodeId> order = g.order;
    for (NodeId id : order) {
      const Node& node = g.node(id);
      if (node.removed) continue;
      if (is_op(node, "MatMul")) changed = fold_into_matmul(g, context, id) || changed;
      if (is_op(node, "Gemm")) changed = fold_into_gemm(g, id) || changed;
    }
    return changed;
  });
}

}  // namespace tiercel::passes
