// Groups elementwise nodes of one output shape into pointwise programs: epilogues or prologues of
// the nodes beside them where kernels take them, else one node.
#include <algorithm>
#include <set>
#include <span>
#include <unordered_map>

#include "passes/edit.h"
#include "passes/passes.h"
#include "passes/shape_class.h"

namespace tiercel::passes {

namespace {

constexpr size_t kMaxOperands = 12;  // of one program; more would not stay in the L1 cache
constexpr size_t kMaxNodes = 32;

struct OpName {
  std::string_view domain, op;
};

// One name is left of nodes that become one, and providers are chosen by names.
bool together(const Node& a, const Node& b) {
  return a.provider == b.provider && (a.reason == kChosenByName) == (b.reason == kChosenByName);
}

// Operators whose kernels apply an epilogue to finished runs of their output; those that take a
// prologue do so too.
constexpr OpName kTakeEpilogue[] = {
    {"", "MatMul"},
    {"", "Gemm"},
    {"", "Conv"},
    {"", "ConvTranspose"},
    {"tiercel", "ConvBlocked"},
    {"tiercel", "PermutedMatMul"},
    {"tiercel", "WeightMatMul"},
};

// Operators whose kernels compute what they read as input 0, run by run.
constexpr OpName kTakePrologue[] = {
    {"", "Softmax"},
    {"", "LogSoftmax"},
    {"", "LayerNormalization"},
    {"", "RMSNormalization"},
    {"", "InstanceNormalization"},
    {"", "GroupNormalization"},
    {"", "ReduceSum"},
    {"", "ReduceMean"},
    {"", "ReduceMax"},
    {"", "ReduceMin"},
    {"", "ReduceSumSquare"},
};

bool takes(const Node& node, std::string_view attribute, std::span<const OpName> takers) {
  return !node.attributes.find(attribute) &&
         std::any_of(takers.begin(), takers.end(),
                     [&](const OpName& name) { return is_op(node, name.op, name.domain); });
}

bool takes_epilogue(const Node& node) {
  return takes(node, "epilogue", kTakeEpilogue) || takes(node, "epilogue", kTakePrologue);
}

bool whole_elements(const Graph& graph, ValueId id) {
  const Type& type = graph.value(id).type;
  const int64_t bits = type.is_tensor() ? dtype_bits(type.dtype) : 0;
  return type.dtype != DType::String && bits >= 8 && bits <= 64;
}

// Small integers that shapes are made of: inference follows them through their nodes, but not
// through programs.
bool shape_arithmetic(const Graph& graph, ValueId id) {
  const ValueInfo& value = graph.value(id);
  return value.known || (dtype_is_integer(value.type.dtype) && rank_of(graph, id).value_or(0) <= 1);
}

bool fusable(const Graph& graph, const Node& node) {
  if (node.removed || !node.def || !node.def->has(kElementwise)) return false;
  if (node.domain == "tiercel" || node.outputs.size() != 1 || node.outputs[0] == kNone)
    return false;
  if (shape_arithmetic(graph, node.outputs[0]) || !whole_elements(graph, node.outputs[0]))
    return false;
  return std::all_of(node.inputs.begin(), node.inputs.end(),
                     [&](ValueId in) { return in == kNone || whole_elements(graph, in); });
}

bool is_scalar_constant(const Graph& graph, ValueId id) {
  const Tensor* constant = graph.constant(id);
  return constant && constant->size() == 1;
}

// Nodes that become one program with one result.
struct Group {
  std::vector<NodeId> nodes;      // in topological order
  std::vector<ValueId> operands;  // values from outside, scalar constants left out
  ValueId result = kNone;
};

class Fuser {
 public:
  Fuser(Graph& graph, PassContext& context)
      : graph_(graph), context_(context), consumers_(graph.consumers()), classes_(graph) {
    position_.assign(graph.nodes.size(), 0);
    for (size_t i = 0; i < graph.order.size(); ++i) {
      position_[static_cast<size_t>(graph.order[i])] = i;
    }
  }

  bool run() {
    bool changed = false;
    const std::vector<NodeId> order = graph_.order;
    for (auto it = order.rbegin(); it != order.rend(); ++it) {
      if (taken_.contains(*it) || !fusable(graph_, graph_.node(*it))) continue;
      const Group group = grow(*it);
      taken_.insert(group.nodes.begin(), group.nodes.end());
      changed = attach(group) || attach_before(group) ||
                (group.nodes.size() > 1 && replace(group)) || changed;
    }
    if (changed) graph_.sort();
    return changed;
  }

