// Puts nodes into their form over blocks of channels.
#include <algorithm>

#include "passes/blocked_nodes.h"

namespace tiercel::passes {

namespace {

Tensor list_tensor(const std::vector<int64_t>& values) {
  Tensor made(DType::Int64, {static_cast<int64_t>(values.size())});
  std::copy(values.begin(), values.end(), made.data<int64_t>());
  return made;
}

}  // namespace

Type Rewriter::blocked_type(ValueId id) const {
  const Shape& shape = *graph_.value(id).type.shape;
  const int64_t c = rules_.block;
  return Type::tensor(DType::Float,
                      Shape{shape[0], ceil_div(shape[1], c), shape[2], shape[3], Dim(c)});
}

Node Rewriter::like(NodeId id, std::string_view domain, std::string_view op) const {
  Node made = graph_.node(id);
  made.domain = domain;
  made.op_type = op;
  made.def = find_op(domain, op);
  made.version = made.def->since;
  return made;
}

void Rewriter::put(NodeId old, Node made) {
  const std::vector<ValueId> outputs = graph_.node(old).outputs;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i] == kNone) continue;
    const std::string name = graph_.value(outputs[i]).name + " blocked";
    made.outputs[i] = graph_.add_value(name, blocked_type(outputs[i]));
    blocked_[outputs[i]] = made.outputs[i];
    made_.push_back(outputs[i]);
  }
  graph_.add_node(std::move(made), old);
  graph_.remove_node(old);
}

ValueId Rewriter::blocked(ValueId id, NodeId before) {
  const auto known = blocked_.find(id);
  if (known != blocked_.end()) return known->second;
  Attributes attributes;
  attributes.set("block", rules_.block);
  const std::string name = graph_.value(id).name + " blocked";
  const ValueId made =
      insert_node(graph_, before, {"Block", {id}, attributes, "tiercel"}, blocked_type(id), name);
  blocked_[id] = made;
  return made;
}

ValueId Rewriter::plain(ValueId id) {
  if (graph_.value(id).producer != kNone || graph_.constant(id)) return id;
  const auto known = blocked_.find(id);
  if (known == blocked_.end() || std::find(made_.begin(), made_.end(), id) == made_.end()) {
    return id;
  }
  const Node& maker = graph_.node(graph_.value(known->second).producer);
  Node node;
  node.name = graph_.value(id).name;
  node.domain = "tiercel";
  node.op_type = "Unblock";
  node.def = find_op(node.domain, node.op_type);
  node.version = node.def->since;
  node.provider = maker.provider;
  node.inputs = {known->second};
  node.outputs = {id};
  node.attributes.set("channels", (*graph_.value(id).type.shape)[1].value());
  graph_.add_node(std::move(node));
  return id;
}

void Rewriter::finish() {
  const auto users = graph_.consumers();
  for (ValueId id : std::vector<ValueId>(made_)) {
    if (graph_.is_output(id) || !users[static_cast<size_t>(id)].empty()) plain(id);
  }
}

void Rewriter::replace(NodeId id) {
  const Node& node = graph_.node(id);
  if (rules_.is_convolution(node)) return convolution(id);
  if (is_op(node, "Concat")) return concat(id);
  if (is_op(node, "Split")) return split(id);
  if (is_op(node, "Resize")) return resize(id);
  if (node.def->has(kElementwise)) return elementwise(id);
  pooling(id);
}

void Rewriter::convolution(NodeId id) {
  const bool planes = rules_.reads_planes(graph_.node(id));
  Node made = like(id, "tiercel", "ConvBlocked");
  made.attributes.set("block", rules_.block);
  made.attributes.set("winograd", rules_.winograd);
  const ValueId in = made.inputs[0];
  if (!planes || blocked_.contains(in)) made.inputs[0] = blocked(in, id);
  put(id, std::move(made));
}

void Rewriter::pooling(NodeId id) {
  Node made = like(id, "tiercel", graph_.node(id).op_type + "Blocked");
  made.attributes.erase("storage_order");
  made.outputs.resize(1);
  made.inputs[0] = blocked(made.inputs[0], id);
  put(id, std::move(made));
}

ValueId Rewriter::blocked_constant(ValueId id) {
  const auto known = blocked_.find(id);
  if (known != blocked_.end()) return known->second;
  const Tensor& from = *graph_.constant(id);
  const int64_t c = rules_.block, blocks = (from.size() + c - 1) / c;
  Tensor to(DType::Float, {1, blocks, 1, 1, c});
  std::fill_n(to.data<float>(), to.size(), 0.0F);
  std::copy_n(from.data<float>(), from.size(), to.data<float>());
  const ValueId made = graph_.add_constant(graph_.value(id).name + " blocked", std::move(to));
  blocked_[id] = made;
  return made;
}

ValueId Rewriter::all_lanes(ValueId id, NodeId before) {
  const ValueId from = plain(id);
  const Type type = graph_.value(from).type;
  Shape shape = *type.shape;
  const std::string name = graph_.value(from).name + " for all lanes";
  const ValueId axes =
      graph_.add_constant(name + " axes", list_tensor({static_cast<int64_t>(shape.size())}));
  shape.emplace_back(1);
  return insert_node(graph_, before, {"Unsqueeze", {from, axes}}, Type::tensor(type.dtype, shape),
                     name);
}

ValueId Rewriter::elementwise_operand(ValueId id, int64_t channels, NodeId before) {
  switch (operand_kind(graph_, id, channels)) {
    case Operand::Blocked:
      return blocked(id, before);
    case Operand::Constant:
      return blocked_constant(id);
    case Operand::AllLanes:
      return all_lanes(id, before);
    default:
      return plain(id);
  }
}

void Rewriter::elementwise(NodeId id) {
  Node made = graph_.node(id);
  const int64_t channels = *rules_.channels(made.outputs[0]);
  for (ValueId& in : made.inputs) {
    if (in != kNone) in = elementwise_operand(in, channels, id);
  }
  put(id, std::move(made));
}

void Rewriter::concat(NodeId id) {
  Node made = graph_.node(id);
  made.attributes.set("axis", int64_t{1});
  for (ValueId& in : made.inputs) in = blocked(in, id);
  put(id, std::move(made));
}

void Rewriter::split(NodeId id) {
  Node made = graph_.node(id);
  std::vector<int64_t> blocks;
  for (ValueId out : made.outputs) blocks.push_back(*rules_.channels(out) / rules_.block);
  made.attributes.set("axis", int64_t{1});
  made.attributes.erase("num_outputs");
  made.inputs = {blocked(made.inputs[0], id),
                 graph_.add_constant(made.name + " blocks", list_tensor(blocks))};
  put(id, std::move(made));
}

void Rewriter::resize(NodeId id) {
  Node made = graph_.node(id);
  made.inputs[0] = blocked(made.inputs[0], id);
  made.attributes.set("axes", std::vector<int64_t>{2, 3});
  if (has_input(made, 3)) {
    const ValueId from = graph_.add_constant(made.name + " from", list_tensor({2}));
    const ValueId to = graph_.add_constant(made.name + " to", list_tensor({4}));
    made.inputs[3] = insert_node(graph_, id, {"Slice", {plain(made.inputs[3]), from, to}},
                                 Type::tensor(DType::Int64, Shape{2}), made.name + " sizes");
  } else {
    const float* scales = graph_.constant(made.inputs[2])->data<float>();
    Tensor both(DType::Float, {2});
    std::copy_n(scales + 2, 2, both.data<float>());
    made.inputs[2] = graph_.add_constant(made.name + " scales", std::move(both));
  }
  put(id, std::move(made));
}

}  // namespace tiercel::passes
