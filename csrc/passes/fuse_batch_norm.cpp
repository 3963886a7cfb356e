// BatchNormalization and per-channel Mul and Add go into the weights before them; a lone
// BatchNormalization is Mul and Add.
#include <algorithm>
#include <cmath>

#include "passes/channel_affine.h"
#include "passes/edit.h"
#include "passes/passes.h"

namespace tiercel::passes {

namespace {

// y = x * scale + shift, when all statistics are constants.
std::optional<ChannelAffine> affine_of(const Graph& graph, const Node& node) {
  if (attr_int(node, "training_mode", 0) != 0) return std::nullopt;
  const Tensor* scale = graph.constant(node.inputs[1]);
  const Tensor* bias = graph.constant(node.inputs[2]);
  const Tensor* mean = graph.constant(node.inputs[3]);
  const Tensor* variance = graph.constant(node.inputs[4]);
  if (!scale || !bias || !mean || !variance) return std::nullopt;
  const double epsilon = attr_float(node, "epsilon", 1e-5);
  ChannelAffine affine;
  for (int64_t c = 0; c < scale->size(); ++c) {
    const auto s = element(*scale, c);
    const auto b = element(*bias, c);
    const auto m = element(*mean, c);
    const auto v = element(*variance, c);
    if (!s || !b || !m || !v) return std::nullopt;
    const double factor = *s / std::sqrt(*v + epsilon);
    affine.scale.push_back(factor);
    affine.shift.push_back(*b - *m * factor);
  }
  return affine;
}

// The linear node whose output is `id`, read by nothing else, with weights that can take an affine
// map.
NodeId linear_before(const Graph& graph, const Uses& uses, ValueId id, int64_t& channels) {
  const NodeId made_by = id == kNone ? kNone : graph.value(id).producer;
  if (made_by == kNone || !uses.single(id)) return kNone;
  const std::optional<int64_t> found = foldable_channels(graph, graph.node(made_by));
  if (!found) return kNone;
  channels = *found;
  return made_by;
}

bool fold_into(Graph& graph, NodeId id, ValueId main, const ChannelAffine& affine) {
  fold_affine(graph, graph.value(main).producer, affine);
  redirect(graph, graph.node(id).outputs[0], main);
  return true;
}

bool batch_norm(Graph& graph, NodeId id, const Uses& uses) {
  const ValueId in = graph.node(id).inputs[0];
  const ValueId out = graph.node(id).outputs[0];
  const std::optional<ChannelAffine> affine = affine_of(graph, graph.node(id));
  if (!affine) return false;
  int64_t channels = 0;
  const auto n = static_cast<int64_t>(affine->scale.size());
  if (linear_before(graph, uses, in, channels) != kNone && channels == n) {
    return fold_into(graph, id, in, *affine);
  }
  const std::optional<int64_t> rank = rank_of(graph, in);
  const DType dtype = graph.value(in).type.dtype;
  if (!rank || *rank < 2 || (dtype != DType::Float && dtype != DType::Double)) return false;
  Dims dims(static_cast<size_t>(*rank - 1), 1);
  dims[0] = n;
  const std::string name = graph.node(id).name;
  const ValueId scale =
      graph.add_constant(name + "_scale", make_tensor(dtype, dims, affine->scale));
  const ValueId shift =
      graph.add_constant(name + "_shift", make_tensor(dtype, dims, affine->shift));
  const Type type = graph.value(out).type;
  const ValueId scaled = insert_node(graph, id, {"Mul", {in, scale}}, type, name + "_mul");
  const ValueId shifted = insert_node(graph, id, {"Add", {scaled, shift}}, type, name);
  redirect(graph, out, shifted);
  return true;
}

// Mul or Add of a linear node's output and a constant per channel.
bool channel_constant(Graph& graph, NodeId id, const Uses& uses, bool multiply) {
  for (size_t side = 0; side < 2; ++side) {
    const ValueId in = graph.node(id).inputs[side];
    const ValueId out = graph.node(id).outputs[0];
    int64_t channels = 0;
    if (linear_before(graph, uses, in, channels) == kNone || !same_shape(graph, in, out)) continue;
    const std::optional<int64_t> rank = rank_of(graph, in);
    std::optional<std::vector<double>> values =
        per_channel(graph, graph.node(id).inputs[1 - side], *rank, channels);
    if (!values) continue;
    ChannelAffine affine;
    (multiply ? affine.scale : affine.shift) = std::move(*values);
    return fold_into(graph, id, in, affine);
  }
  return false;
}

bool running_statistics_used(const Node& node, const Uses& uses) {
  return std::any_of(node.outputs.begin() + 1, node.outputs.end(),
                     [&](ValueId out) { return out != kNone && uses.count(out) > 0; });
}

bool fuse_graph(Graph& graph) {
  bool changed = false;
  std::optional<Uses> uses;  // as the graph is now
  const std::vector<NodeId> order = graph.order;
  for (NodeId id : order) {
    const Node& node = graph.node(id);
    const bool norm = is_op(node, "BatchNormalization") && node.inputs.size() == 5;
    const bool mul = is_op(node, "Mul");
    if (!norm && !mul && !is_op(node, "Add")) continue;
    if (!uses) uses.emplace(graph);
    if (norm && running_statistics_used(node, *uses)) continue;
    if (norm ? batch_norm(graph, id, *uses) : channel_constant(graph, id, *uses, mul)) {
      changed = true;
      uses.reset();
    }
  }
  return changed;
}

}  // namespace

bool fuse_batch_norm(Graph& graph, PassContext&) { return each_graph(graph, fuse_graph); }

}  // namespace tiercel::passes
