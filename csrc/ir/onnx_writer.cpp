// Writes a graph as an ONNX model file, with large weights beside it when asked.
#include "ir/onnx_writer.h"

#include <filesystem>
#include <fstream>
#include <unordered_set>

#include "ir/proto_writer.h"

namespace tiercel {

namespace {

constexpr int64_t kPage = 4096;  // weights in their own file start here, to be mapped

using ValueNames = std::vector<std::string>;

// One graph's messages; names are unique over the whole model.
class GraphWriter {
 public:
  GraphWriter(const Graph& graph, std::unordered_set<std::string>& taken)
      : graph_(graph), taken_(taken), names_(graph.values.size()) {}

  // `outer`: names of the enclosing graph's values; `outputs`: names that outputs must have.
  void name_values(const ValueNames* outer, const std::vector<std::string>& outputs) {
    for (const Capture& capture : graph_.captures) {
      names_[at(capture.inner)] = (*outer)[at(capture.outer)];
    }
    for (const auto* list : {&graph_.inputs, &graph_.overridable}) {
      for (ValueId id : *list) set_name(id, graph_.value(id).name);
    }
    for (const std::string& name : outputs) taken_.insert(name);
    for (size_t i = 0; i < graph_.outputs.size(); ++i) name_output(i, outputs);
    for (NodeId id : graph_.order) {
      for (ValueId in : graph_.node(id).inputs) ensure_name(in);
      for (ValueId out : graph_.node(id).outputs) ensure_name(out);
      for (const auto& body : subgraphs(graph_.node(id))) {
        for (const Capture& capture : body->captures) ensure_name(capture.outer);
      }
    }
  }

  // Everything but the initialisers.
  void write_nodes(WireWriter& to) {
    for (NodeId id : graph_.order) {
      if (!graph_.node(id).removed) to.bytes(1, node_message(graph_.node(id)));
    }
    for (const auto& [from, name] : copies_) {
      WireWriter node;
      node.bytes(1, names_[at(from)]);
      node.bytes(2, name);
      node.text(3, unique_node_name(name));
      node.bytes(4, "Identity");
      to.bytes(1, node.out());
    }
    to.text(2, graph_.name.empty() ? "graph" : graph_.name);
    to.text(10, graph_.doc);
    for (const auto* list : {&graph_.inputs, &graph_.overridable}) {
      for (ValueId id : *list) {
        to.bytes(11, value_info_message(names_[at(id)], graph_.value(id).type));
      }
    }
    for (size_t i = 0; i < graph_.outputs.size(); ++i) {
      to.bytes(12, value_info_message(outputs_[i], graph_.value(graph_.outputs[i]).type));
    }
  }

  // Constants that something reads, by value.
  [[nodiscard]] std::vector<ValueId> initializers() const {
    std::vector<bool> captured(names_.size(), false);
    for (const Capture& capture : graph_.captures) captured[at(capture.inner)] = true;
    std::vector<ValueId> out;
    for (size_t i = 0; i < names_.size(); ++i) {
      const ValueInfo& value = graph_.values[i];
      if (!names_[i].empty() && !captured[i] && (value.constant || value.sparse)) {
        out.push_back(static_cast<ValueId>(i));
      }
    }
    return out;
  }
  [[nodiscard]] const std::string& name(ValueId id) const { return names_[at(id)]; }

  [[nodiscard]] std::string whole_message() {
    WireWriter out;
    write_nodes(out);
    for (ValueId id : initializers()) {
      const ValueInfo& value = graph_.value(id);
      if (value.constant) {
        out.bytes(5, tensor_message(*value.constant, name(id)));
      } else {
        out.bytes(15, sparse_message(*value.sparse, name(id)));
      }
    }
    return out.out();
  }

 private:
  static size_t at(ValueId id) { return static_cast<size_t>(id); }

  void set_name(ValueId id, std::string wanted) {
    if (wanted.empty()) wanted = "value";
    std::string name = wanted;
    for (int n = 1; !taken_.insert(name).second; ++n) name = concat(wanted, "_", n);
    names_[at(id)] = name;
  }

