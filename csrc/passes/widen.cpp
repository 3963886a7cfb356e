// Sums of 16-bit floats to which others are added, and which norms read between (residual streams):
// they stay float32 in memory, as programs and kernels have them, and lose nothing on their way.
#include <algorithm>

#include "ops/epilogue.h"
#include "passes/edit.h"
#include "passes/passes.h"

namespace tiercel::passes {

namespace {

using Body = std::shared_ptr<Graph>;

bool is_norm(const Node& node) {
  const bool row = is_op(node, "LayerNormalization") || is_op(node, "RMSNormalization");
  return row && !node.attributes.has("prologue") &&
         std::all_of(node.outputs.begin() + 1, node.outputs.end(),
                     [](ValueId out) { return out == kNone; });
}

bool is_program(const Node& node) { return is_op(node, "Pointwise", "tiercel"); }

// Whether the attribute is a program, not the body of a control flow node.
bool names_program(const Node& node, std::string_view attribute) {
  return attribute == "epilogue" || attribute == "prologue" ||
         (attribute == "body" && is_program(node));
}

// A single elementwise node as a program of one, whose operands may have types of their own.
Node as_program(const Graph& graph, const Node& single) {
  const auto body = std::make_shared<Graph>();
  Node node = single, inner = single;
  node.inputs.clear();
  for (ValueId& in : inner.inputs) {
    if (in == kNone) continue;
    const auto known = std::ranges::find(node.inputs, in);
    const auto at = static_cast<size_t>(known - node.inputs.begin());
    if (known == node.inputs.end()) {
      node.inputs.push_back(in);
      body->inputs.push_back(body->add_value(graph.value(in).name, graph.value(in).type));
    }
    in = body->inputs[at];
  }
  const ValueInfo& result = graph.value(single.outputs[0]);
  inner.outputs[0] = body->add_value(result.name, result.type);
  body->outputs = inner.outputs;
  body->add_node(std::move(inner));
  node.domain = "tiercel";
  node.op_type = "Pointwise";
  node.def = find_op(node.domain, node.op_type);
  node.version = node.def->since;
  node.attributes = {};
  node.attributes.set("body", body);
  return node;
}

// The program whose result is output 0 of the node; nullptr where it does not come from one, or not
// from float32.
const Graph* program_of(const Node& node) {
  const bool sums = gives_sums(node);
  if (!sums && !is_program(node)) return nullptr;
  const auto* body = node.attributes.get<Body>(sums ? "epilogue" : "body");
  return body != nullptr ? body->get() : nullptr;
}

class Widener {
 public:
  Widener(Graph& graph, PassContext& context)
      : graph_(graph), context_(context), users_(graph.consumers()) {}

  bool run() {
    bool changed = false;
    for (const NodeId id : std::vector<NodeId>(graph_.order)) {
      if (!graph_.node(id).removed) changed = widen(id) || changed;
    }
    return changed;
  }

 private:
  using Edits = std::vector<std::pair<NodeId, Node>>;

  bool widen(NodeId id) {
    const ValueId sum = graph_.node(id).outputs.empty() ? kNone : graph_.node(id).outputs[0];
    if (sum == kNone || graph_.is_output(sum) || !dtype_is_half(graph_.value(sum).type.dtype)) {
      return false;
    }
    auto made = with_wide_result(id);
    if (!made || !adds_up(id, sum)) return false;
    Edits edits{{id, std::move(*made)}};
    for (const NodeId user : users_[static_cast<size_t>(sum)]) {
      auto reader = reading_wide(user, sum);
      if (!reader) return false;
      edits.emplace_back(user, std::move(*reader));
    }
    DType& dtype = graph_.value(sum).type.dtype;
    const DType half = std::exchange(dtype, DType::Float);
    const bool refused = std::ranges::any_of(edits, [&](const auto& edit) {
      return context_.refuses && context_.refuses(graph_, edit.second);
    });
    if (refused) {
      dtype = half;
      return false;
    }
    for (auto& [node, with] : edits) graph_.node(node) = std::move(with);
    return true;
  }

