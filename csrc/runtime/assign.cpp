// The partitioner: which provider runs each node and why; copies where memories differ.
#include <algorithm>
#include <map>

#include "ops/op_def.h"
#include "runtime/body_memories.h"
#include "runtime/islands.h"
#include "runtime/kernel_table.h"
#include "runtime/placement.h"
#include "runtime/plan.h"

namespace tiercel {
namespace {

const Provider& host(const CompileOptions& options) {
  for (const auto& provider : options.providers) {
    if (provider->device() == nullptr) return *provider;
  }
  throw_error(ErrorKind::EPFail,
              "no provider of the session works in host memory: add CPUExecutionProvider");
}

// One line on a node that nobody runs.
std::string refused_text(const Graph& graph, const Node& node, const std::string& reasons) {
  const std::string domain = node.domain.empty() ? "ai.onnx" : node.domain;
  if (node.def == nullptr) {
    return concat(where(node), ": the operator ", domain, ".", node.op_type, " is not known");
  }
  const std::string types = node_types(graph, node);
  return concat(where(node), ": no provider runs ", domain, ".", node.op_type, " version ",
                node.def->since, types.empty() ? "" : " for ", types, ": ", reasons);
}

bool several_memories(const CompileOptions& options) {
  return std::any_of(options.providers.begin(), options.providers.end(),
                     [](const auto& provider) { return provider->device() != nullptr; });
}

const Provider& owner(std::string_view memory, const CompileOptions& options) {
  for (const auto& candidate : options.providers) {
    if (candidate->memory() == memory) return *candidate;
  }
  return host(options);
}

// Where its input is.
void assign_alias(const Graph& graph, Node& node, const CompileOptions& options) {
  const ValueId in = node.inputs.empty() ? kNone : node.inputs[0];
  const bool there = in != kNone && graph.value(in).type.is_tensor();
  const Provider& given =
      there ? owner(memory_of_value(graph, in, options), options) : host(options);
  node.provider = std::string(given.name());
  node.reason = "its output has the bytes of its input";
}

void assign_aliases(Graph& graph, const CompileOptions& options) {
  for (NodeId id : graph.order) {
    Node& node = graph.node(id);
    if (!node.removed && node.def != nullptr && node.def->has(kAlias))
      assign_alias(graph, node, options);
  }
}

void assign_node(Graph& graph, Node& node, const CompileOptions& options,
                 std::vector<std::string>& refused);

void assign_graph(Graph& graph, const CompileOptions& options, std::vector<std::string>& refused) {
  for (NodeId id : graph.order) {
    Node& node = graph.node(id);
    if (!node.removed) assign_node(graph, node, options, refused);
  }
  if (!several_memories(options)) return;
  const auto place = [&] {  // aliases follow what bodies give, bodies what aliases give
    assign_aliases(graph, options);
    place_bodies(graph, options);
    assign_aliases(graph, options);
  };
  keep_shapes_on_host(graph, options);
  if (!refused.empty()) return;
  place();
  if (!options.islands) return;
  keep_small_islands_on_host(graph, options);
  place();
}

void assign_node(Graph& graph, Node& node, const CompileOptions& options,
                 std::vector<std::string>& refused) {
  if (node.def == nullptr) {
    refused.push_back(refused_text(graph, node, ""));
    return;
  }
  if (node.def->has(kControlFlow)) {
    node.provider = std::string(host(options).name());
    node.reason = "runs its body";
    for (const auto& body : subgraphs(node)) assign_graph(*body, options, refused);
    return;
  }
  if (node.def->has(kAlias)) return assign_alias(graph, node, options);
  std::string refusals;
  const auto chosen = options.chosen.find(node.name);
  for (const auto& provider : options.providers) {
    if (chosen != options.chosen.end() && provider->name() != chosen->second) continue;
    const std::optional<std::string> refusal = provider->refuses(graph, node);
    if (!refusal) {
      node.provider = std::string(provider->name());
      node.reason = chosen != options.chosen.end() ? std::string(kChosenByName) : refusals;
      return;
    }
    refusals += concat(refusals.empty() ? "" : "; ", std::string(provider->name()), ": ", *refusal);
  }
  refused.push_back(refused_text(graph, node, refusals));
}

// Inserts the copies of one graph; each value is copied once to each memory that reads it.
class Copier {
 public:
  Copier(Graph& graph, const CompileOptions& options) : graph_(graph), options_(options) {}

