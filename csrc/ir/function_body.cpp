// Inlines model-local functions before names become values.
#include "ir/function_body.h"

#include <algorithm>
#include <unordered_map>

#include "base/error.h"

namespace tiercel {

namespace {

using Names = std::unordered_map<std::string, std::string>;
using Call = std::unordered_map<std::string, const proto::Attribute*>;

std::string key_of(std::string_view domain, std::string_view name, std::string_view overload) {
  return concat(std::string(domain), "/", std::string(name), "/", std::string(overload));
}

std::shared_ptr<proto::Graph> copy_graph(const proto::Graph& graph) {
  auto copy = std::make_shared<proto::Graph>(graph);
  for (proto::Node& node : copy->nodes) {
    for (proto::Attribute& attribute : node.attributes) {
      for (auto& body : attribute.graphs) body = copy_graph(*body);
    }
  }
  return copy;
}

// About how much memory a copy of a node takes, in bytes: its texts and lists, its bodies' too.
int64_t copy_bytes(const proto::Node& node) {
  size_t bytes = sizeof node + node.name.size() + node.op_type.size() + node.domain.size();
  for (const std::string& name : node.inputs) bytes += sizeof name + name.size();
  for (const std::string& name : node.outputs) bytes += sizeof name + name.size();
  int64_t bodies = 0;
  for (const proto::Attribute& attribute : node.attributes) {
    bytes += sizeof attribute + attribute.name.size();
    const auto add = [&](const auto& value) {
      if constexpr (requires { value.size() * sizeof value[0]; }) {
        bytes += value.size() * sizeof value[0];
      }
    };
    std::visit(add, attribute.value);
    for (const auto& body : attribute.graphs) {
      for (const proto::Node& inner : body->nodes) bodies += copy_bytes(inner);
    }
  }
  return static_cast<int64_t>(bytes) + bodies;
}

class Inliner {
 public:
  explicit Inliner(proto::Model& model) : model_(model) {
    for (const proto::Function& function : model.functions) {
      const std::string domain = function.domain == "ai.onnx" ? "" : function.domain;
      functions_[key_of(domain, function.name, function.overload)] = &function;
      for (const auto& [imported, version] : function.opset_imports) {
        model.opset_imports.try_emplace(imported, version);
      }
    }
  }

  void expand(proto::Graph& graph, int depth) {
    std::vector<proto::Node> nodes;
    for (proto::Node& node : graph.nodes) expand_node(std::move(node), nodes, depth);
    graph.nodes = std::move(nodes);
  }

 private:
  static constexpr int kMaxDepth = 64;  // calls within calls: more is a circle
  // Of all copies. Functions that call each other several times double with every level: a few
  // hundred bytes of a file could ask for any amount.
  static constexpr int64_t kMaxCopied = int64_t{1} << 30;

  void spend(const proto::Node& node, const std::string& prefix) {
    const size_t names = node.inputs.size() + node.outputs.size() + 1;
    copied_ += copy_bytes(node) + static_cast<int64_t>(names * prefix.size());
    if (copied_ > kMaxCopied) {
      throw_error(ErrorKind::InvalidGraph, "function \"", node.op_type,
                  "\": the model's functions, put in place of their calls, need more than ",
                  kMaxCopied >> 20, " MiB");
    }
  }

  void expand_node(proto::Node&& node, std::vector<proto::Node>& out, int depth) {
    for (proto::Attribute& attribute : node.attributes) {
      for (const auto& body : attribute.graphs) expand(*body, depth);
    }
    const auto found = functions_.find(key_of(node.domain, node.op_type, node.overload));
    if (found == functions_.end()) {
      out.push_back(std::move(node));
      return;
    }
    if (depth > kMaxDepth) {
      throw_error(ErrorKind::InvalidGraph, "function \"", node.op_type, "\" calls itself");
    }
    call(*found->second, node, out, depth);
  }

