// Writes the optimised graph of a session as a model of its own.
#include "session/optimized_model.h"

#include <algorithm>
#include <charconv>

#include "ir/onnx_writer.h"
#include "ops/op_def.h"

namespace tiercel {
namespace {

// After the upgrade every node has the newest meaning of its operator, so that a domain's version
// is the newest of those; older readers load the model when no node needs more.
void raise_versions(const Graph& graph, std::map<std::string, int64_t>& imports) {
  for (NodeId id : graph.order) {
    const Node& node = graph.node(id);
    int64_t& version = imports.try_emplace(node.domain, 1).first->second;
    if (node.def != nullptr) version = std::max<int64_t>(version, node.def->since);
    for (const auto& body : subgraphs(node)) raise_versions(*body, imports);
  }
}

int64_t whole_number(const std::string& key, const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) {
    throw_error(ErrorKind::InvalidArgument, key, ": expected a whole number, got \"", text, "\"");
  }
  return value;
}

}  // namespace

void write_optimized_model(const Model& model, const std::vector<IoInfo>& outputs,
                           const SessionOptions& options) {
  const std::string prefix = "session.optimized_model_external_initializers_";
  if (options.config_value("session.save_model_format", "ONNX") != "ONNX") {
    throw_error(ErrorKind::NotImplemented,
                "session.save_model_format: models are written in the format ONNX alone");
  }
  WriteOptions write;
  write.opset_imports = model.opset_imports;
  raise_versions(model.graph, write.opset_imports);
  for (const IoInfo& output : outputs) write.outputs.push_back(output.name);
  write.external_file = options.config_value(prefix + "file_name", "");
  const std::string size_key = prefix + "min_size_in_bytes";
  write.external_bytes = whole_number(size_key, options.config_value(size_key, "1024"));
  write_model(model, options.optimized_model_path, write);
}

}  // namespace tiercel