  void run() {
    for (const NodeId id : std::vector<NodeId>(graph_.order)) {
      if (graph_.node(id).removed) continue;
      const OpDef& def = *graph_.node(id).def;
      if (def.has(kReadsDims)) continue;
      for (size_t i = 0; i < graph_.node(id).inputs.size(); ++i) {
        const Provider& reader = def.reads_value(i) ? host(options_) : reads(id, i);
        const ValueId there = in_memory(graph_.node(id).inputs[i], reader, id);
        graph_.node(id).inputs[i] = there;
      }
      for (const auto& body : subgraphs(graph_.node(id))) {
        for (size_t i = 0; i < body->captures.size(); ++i) {
          const Provider& reader = def.has(kControlFlow)
                                       ? owner(memory_of_capture(*body, i), options_)
                                       : provider(graph_.node(id).provider);
          body->captures[i].outer = in_memory(body->captures[i].outer, reader, id);
        }
      }
    }
    for (size_t i = 0; i < graph_.outputs.size(); ++i) {
      const auto& wanted = graph_.output_memories;
      const Provider& there = i < wanted.size() ? owner(wanted[i], options_) : host(options_);
      give(graph_.outputs[i], there);
    }
  }

 private:
  const Provider& provider(const std::string& name) const {
    for (const auto& candidate : options_.providers) {
      if (candidate->name() == name) return *candidate;
    }
    return host(options_);
  }

  // In whose memory a node reads an input.
  const Provider& reads(NodeId id, size_t input) const {
    const Node& node = graph_.node(id);
    return node.def->has(kControlFlow) ? owner(memory_of_input(node, input), options_)
                                       : provider(node.provider);
  }

  // An output that nobody reads on the host is copied there beside what comes after it, and as a
  // rule right behind the node that makes it; behind all where nodes are recorded as a whole.
  void give(ValueId& out, const Provider& there) {
    const NodeId maker = graph_.value(out).producer;
    const bool is_new = !copies_.contains({out, there.memory()});
    NodeId before = kNone;
    if (maker != kNone && !provider(graph_.node(maker).provider).records()) {
      const auto next = std::find(graph_.order.begin(), graph_.order.end(), maker) + 1;
      if (next != graph_.order.end()) before = *next;
    }
    const ValueId given = in_memory(out, there, before);
    if (given != out && is_new && there.device() == nullptr) {
      graph_.node(graph_.value(given).producer).attributes.set("late", int64_t{1});
    }
    out = given;
  }

  ValueId in_memory(ValueId id, const Provider& reader, NodeId before) {
    if (id == kNone || !graph_.value(id).type.is_tensor()) return id;
    const Provider& from = owner(memory_of_value(graph_, id, options_), options_);
    if (from.memory() == reader.memory()) return id;
    if (from.memory() != "cpu" && reader.memory() != "cpu") {
      return copy(copy(id, from, host(options_), before), host(options_), reader, before);
    }
    return copy(id, from, reader, before);
  }

  ValueId copy(ValueId id, const Provider& from, const Provider& to, NodeId before) {
    const auto known = copies_.find({id, to.memory()});
    if (known != copies_.end()) return known->second;
    const Provider& runs = from.memory() == "cpu" ? to : from;
    const std::string name = concat(graph_.value(id).name, " in ", std::string(to.memory()));
    const ValueId there = graph_.add_value(name, graph_.value(id).type);
    Node node{
        .name = name, .domain = "tiercel", .op_type = "Copy", .def = find_op("tiercel", "Copy")};
    node.inputs = {id};
    node.outputs = {there};
    node.provider = std::string(runs.name());
    node.reason = concat("from ", std::string(from.memory()), " to ", std::string(to.memory()));
    node.attributes.set("to", std::string(to.memory()));
    graph_.add_node(std::move(node), before);
    copies_[{id, to.memory()}] = there;
    return there;
  }

  Graph& graph_;
  const CompileOptions& options_;
  std::map<std::pair<ValueId, std::string_view>, ValueId> copies_;
};

}  // namespace

void assign(Graph& graph, const CompileOptions& options) {
  std::vector<std::string> refused;
  assign_graph(graph, options, refused);
  if (refused.empty()) return;
  std::string text = refused.front();
  for (size_t i = 1; i < refused.size(); ++i) text += "\n" + refused[i];
  throw_error(ErrorKind::NotImplemented, text);
}

void insert_copies(Graph& graph, const CompileOptions& options) {
  if (several_memories(options)) Copier(graph, options).run();
}

}  // namespace tiercel
