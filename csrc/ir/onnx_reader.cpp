// Turns ONNX messages into a graph: names become values, subgraphs capture, local functions are put
// in place.
#include "ir/onnx_reader.h"

#include <filesystem>
#include <unordered_map>
#include <unordered_set>

#include "base/mapped_file.h"
#include "base/sparse.h"
#include "ir/function_body.h"
#include "ir/onnx_proto.h"

namespace tiercel {

namespace {

// Names of one graph; unknown ones are looked for in the enclosing graph and captured.
class GraphReader {
 public:
  GraphReader(const std::map<std::string, int64_t>& opsets, GraphReader* outer, int64_t& dense_left)
      : opsets_(opsets), outer_(outer), dense_left_(dense_left) {}

  Graph read(proto::Graph& source) {
    graph_.name = std::move(source.name);
    graph_.doc = std::move(source.doc);
    add_constants(source);
    for (proto::ValueInfo& input : source.inputs) add_input(input);
    for (proto::ValueInfo& info : source.value_info) types_.emplace(info.name, info.type);
    for (proto::ValueInfo& output : source.outputs) types_.emplace(output.name, output.type);
    for (proto::Node& node : source.nodes) {
      for (const std::string& name : node.outputs) declare_later(name);
    }
    for (proto::Node& node : source.nodes) add_node(node);
    for (proto::ValueInfo& output : source.outputs) add_output(output);
    graph_.sort();
    return std::move(graph_);
  }

 private:
  void define(const std::string& name, ValueId id) {
    if (!values_.emplace(name, id).second) {
      throw_error(ErrorKind::InvalidGraph, "graph \"", graph_.name, "\": \"", name,
                  "\" is defined twice; names must be unique");
    }
  }

  void add_constants(proto::Graph& source) {
    for (auto& [name, tensor] : source.initializers) {
      define(name, graph_.add_constant(name, std::move(tensor)));
    }
    for (auto& [name, sparse] : source.sparse_initializers) {
      define(name, graph_.add_constant(name, dense(*sparse, dense_left_)));
    }
  }

  // An input with an initialiser is one that a run may leave out.
  void add_input(const proto::ValueInfo& input) {
    if (const auto it = values_.find(input.name); it != values_.end()) {
      graph_.overridable.push_back(it->second);
      return;
    }
    const ValueId id = graph_.add_value(input.name, input.type);
    define(input.name, id);
    graph_.inputs.push_back(id);
  }

  // Outputs of nodes exist before the nodes are read, so that nodes may come in any order.
  void declare_later(const std::string& name) {
    if (name.empty()) return;
    const auto it = types_.find(name);
    define(name, graph_.add_value(name, it == types_.end() ? Type() : it->second));
  }

  // kNone when no graph around knows the name.
  ValueId find(const std::string& name) {
    if (const auto it = values_.find(name); it != values_.end()) return it->second;
    const ValueId outside = outer_ ? outer_->find(name) : kNone;
    if (outside == kNone) return kNone;
    const ValueInfo& info = outer_->graph_.value(outside);
    const ValueId id = graph_.add_value(name, info.type);
    graph_.value(id).constant = outer_->graph_.constant(outside) ? info.constant : std::nullopt;
    graph_.captures.push_back({outside, id});
    values_.emplace(name, id);
    return id;
  }

  ValueId use(const std::string& name, const std::string& who) {
    if (name.empty()) return kNone;
    const ValueId id = find(name);
    if (id == kNone) {
      throw_error(ErrorKind::InvalidGraph, who, ": reads \"", name,
                  "\", which no node, input or initialiser defines");
    }
    return id;
  }

  std::shared_ptr<Graph> read_body(proto::Graph& body) {
    return std::make_shared<Graph>(GraphReader(opsets_, this, dense_left_).read(body));
  }

  void add_attribute(Node& node, proto::Attribute& attribute) {
    if (attribute.is_graph) {
      node.attributes.set(attribute.name, read_body(*attribute.graphs[0]));
    } else if (attribute.is_graphs) {
      std::vector<std::shared_ptr<Graph>> bodies;
      for (const auto& body : attribute.graphs) bodies.push_back(read_body(*body));
      node.attributes.set(attribute.name, std::move(bodies));
    } else if (attribute.list) {
      node.attributes.set_list(attribute.name, std::move(attribute.list));
    } else {
      node.attributes.set(attribute.name, std::move(attribute.value));
    }
  }

  int version_of(const Node& node) const {
    const auto it = opsets_.find(node.domain);
    if (it == opsets_.end()) {
      throw_error(ErrorKind::InvalidGraph, where(node),
                  ": the model imports no version of domain \"", node.domain, "\"");
    }
    return static_cast<int>(it->second);
  }

  void add_node(proto::Node& source) {
    Node node;
    node.name = source.name;
    node.op_type = source.op_type;
    node.domain = source.domain;
    node.version = version_of(node);
    const std::string who = where(node);
    for (const std::string& name : source.inputs) node.inputs.push_back(use(name, who));
    while (!node.inputs.empty() && node.inputs.back() == kNone) node.inputs.pop_back();
    for (const std::string& name : source.outputs) {
      node.outputs.push_back(name.empty() ? kNone : values_.at(name));
    }
    for (proto::Attribute& attribute : source.attributes) add_attribute(node, attribute);
    graph_.add_node(std::move(node));
  }

  void add_output(const proto::ValueInfo& output) {
    if (output.name.empty()) {
      throw_error(ErrorKind::InvalidGraph, "graph \"", graph_.name, "\": an output has no name");
    }
    const ValueId id = use(output.name, concat("graph \"", graph_.name, "\""));
    Type& type = graph_.value(id).type;
    if (type.kind == Type::Kind::Unknown) type = output.type;
    graph_.outputs.push_back(id);
  }

  const std::map<std::string, int64_t>& opsets_;
  GraphReader* outer_;
  int64_t& dense_left_;  // bytes that sparse initialisers may still take
  Graph graph_;
  std::unordered_map<std::string, ValueId> values_;
  std::unordered_map<std::string, Type> types_;
};

Model build(proto::Model&& source) {
  inline_functions(source);
  Model model;
  model.ir_version = source.ir_version;
  model.producer_name = std::move(source.producer_name);
  model.producer_version = std::move(source.producer_version);
  model.domain = std::move(source.domain);
  model.doc = std::move(source.doc);
  model.model_version = source.model_version;
  model.opset_imports = std::move(source.opset_imports);
  model.opset_imports.try_emplace("", 1);
  model.metadata = std::move(source.metadata);
  for (proto::ValueInfo& input : source.graph.inputs) {
    if (!input.denotations.empty()) model.denotations[input.name] = std::move(input.denotations);
  }
  int64_t dense_left = kDenseBudget;
  model.graph = GraphReader(model.opset_imports, nullptr, dense_left).read(source.graph);
  return model;
}

}  // namespace

Model read_model(Bytes bytes, std::shared_ptr<void> owner, const std::string& folder,
                 const ExternalSources* external) {
  Model model = build(proto::parse_model(bytes, {owner, folder, external}));
  model.keep_alive = std::move(owner);
  return model;
}

Model read_model(const std::string& path, const ExternalSources* external) {
  const std::shared_ptr<MappedFile> file = MappedFile::open(path);
  try {
    std::string folder = std::filesystem::path(path).parent_path().string();
    if (folder.empty()) folder = ".";
    Model model = read_model(file->bytes(), file, folder, external);
    model.path = path;
    return model;
  } catch (const Error& error) {
    throw_error(error.kind(), "Load model from ", path, " failed: ", error.what());
  }
}

}  // namespace tiercel
