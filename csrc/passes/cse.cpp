// Common subexpressions: nodes of equal operator, attributes and inputs become one, and so do equal
// small constants.
#include <cstring>
#include <map>
#include <string>

#include "passes/edit.h"
#include "passes/passes.h"

namespace tiercel::passes {

namespace {

constexpr int64_t kSmallConstant = 4096;  // bytes; comparing weights would cost more than it saves

template <class T>
void append_raw(std::string& key, const T& value) {
  key.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append_text(std::string& key, const std::string& text) {
  append_raw(key, text.size());
  key += text;
}

// Appends what tells tensors apart; false when it is too long to compare.
bool append_tensor(std::string& key, const Tensor& tensor) {
  if (tensor.dtype() == DType::String || tensor.bytes() > kSmallConstant) return false;
  append_raw(key, tensor.dtype());
  append_raw(key, tensor.rank());
  for (int64_t d : tensor.dims()) append_raw(key, d);
  key.append(static_cast<const char*>(tensor.raw()), static_cast<size_t>(tensor.bytes()));
  return true;
}

bool append_attribute(std::string& key, const Attribute& attribute) {
  append_raw(key, attribute.index());
  if (const auto* i = std::get_if<int64_t>(&attribute)) {
    append_raw(key, *i);
  } else if (const auto* f = std::get_if<double>(&attribute)) {
    append_raw(key, *f);
  } else if (const auto* s = std::get_if<std::string>(&attribute)) {
    append_text(key, *s);
  } else if (const auto* ints = std::get_if<std::vector<int64_t>>(&attribute)) {
    append_raw(key, ints->size());
    for (int64_t v : *ints) append_raw(key, v);
  } else if (const auto* floats = std::get_if<std::vector<double>>(&attribute)) {
    append_raw(key, floats->size());
    for (double v : *floats) append_raw(key, v);
  } else if (const auto* strings = std::get_if<std::vector<std::string>>(&attribute)) {
    append_raw(key, strings->size());
    for (const std::string& v : *strings) append_text(key, v);
  } else if (const auto* tensor = std::get_if<Tensor>(&attribute)) {
    return append_tensor(key, *tensor);
  } else {
    return false;
  }
  return true;
}

// A byte string that is equal for nodes that compute the same; nullopt: cannot be merged.
std::optional<std::string> key_of(const Node& node) {
  if (!node.def || node.def->has(kNondeterministic) || node.def->has(kControlFlow)) {
    return std::nullopt;
  }
  std::string key;
  append_text(key, node.domain);
  append_text(key, node.op_type);
  append_text(key, node.provider);
  std::map<std::string_view, const Attribute*> sorted;
  for (const Attributes::Entry& entry : node.attributes) sorted[entry.name] = &entry.read();
  for (const auto& [name, attribute] : sorted) {
    append_text(key, std::string(name));
    if (!append_attribute(key, *attribute)) return std::nullopt;
  }
  for (ValueId in : node.inputs) append_raw(key, in);
  append_raw(key, node.outputs.size());
  return key;
}

bool merge_constants(Graph& graph) {
  bool changed = false;
  std::map<std::string, ValueId> seen;
  const Uses uses(graph);
  const auto n = static_cast<ValueId>(graph.values.size());
  for (ValueId id = 0; id < n; ++id) {
    const Tensor* constant = graph.constant(id);
    if (!constant || graph.is_output(id) || uses.count(id) == 0) continue;
    std::string key;
    if (!append_tensor(key, *constant)) continue;
    const auto [it, fresh] = seen.emplace(std::move(key), id);
    if (fresh) continue;
    graph.replace_uses(id, it->second);
    changed = true;
  }
  return changed;
}

bool merge_nodes(Graph& graph) {
  bool changed = false;
  std::map<std::string, NodeId> seen;
  const std::vector<NodeId> order = graph.order;
  for (NodeId id : order) {
    const Node& node = graph.node(id);
    if (node.removed) continue;
    std::optional<std::string> key = key_of(node);
    if (!key) continue;
    const auto [it, fresh] = seen.emplace(std::move(*key), id);
    if (fresh) continue;
    const Node& first = graph.node(it->second);
    bool same = first.outputs.size() == node.outputs.size();
    for (size_t i = 0; same && i < node.outputs.size(); ++i) {
      same = (first.outputs[i] == kNone) <= (node.outputs[i] == kNone) &&
             (node.outputs[i] == kNone || !graph.is_output(node.outputs[i]));
    }
    if (!same) continue;
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i] != kNone) graph.replace_uses(node.outputs[i], first.outputs[i]);
    }
    graph.remove_node(id);
    changed = true;
  }
  return changed;
}

}  // namespace

bool cse(Graph& graph, PassContext&) {
  return each_graph(graph, [](Graph& g) {
    const bool constants = merge_constants(g);
    return merge_nodes(g) || constants;
  });
}

}  // namespace tiercel::passes