  void ensure_name(ValueId id) {
    if (id != kNone && names_[at(id)].empty()) set_name(id, graph_.value(id).name);
  }

  // A node's result takes the output's name; anything else is copied to it.
  void name_output(size_t i, const std::vector<std::string>& outputs) {
    const ValueId id = graph_.outputs[i];
    const bool named = names_[at(id)].empty();
    if (named && graph_.value(id).producer != kNone) {
      if (outputs.empty()) {
        set_name(id, graph_.value(id).name);
      } else {
        names_[at(id)] = outputs[i];
      }
      outputs_.push_back(names_[at(id)]);
      return;
    }
    ensure_name(id);
    std::string name = outputs.empty() ? names_[at(id)] + "_out" : outputs[i];
    if (outputs.empty()) {
      while (!taken_.insert(name).second) name += "_";
    }
    outputs_.push_back(name);
    copies_.emplace_back(id, name);
  }

  // Some readers refuse two nodes of one name; passes give new nodes the name of what they replace.
  std::string unique_node_name(const std::string& wanted) {
    if (wanted.empty()) return wanted;
    std::string name = wanted;
    for (int n = 1; !node_names_.insert(name).second; ++n) name = concat(wanted, "_", n);
    return name;
  }

  std::string body_message(const Graph& body) {
    GraphWriter writer(body, taken_);
    writer.name_values(&names_, {});
    return writer.whole_message();
  }

  std::string node_message(const Node& node) {
    WireWriter out;
    for (ValueId id : node.inputs) out.bytes(1, id == kNone ? "" : names_[at(id)]);
    for (ValueId id : node.outputs) out.bytes(2, id == kNone ? "" : names_[at(id)]);
    out.text(3, unique_node_name(node.name));
    out.text(4, node.op_type);
    for (const Attributes::Entry& entry : node.attributes) {
      out.bytes(5, attribute_message(entry.name, entry.read(),
                                     [this](const Graph& body) { return body_message(body); }));
    }
    out.text(7, node.domain);
    return out.out();
  }

  const Graph& graph_;
  std::unordered_set<std::string>& taken_;
  ValueNames names_;
  std::unordered_set<std::string> node_names_;
  std::vector<std::string> outputs_;
  std::vector<std::pair<ValueId, std::string>> copies_;
};

std::string metadata_message(const std::string& key, const std::string& value) {
  WireWriter out;
  out.text(1, key);
  out.text(2, value);
  return out.out();
}

// A finished field of the graph; or, with a tensor whose bytes follow, the fields before them.
struct Weight {
  std::string head;
  const Tensor* tail = nullptr;

  [[nodiscard]] uint64_t bytes() const {
    return head.size() + (tail != nullptr ? static_cast<uint64_t>(tail->bytes()) : 0);
  }
};

size_t size_of(uint64_t number) {
  WireWriter out;
  out.prefix(1, number);
  return out.out().size();
}

// Puts the field of a weight together so that its bytes, which a reader maps, are aligned for
// vectors when the field starts at `start`: the tensor gets a comment of spaces where need be.
Weight aligned(const Weight& weight, uint64_t start) {
  constexpr uint64_t kAlignment = 64, kLeast = 4096;
  if (weight.tail == nullptr) return weight;
  const auto bytes = static_cast<uint64_t>(weight.tail->bytes());
  const auto with_gap = [&](size_t gap) {
    WireWriter head, field;
    if (gap > 0) head.bytes(12, std::string(gap - 1, ' '));
    const std::string before = head.out() + weight.head;
    field.prefix(5, before.size() + bytes);
    return Weight{field.out() + before, weight.tail};
  };
  if (bytes >= kLeast) {
    for (size_t gap = 0; gap <= kAlignment; ++gap) {
      Weight made = with_gap(gap);
      if ((start + made.head.size()) % kAlignment == 0) return made;
    }
  }
  return with_gap(0);
}

// The fields of weights that begin `before` bytes and a length behind the start of the file;
// gives the bytes of the graph, which has `nodes` bytes beside them.
uint64_t align(std::vector<Weight>& weights, uint64_t before, uint64_t nodes) {
  uint64_t total = nodes, assumed = 0;
  for (const Weight& weight : weights) total += weight.bytes();
  std::vector<Weight> made;
  for (int round = 0; round < 3 && size_of(total) != assumed; ++round) {
    assumed = size_of(total);
    made.clear();
    total = nodes;
    for (const Weight& weight : weights) {
      made.push_back(aligned(weight, before + assumed + total));
      total += made.back().bytes();
    }
  }
  weights = std::move(made);
  return total;
}

class File {
 public:
  explicit File(std::filesystem::path path) : path_(std::move(path)), out_(path_, kMode) {
    check();
  }
  void write(const void* data, size_t bytes) {
    out_.write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes));
    at_ += static_cast<int64_t>(bytes);
  }
  void write(const std::string& text) { write(text.data(), text.size()); }
  int64_t to_page() {
    const std::string gap(static_cast<size_t>((kPage - at_ % kPage) % kPage), '\0');
    write(gap);
    return at_;
  }
  void close() {
    out_.close();
    check();
  }