 private:
  [[nodiscard]] bool used_only_by(ValueId id, const std::set<NodeId>& members) const {
    const auto& users = consumers_[static_cast<size_t>(id)];
    return !graph_.is_output(id) && std::all_of(users.begin(), users.end(), [&](NodeId user) {
      return members.contains(user);
    });
  }

  [[nodiscard]] bool joins(const Node& node, const Node& root) const {
    return fusable(graph_, node) && together(node, root) &&
           classes_.of(node.outputs[0]) == classes_.of(root.outputs[0]);
  }

  [[nodiscard]] std::vector<ValueId> operands_of(const std::set<NodeId>& members) const {
    std::vector<ValueId> operands;
    for (NodeId id : in_order(members)) {
      for (ValueId in : graph_.node(id).inputs) {
        if (in == kNone || is_scalar_constant(graph_, in)) continue;
        if (members.contains(graph_.value(in).producer)) continue;
        if (std::find(operands.begin(), operands.end(), in) == operands.end())
          operands.push_back(in);
      }
    }
    return operands;
  }

  [[nodiscard]] std::vector<NodeId> in_order(const std::set<NodeId>& members) const {
    std::vector<NodeId> sorted(members.begin(), members.end());
    std::sort(sorted.begin(), sorted.end(), [&](NodeId a, NodeId b) {
      return position_[static_cast<size_t>(a)] < position_[static_cast<size_t>(b)];
    });
    return sorted;
  }

  // Takes in producers whose results nothing outside the group reads, as long as the program stays
  // small.
  Group grow(NodeId root) {
    std::set<NodeId> members{root};
    bool grew = true;
    while (grew && members.size() < kMaxNodes) {
      grew = false;
      for (ValueId operand : operands_of(members)) {
        const NodeId made_by = graph_.value(operand).producer;
        if (made_by == kNone || taken_.contains(made_by)) continue;
        if (!joins(graph_.node(made_by), graph_.node(root))) continue;
        if (!used_only_by(operand, members)) continue;
        std::set<NodeId> larger = members;
        larger.insert(made_by);
        if (operands_of(larger).size() > kMaxOperands) continue;
        members = std::move(larger);
        grew = true;
        break;
      }
    }
    return {in_order(members), operands_of(members), graph_.node(root).outputs[0]};
  }

  // A graph over `inputs` (program inputs) and `captures` with the nodes of the group.
  std::shared_ptr<Graph> body_of(const Group& group, const std::vector<ValueId>& inputs,
                                 const std::vector<ValueId>& captures) const {
    auto body = std::make_shared<Graph>();
    std::unordered_map<ValueId, ValueId> inner;
    for (ValueId id : inputs) {
      inner[id] = body->add_value(graph_.value(id).name, graph_.value(id).type);
      body->inputs.push_back(inner[id]);
    }
    for (ValueId id : captures) {
      inner[id] = body->add_value(graph_.value(id).name, graph_.value(id).type);
      body->captures.push_back({id, inner[id]});
    }
    for (NodeId id : group.nodes) {
      Node copy = graph_.node(id);
      for (ValueId& in : copy.inputs) {
        if (in == kNone) continue;
        if (!inner.contains(in)) {
          inner[in] = body->add_constant(graph_.value(in).name, *graph_.constant(in));
        }
        in = inner[in];
      }
      const ValueId out = copy.outputs[0];
      inner[out] = body->add_value(graph_.value(out).name, graph_.value(out).type);
      copy.outputs[0] = inner[out];
      body->add_node(std::move(copy));
    }
    body->outputs = {inner[group.result]};
    return body;
  }

  [[nodiscard]] bool runs(const Node& node) const {
    return !context_.refuses || !context_.refuses(graph_, node);
  }