  void call(const proto::Function& function, const proto::Node& node, std::vector<proto::Node>& out,
            int depth) {
    if (node.inputs.size() > function.inputs.size() ||
        node.outputs.size() > function.outputs.size()) {
      throw_error(ErrorKind::InvalidGraph, "node \"", node.name, "\" passes ", node.inputs.size(),
                  " inputs and takes ", node.outputs.size(), " outputs; function \"", function.name,
                  "\" has ", function.inputs.size(), " and ", function.outputs.size());
    }
    Call attributes;
    for (const proto::Attribute& preset : function.defaults) attributes[preset.name] = &preset;
    for (const proto::Attribute& given : node.attributes) attributes[given.name] = &given;
    const std::string prefix =
        concat(node.name.empty() ? node.op_type : node.name, "/", ++calls_, "/");
    Names names{{"", ""}};
    for (size_t i = 0; i < function.inputs.size(); ++i) {
      names[function.inputs[i]] = i < node.inputs.size() ? node.inputs[i] : "";
    }
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (!node.outputs[i].empty()) bind_output(names, function.outputs[i], node.outputs[i], out);
    }
    for (const proto::Node& inner : function.nodes) {
      spend(inner, prefix);
      proto::Node copy = inner;
      rename(copy, names, attributes, prefix);
      expand_node(std::move(copy), out, depth + 1);
    }
  }

  // An output that is an input (or another output) of the function passes through an Identity.
  static void bind_output(Names& names, const std::string& formal, const std::string& actual,
                          std::vector<proto::Node>& out) {
    const auto [it, fresh] = names.emplace(formal, actual);
    if (fresh) return;
    proto::Node identity;
    identity.op_type = "Identity";
    identity.inputs = {it->second};
    identity.outputs = {actual};
    out.push_back(std::move(identity));
  }

  static std::string renamed(Names& names, const std::string& name, const std::string& prefix) {
    const auto it = names.find(name);
    if (it != names.end()) return it->second;
    return names[name] = prefix + name;
  }

  void rename(proto::Node& node, Names& names, const Call& call, const std::string& prefix) {
    node.name = prefix + node.name;
    for (std::string& name : node.inputs) name = renamed(names, name, prefix);
    for (std::string& name : node.outputs) name = renamed(names, name, prefix);
    std::vector<proto::Attribute> attributes;
    for (proto::Attribute& attribute : node.attributes) {
      if (!attribute.reference.empty()) {
        const auto given = call.find(attribute.reference);
        if (given == call.end()) continue;  // not passed: the operator's default holds
        proto::Attribute value = *given->second;
        value.name = attribute.name;
        attribute = std::move(value);
      }
      for (auto& body : attribute.graphs) {
        body = copy_graph(*body);
        rename_graph(*body, names, call, prefix);
      }
      attributes.push_back(std::move(attribute));
    }
    node.attributes = std::move(attributes);
  }

  // Names of a body are its own; what it does not define is the function's.
  void rename_graph(proto::Graph& graph, const Names& outer, const Call& call,
                    const std::string& prefix) {
    Names names = outer;
    const auto own = [&](std::string& name) { name = names[name] = prefix + name; };
    for (auto& [name, tensor] : graph.initializers) own(name);
    for (proto::ValueInfo& input : graph.inputs) {
      if (input.name.compare(0, prefix.size(), prefix) != 0) own(input.name);
    }
    for (const proto::Node& node : graph.nodes) {
      for (const std::string& name : node.outputs) {
        if (!name.empty()) names[name] = prefix + name;
      }
    }
    for (proto::Node& node : graph.nodes) rename(node, names, call, prefix);
    for (proto::ValueInfo& output : graph.outputs)
      output.name = renamed(names, output.name, prefix);
    for (proto::ValueInfo& info : graph.value_info) info.name = renamed(names, info.name, prefix);
  }

  proto::Model& model_;
  std::unordered_map<std::string, const proto::Function*> functions_;
  int calls_ = 0;
  int64_t copied_ = 0;
};

}  // namespace

void inline_functions(proto::Model& model) {
  if (model.functions.empty()) return;
  Inliner(model).expand(model.graph, 0);
}

}  // namespace tiercel