 private:
  static constexpr auto kMode = std::ios::binary | std::ios::trunc;
  void check() const {
    if (!out_) throw_error(ErrorKind::Fail, "cannot write ", path_.string());
  }
  std::filesystem::path path_;
  std::ofstream out_;
  int64_t at_ = 0;
};

std::vector<Weight> write_weights(const Graph& graph, const GraphWriter& writer,
                                  const std::string& path, const WriteOptions& options) {
  std::vector<Weight> out;
  std::optional<File> file;
  for (ValueId id : writer.initializers()) {
    const ValueInfo& value = graph.value(id);
    WireWriter field;
    if (!value.constant) {
      field.bytes(15, sparse_message(*value.sparse, writer.name(id)));
      out.push_back({field.out(), nullptr});
      continue;
    }
    const Tensor& tensor = *value.constant;
    if (tensor.dtype() == DType::String) {
      field.bytes(5, tensor_message(tensor, writer.name(id)));
      out.push_back({field.out(), nullptr});
      continue;
    }
    WireWriter head;
    tensor_head(head, tensor, writer.name(id));
    const auto bytes = static_cast<uint64_t>(tensor.bytes());
    if (options.external_file.empty() || tensor.bytes() < options.external_bytes) {
      head.prefix(9, bytes);
      out.push_back({head.out(), &tensor});
      continue;
    }
    if (!file) file.emplace(std::filesystem::path(path).parent_path() / options.external_file);
    external_place(head, options.external_file, file->to_page(), tensor.bytes());
    file->write(tensor.raw(), static_cast<size_t>(bytes));
    field.bytes(5, head.out());
    out.push_back({field.out(), nullptr});
  }
  if (file) file->close();
  return out;
}

}  // namespace

void write_model(const Model& model, const std::string& path, const WriteOptions& options) {
  std::unordered_set<std::string> taken;
  GraphWriter writer(model.graph, taken);
  writer.name_values(nullptr, options.outputs);
  WireWriter nodes;
  writer.write_nodes(nodes);
  std::vector<Weight> weights = write_weights(model.graph, writer, path, options);
  constexpr int64_t kFirstIr = 10;  // the first that has every element type and attribute here
  WireWriter head;
  head.integer(1, std::max(model.ir_version, kFirstIr));
  head.text(2, model.producer_name);
  head.text(3, model.producer_version);
  head.text(4, model.domain);
  head.integer(5, model.model_version);
  head.text(6, model.doc);
  for (const auto& [domain, version] : options.opset_imports) {
    WireWriter import;
    import.text(1, domain);
    import.integer(2, version);
    head.bytes(8, import.out());
  }
  for (const auto& [key, value] : model.metadata) head.bytes(14, metadata_message(key, value));
  head.prefix(7, align(weights, head.out().size(), nodes.out().size()));
  File file(path);
  file.write(head.out());
  file.write(nodes.out());
  for (const Weight& weight : weights) {
    file.write(weight.head);
    if (weight.tail != nullptr) {
      file.write(weight.tail->raw(), static_cast<size_t>(weight.tail->bytes()));
    }
  }
  file.close();
}

}  // namespace tiercel
