// SequenceMap as a Loop that takes elements out of sequences and puts results into new ones.
#include "passes/expand.h"

namespace tiercel {
namespace {

NodeId add_body_node(Graph& body, std::string_view op, std::vector<ValueId> inputs, ValueId output,
                     NodeId before) {
  Node node;
  node.op_type = op;
  node.name = concat(std::string(op), "/", body.nodes.size());
  node.def = find_op("", op);
  if (!node.def) throw_error(ErrorKind::Fail, "unknown operator ", std::string(op));
  node.version = node.def->since;
  node.inputs = std::move(inputs);
  node.outputs = {output};
  return body.add_node(std::move(node), before);
}

// The body of SequenceMap becomes that of a Loop: iteration number, condition and the sequences
// made so far come in; the elements are taken from captured sequences.
void make_loop_body(Expander& e, Graph& body) {
  const std::vector<ValueId> elements = body.inputs, results = body.outputs;
  const NodeId first = body.order.empty() ? kNone : body.order.front();
  const ValueId step = body.add_value("step", Type::tensor(DType::Int64, Shape{}));
  const ValueId again = body.add_value("again", Type::tensor(DType::Bool, Shape{}));
  const ValueId go_on = body.add_value("go_on", Type::tensor(DType::Bool, Shape{}));
  body.inputs = {step, again};
  body.outputs = {go_on};
  for (size_t i = 0; i < elements.size(); ++i) {
    const Type given = e.type(e.input(i));
    if (given.kind != Type::Kind::Sequence) {  // a tensor for every iteration
      body.captures.push_back({e.input(i), elements[i]});
      continue;
    }
    const ValueId whole = body.add_value(concat("sequence", i), given);
    body.captures.push_back({e.input(i), whole});
    add_body_node(body, "SequenceAt", {whole, step}, elements[i], first);
  }
  add_body_node(body, "Identity", {again}, go_on, kNone);
  for (size_t i = 0; i < results.size(); ++i) {
    const Type type = Type::sequence(Type::tensor(body.value(results[i]).type.dtype));
    const ValueId so_far = body.add_value(concat("so_far", i), type);
    const ValueId longer = body.add_value(concat("longer", i), type);
    add_body_node(body, "SequenceInsert", {so_far, results[i]}, longer, kNone);
    body.inputs.push_back(so_far);
    body.outputs.push_back(longer);
  }
  body.sort();
}

bool sequence_map(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const auto* held = e.node().attributes.get<std::shared_ptr<Graph>>("body");
  if (!held || !*held) e.fail("attribute body holds no graph");
  auto body = std::make_shared<Graph>(clone(**held));
  if (body->inputs.size() != e.node().inputs.size() ||
      body->outputs.size() < e.node().outputs.size()) {
    e.fail("the body's inputs or outputs are not those of the node");
  }
  std::vector<ValueId> inputs = {e.op("SequenceLength", {e.input(0)}), kNone};
  for (ValueId result : body->outputs) {
    const auto dtype = static_cast<int64_t>(body->value(result).type.dtype);
    Attributes attributes;
    attributes.set("dtype", dtype);
    inputs.push_back(e.op("SequenceEmpty", {}, std::move(attributes)));
  }
  const size_t outputs = body->outputs.size();
  make_loop_body(e, *body);
  Attributes attributes;
  attributes.set("body", body);
  return e.finish(e.ops("Loop", std::move(inputs), outputs, std::move(attributes)));
}

constexpr Expansion kSequence[] = {{"", "SequenceMap", sequence_map}};

}  // namespace

std::span<const Expansion> sequence_expansions() { return kSequence; }

}  // namespace tiercel