  // The group as epilogue of the last kernel that makes one of its operands and takes one.
  bool attach(const Group& group) {
    NodeId anchor = kNone;
    const std::set<NodeId> members(group.nodes.begin(), group.nodes.end());
    for (ValueId operand : group.operands) {
      const NodeId made_by = graph_.value(operand).producer;
      if (made_by == kNone) continue;
      const Node& node = graph_.node(made_by);
      const Type& type = graph_.value(operand).type;
      if (!takes_epilogue(node) || node.outputs[0] != operand) continue;
      if (!together(node, graph_.node(group.nodes[0]))) continue;
      if (type.dtype != graph_.value(group.result).type.dtype) continue;
      if (classes_.of(operand) != classes_.of(group.result)) continue;
      if (!used_only_by(operand, members)) continue;
      if (anchor != kNone &&
          position_[static_cast<size_t>(anchor)] > position_[static_cast<size_t>(made_by)]) {
        continue;
      }
      anchor = made_by;
    }
    if (anchor == kNone) return false;
    const ValueId main = graph_.node(anchor).outputs[0];
    std::vector<ValueId> captures = group.operands;
    std::erase(captures, main);
    Node with = graph_.node(anchor);
    with.attributes.set("epilogue", body_of(group, {main}, captures));
    if (!runs(with)) return false;
    remove(group);
    graph_.node(anchor).attributes = std::move(with.attributes);
    graph_.node(anchor).outputs[0] = group.result;
    graph_.value(group.result).producer = anchor;
    graph_.value(group.result).producer_output = 0;
    graph_.value(main).producer = kNone;
    return true;
  }

  // The group as prologue of the only node that reads its result, as its input 0; an operand that
  // agrees in shape and type stands in for it.
  bool attach_before(const Group& group) {
    const auto& users = consumers_[static_cast<size_t>(group.result)];
    if (users.size() != 1 || graph_.is_output(group.result)) return false;
    const Node& reader = graph_.node(users[0]);
    if (!takes(reader, "prologue", kTakePrologue) || reader.inputs[0] != group.result) return false;
    if (std::count(reader.inputs.begin(), reader.inputs.end(), group.result) != 1) return false;
    if (!together(reader, graph_.node(group.nodes[0]))) return false;
    const auto main = std::find_if(group.operands.begin(), group.operands.end(), [&](ValueId id) {
      return classes_.of(id) == classes_.of(group.result) && !graph_.constant(id) &&
             graph_.value(id).type.dtype == graph_.value(group.result).type.dtype;
    });
    if (main == group.operands.end()) return false;
    std::vector<ValueId> captures = group.operands;
    std::erase(captures, *main);
    Node with = reader;
    with.inputs[0] = *main;
    with.attributes.set("prologue", body_of(group, {*main}, captures));
    if (!runs(with)) return false;
    const NodeId id = users[0];
    remove(group);
    graph_.node(id) = std::move(with);
    graph_.value(group.result).producer = kNone;
    return true;
  }

  // Scalar constants stay inside the program: some operand must have the rank of the result without
  // them.
  [[nodiscard]] bool keeps_rank(const Group& group) const {
    const std::optional<int64_t> rank = rank_of(graph_, group.result);
    return std::any_of(group.operands.begin(), group.operands.end(), [&](ValueId id) {
      return classes_.of(id) == classes_.of(group.result) || (rank && rank_of(graph_, id) == rank);
    });
  }

  bool replace(const Group& group) {
    if (!keeps_rank(group)) return false;
    Node node;
    node.name = graph_.node(group.nodes.back()).name;
    node.domain = "tiercel";
    node.op_type = "Pointwise";
    node.def = find_op(node.domain, node.op_type);
    node.version = node.def->since;
    node.provider = graph_.node(group.nodes[0]).provider;
    node.reason = graph_.node(group.nodes[0]).reason;
    node.inputs = group.operands;
    // An operand of the result's shape and type comes first: the result may take over its bytes.
    std::stable_partition(node.inputs.begin(), node.inputs.end(), [&](ValueId id) {
      return classes_.of(id) == classes_.of(group.result) && !graph_.constant(id) &&
             graph_.value(id).type.dtype == graph_.value(group.result).type.dtype;
    });
    node.outputs = {group.result};
    node.attributes.set("body", body_of(group, node.inputs, {}));
    if (!runs(node)) return false;
    const NodeId before = group.nodes.back();
    const NodeId made = graph_.add_node(std::move(node), before);
    remove(group);
    graph_.value(group.result).producer = made;
    graph_.value(group.result).producer_output = 0;
    return true;
  }

  void remove(const Group& group) {
    for (NodeId id : group.nodes) graph_.remove_node(id);
  }

  Graph& graph_;
  PassContext& context_;
  std::vector<std::vector<NodeId>> consumers_;
  ShapeClasses classes_;
  std::vector<size_t> position_;
  std::set<NodeId> taken_;
};

}  // namespace

bool fuse_pointwise(Graph& graph, PassContext& context) {
  return each_graph(graph, [&](Graph& g) { return Fuser(g, context).run(); });
}

}  // namespace tiercel::passes