  // Whether it is a sum that a norm reads, and others too, or that adds to such a one.
  [[nodiscard]] bool adds_up(NodeId id, ValueId sum) const {
    bool normed = false, goes_on = adds_to_wide(graph_.node(id));
    for (const NodeId user : users_[static_cast<size_t>(sum)]) {
      const Node& node = graph_.node(user);
      const bool norm = is_norm(node) && node.inputs[0] == sum;
      normed = normed || norm;
      goes_on = goes_on || !norm || std::ranges::any_of(subgraphs(node), [&](const Body& body) {
                  return captures(*body, sum);
                });
    }
    return normed && goes_on;
  }

  [[nodiscard]] bool adds_to_wide(const Node& node) const {
    const auto wide = [&](ValueId in) {
      return in != kNone && graph_.value(in).type.dtype == DType::Float;
    };
    if (is_program(node)) return std::ranges::any_of(node.inputs, wide);
    const auto* epilogue = node.attributes.get<Body>("epilogue");
    return epilogue != nullptr &&
           std::ranges::any_of((*epilogue)->captures,
                               [&](const Capture& capture) { return wide(capture.outer); });
  }

  // The node with a float32 result; nullopt where that is no sum of a program.
  [[nodiscard]] std::optional<Node> with_wide_result(NodeId id) const {
    Node node = programmed(graph_.node(id));
    const Graph* program = program_of(node);
    if (program == nullptr || program->outputs.size() != 1) return std::nullopt;
    const NodeId last = program->value(program->outputs[0]).producer;
    if (last == kNone) return std::nullopt;
    if (!is_op(program->node(last), "Add") && !is_op(program->node(last), "Sum")) {
      return std::nullopt;
    }
    const auto wide = std::make_shared<Graph>(clone(*program));
    wide->value(wide->outputs[0]).type.dtype = DType::Float;
    node.attributes.set(is_program(node) ? "body" : "epilogue", wide);
    return node;
  }

  // The node that reads `sum` as float32; nullopt where it cannot.
  [[nodiscard]] std::optional<Node> reading_wide(NodeId id, ValueId sum) const {
    Node node = programmed(graph_.node(id));
    auto reads = std::ranges::count(node.inputs, sum);
    if (is_norm(node) && node.inputs[0] == sum) {
      --reads;
      if (node.op_type == "LayerNormalization") {
        node.domain = "tiercel";
        node.def = find_op(node.domain, node.op_type);
        node.version = node.def->since;
      }
    }
    if (reads > 0 && !is_program(node)) return std::nullopt;
    for (auto& [name, value, list] : node.attributes) {
      if (const auto* bodies = std::get_if<std::vector<Body>>(&value)) {
        if (std::ranges::any_of(*bodies, [&](const Body& b) { return captures(*b, sum); })) {
          return std::nullopt;
        }
      }
      const auto* body = std::get_if<Body>(&value);
      if (body == nullptr) continue;
      if (names_program(node, name)) {
        value = reading_wide(node, **body, sum);
      } else if (captures(**body, sum)) {
        return std::nullopt;
      }
    }
    return node;
  }

  // A program of the node with float32 operands where it has `sum`.
  static Body reading_wide(const Node& node, const Graph& program, ValueId sum) {
    auto wide = std::make_shared<Graph>(clone(program));
    for (size_t i = 0; is_program(node) && i < node.inputs.size(); ++i) {
      if (node.inputs[i] == sum) wide->value(wide->inputs[i]).type.dtype = DType::Float;
    }
    for (const Capture& capture : wide->captures) {
      if (capture.outer == sum) wide->value(capture.inner).type.dtype = DType::Float;
    }
    return wide;
  }

  static bool captures(const Graph& body, ValueId id) {
    return std::ranges::any_of(body.captures,
                               [&](const Capture& capture) { return capture.outer == id; });
  }

  // A single elementwise node as a program, others as they are.
  [[nodiscard]] Node programmed(const Node& node) const {
    const bool single = node.def != nullptr && node.def->has(kElementwise) && node.domain.empty() &&
                        node.outputs.size() == 1;
    return single ? as_program(graph_, node) : node;
  }

  Graph& graph_;
  PassContext& context_;
  std::vector<std::vector<NodeId>> users_;
};

}  // namespace

bool widen(Graph& graph, PassContext& context) {
  return each_graph(graph, [&](Graph& g) { return Widener(g, context).run(); });
}

}  // namespace tiercel::passes
