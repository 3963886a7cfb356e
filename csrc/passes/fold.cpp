// Constant folding: nodes whose inputs are constants, or whose elements inference already knows,
// become constants.
#include <algorithm>

#include "passes/edit.h"
#include "passes/passes.h"

namespace tiercel::passes {

namespace {

// Constants that outer graphs have are constants of the bodies that capture them.
void pass_constants_inward(Graph& graph, const Node& node) {
  for (const std::shared_ptr<Graph>& body : subgraphs(node)) {
    for (const Capture& capture : body->captures) {
      if (const Tensor* constant = graph.constant(capture.outer)) {
        body->value(capture.inner).constant = *constant;
      }
    }
  }
}

bool inputs_constant(const Graph& graph, const Node& node) {
  return std::all_of(node.inputs.begin(), node.inputs.end(),
                     [&](ValueId in) { return in == kNone || graph.constant(in) != nullptr; });
}

// Bytes that the node's outputs will take, as far as shapes are known; nullopt: not only tensors.
std::optional<int64_t> output_bytes(const Graph& graph, const Node& node) {
  int64_t bytes = 0;
  for (ValueId out : node.outputs) {
    if (out == kNone) continue;
    const Type& type = graph.value(out).type;
    if (!type.is_tensor()) return std::nullopt;
    const std::optional<Dims> dims = type.shape ? concrete(*type.shape) : std::nullopt;
    if (dims) bytes += dtype_bytes(type.dtype, element_count(*dims));
  }
  return bytes;
}

// A small constant may stand for a huge result (ConstantOfShape, Expand, Range). What weights of
// such a model need is spent once; beyond it, what costs memory stays a node.
class GrowthBudget {
 public:
  explicit GrowthBudget(int64_t each) : each_(each) {}

  bool allows(const Graph& graph, const Node& node) {
    constexpr int64_t kSmall = 1 << 16;
    const std::optional<int64_t> out = output_bytes(graph, node);
    if (!out || *out > each_) return false;
    int64_t in = 0;
    for (ValueId id : node.inputs) {
      if (id != kNone) in += graph.constant(id)->bytes();
    }
    if (*out <= std::max(kSmall, 4 * in)) return true;
    if (*out > left_) return false;
    left_ -= *out;
    return true;
  }

 private:
  int64_t each_;
  int64_t left_ = int64_t{512} << 20;  // bytes, of all constants that outgrow what they are made of
};

void make_constant(Graph& graph, ValueId id, Tensor tensor) {
  ValueInfo& value = graph.value(id);
  value.type = Type::tensor(tensor.dtype(), to_shape(tensor.dims()));
  value.constant = std::move(tensor);
}

bool fold_node(Graph& graph, NodeId id, PassContext& context, GrowthBudget& budget) {
  const Node& node = graph.node(id);
  if (!context.evaluate || !inputs_constant(graph, node)) return false;
  if (!budget.allows(graph, node)) return false;
  std::optional<std::vector<Tensor>> results = context.evaluate(graph, node);
  if (!results || results->size() != node.outputs.size()) return false;
  const std::vector<ValueId> outputs = node.outputs;
  graph.remove_node(id);
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i] != kNone) make_constant(graph, outputs[i], std::move((*results)[i]));
  }
  return true;
}

// Shape → Gather → Concat chains: inference has the numbers, nothing need run.
bool fold_known(Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (node.outputs.size() != 1 || node.outputs[0] == kNone) return false;
  const ValueId out = node.outputs[0];
  const ValueInfo& value = graph.value(out);
  if (!value.known || !value.type.is_tensor() || !value.type.shape) return false;
  if (value.type.dtype != DType::Int64 && value.type.dtype != DType::Int32) return false;
  const std::optional<std::vector<int64_t>> numbers = concrete(*value.known);
  const std::optional<Dims> dims = concrete(*value.type.shape);
  if (!numbers || !dims || element_count(*dims) != static_cast<int64_t>(numbers->size())) {
    return false;
  }
  Tensor tensor(value.type.dtype, *dims);
  for (size_t i = 0; i < numbers->size(); ++i) {
    if (value.type.dtype == DType::Int64) tensor.data<int64_t>()[i] = (*numbers)[i];
    if (value.type.dtype == DType::Int32) {
      tensor.data<int32_t>()[i] = static_cast<int32_t>((*numbers)[i]);
    }
  }
  graph.remove_node(id);
  make_constant(graph, out, std::move(tensor));
  return true;
}

// `runs`: whether its nodes run for certain. Branches that no run takes may have shapes that do not
// fit, which is nobody's concern.
bool fold_graph(Graph& graph, PassContext& context, GrowthBudget& budget, bool runs) {
  bool changed = false;
  const std::vector<NodeId> order = graph.order;
  for (NodeId id : order) {
    const Node& node = graph.node(id);
    if (node.removed || !node.def) continue;
    if (node.def->has(kControlFlow)) {
      pass_constants_inward(graph, node);
      for (const std::shared_ptr<Graph>& body : subgraphs(node)) {
        changed = fold_graph(*body, context, budget, false) || changed;
      }
      continue;
    }
    if (node.def->has(kNondeterministic)) continue;
    if (changed && runs) infer_node(graph, graph.node(id));  // of constants that were none before
    changed = fold_known(graph, id) || fold_node(graph, id, context, budget) || changed;
  }
  return changed;
}

}  // namespace

bool fold(Graph& graph, PassContext& context) {
  GrowthBudget budget(context.fold_limit);
  return fold_graph(graph, context, budget, true);
}

}  // namespace tiercel::passes
