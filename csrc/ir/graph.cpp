// Editing graphs: adding, removing and redirecting, topological order, compaction and deep copies.
#include "ir/graph.h"

#include <algorithm>

namespace tiercel {

namespace {

template <class Visit>
void each_body(const Node& node, const Visit& visit) {
  for (const Attributes::Entry& entry : node.attributes) {
    if (const auto* one = std::get_if<std::shared_ptr<Graph>>(&entry.value)) {
      if (*one) visit(**one);
    } else if (const auto* many = std::get_if<std::vector<std::shared_ptr<Graph>>>(&entry.value)) {
      for (const std::shared_ptr<Graph>& body : *many) {
        if (body) visit(*body);
      }
    }
  }
}

// Values that a node reads: its inputs and what its bodies capture.
template <class Visit>
void each_use(const Node& node, const Visit& visit) {
  for (ValueId in : node.inputs) {
    if (in != kNone) visit(in);
  }
  each_body(node, [&](Graph& body) {
    for (const Capture& capture : body.captures) visit(capture.outer);
  });
}

template <class T>
void renumber(T& id, const std::vector<int32_t>& fresh) {
  if (id != kNone) id = fresh[static_cast<size_t>(id)];
}

// Values that stay: inputs, outputs, captures and whatever a node touches.
std::vector<bool> used_values(const Graph& graph) {
  std::vector<bool> used(graph.values.size(), false);
  const auto use = [&](ValueId id) {
    if (id != kNone) used[static_cast<size_t>(id)] = true;
  };
  for (const Node& node : graph.nodes) {
    if (node.removed) continue;
    each_use(node, use);
    for (ValueId out : node.outputs) use(out);
  }
  for (ValueId id : graph.inputs) use(id);
  for (ValueId id : graph.overridable) use(id);
  for (ValueId id : graph.outputs) use(id);
  for (const Capture& capture : graph.captures) use(capture.inner);
  return used;
}

// New numbers of what stays, kNone for what goes.
std::vector<int32_t> numbering(const std::vector<bool>& stays) {
  std::vector<int32_t> fresh(stays.size(), kNone);
  int32_t next = 0;
  for (size_t i = 0; i < stays.size(); ++i) {
    if (stays[i]) fresh[i] = next++;
  }
  return fresh;
}

template <class T>
void keep(std::vector<T>& items, const std::vector<int32_t>& fresh) {
  size_t next = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    if (fresh[i] == kNone) continue;
    if (next != i) items[next] = std::move(items[i]);
    ++next;
  }
  items.resize(next);
}

}  // namespace

ValueId Graph::add_value(std::string value_name, Type type) {
  ValueInfo value;
  value.name = std::move(value_name);
  value.type = std::move(type);
  values.push_back(std::move(value));
  return static_cast<ValueId>(values.size()) - 1;
}

ValueId Graph::add_constant(std::string value_name, Tensor tensor) {
  const ValueId id =
      add_value(std::move(value_name), Type::tensor(tensor.dtype(), to_shape(tensor.dims())));
  value(id).constant = std::move(tensor);
  return id;
}

NodeId Graph::add_node(Node added, NodeId before) {
  const auto id = static_cast<NodeId>(nodes.size());
  for (size_t i = 0; i < added.outputs.size(); ++i) {
    if (added.outputs[i] == kNone) continue;
    value(added.outputs[i]).producer = id;
    value(added.outputs[i]).producer_output = static_cast<int32_t>(i);
  }
  nodes.push_back(std::move(added));
  order.insert(before == kNone ? order.end() : std::find(order.begin(), order.end(), before), id);
  return id;
}

void Graph::remove_node(NodeId id) {
  Node& gone = node(id);
  for (ValueId out : gone.outputs) {
    if (out != kNone && value(out).producer == id) value(out).producer = kNone;
  }
  gone.removed = true;
  std::erase(order, id);
}

void Graph::replace_uses(ValueId from, ValueId to) {
  for (Node& user : nodes) {
    if (user.removed) continue;
    std::replace(user.inputs.begin(), user.inputs.end(), from, to);
    each_body(user, [&](Graph& body) {
      for (Capture& capture : body.captures) {
        if (capture.outer == from) capture.outer = to;
      }
    });
  }
  std::replace(outputs.begin(), outputs.end(), from, to);
}

std::vector<std::vector<NodeId>> Graph::consumers() const {
  std::vector<std::vector<NodeId>> users(values.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i].removed) continue;
    each_use(nodes[i], [&](ValueId id) {
      std::vector<NodeId>& list = users[static_cast<size_t>(id)];
      if (list.empty() || list.back() != static_cast<NodeId>(i)) {
        list.push_back(static_cast<NodeId>(i));
      }
    });
  }
  return users;
}

bool Graph::is_output(ValueId id) const {
  return std::find(outputs.begin(), outputs.end(), id) != outputs.end();
}

bool Graph::is_overridable(ValueId id) const {
  return std::find(overridable.begin(), overridable.end(), id) != overridable.end();
}

const Tensor* Graph::constant(ValueId id) const {
  if (id == kNone) return nullptr;
  const std::optional<Tensor>& tensor = value(id).constant;
  return tensor && !is_overridable(id) ? &*tensor : nullptr;
}

void Graph::sort() {
  std::vector<int> waiting(nodes.size(), 0);  // inputs whose producers have not been placed
  std::vector<std::vector<NodeId>> readers(nodes.size());
  for (NodeId id : order) {
    each_use(node(id), [&](ValueId in) {
      const NodeId made_by = value(in).producer;
      if (made_by == kNone || node(made_by).removed) return;
      ++waiting[static_cast<size_t>(id)];
      readers[static_cast<size_t>(made_by)].push_back(id);
    });
  }
  // Always the first ready node of the old order, so that an ordered graph stays as it is.
  std::vector<size_t> rank(nodes.size(), 0);
  for (size_t i = 0; i < order.size(); ++i) rank[static_cast<size_t>(order[i])] = i;
  std::map<size_t, NodeId> ready;
  for (NodeId id : order) {
    if (waiting[static_cast<size_t>(id)] == 0) ready[rank[static_cast<size_t>(id)]] = id;
  }
  std::vector<NodeId> sorted;
  sorted.reserve(order.size());
  while (!ready.empty()) {
    const NodeId id = ready.begin()->second;
    ready.erase(ready.begin());
    sorted.push_back(id);
    for (NodeId reader : readers[static_cast<size_t>(id)]) {
      if (--waiting[static_cast<size_t>(reader)] == 0) {
        ready[rank[static_cast<size_t>(reader)]] = reader;
      }
    }
  }
  if (sorted.size() != order.size()) {
    const auto stuck = std::find_if(order.begin(), order.end(), [&](NodeId id) {
      return waiting[static_cast<size_t>(id)] > 0;
    });
    throw_error(ErrorKind::InvalidGraph, where(node(*stuck)),
                ": is part of a cycle: its inputs depend on its outputs");
  }
  order = std::move(sorted);
}

void Graph::compact() {
  const std::vector<int32_t> fresh_values = numbering(used_values(*this));
  std::vector<bool> stays(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) stays[i] = !nodes[i].removed;
  const std::vector<int32_t> fresh_nodes = numbering(stays);
  keep(values, fresh_values);
  keep(nodes, fresh_nodes);
  for (ValueInfo& v : values) renumber(v.producer, fresh_nodes);
  for (Node& n : nodes) {
    for (ValueId& in : n.inputs) renumber(in, fresh_values);
    for (ValueId& out : n.outputs) renumber(out, fresh_values);
    each_body(n, [&](Graph& body) {
      for (Capture& capture : body.captures) renumber(capture.outer, fresh_values);
    });
  }
  for (NodeId& id : order) renumber(id, fresh_nodes);
  std::erase(order, kNone);
  for (auto* list : {&inputs, &overridable, &outputs}) {
    for (ValueId& id : *list) renumber(id, fresh_values);
  }
  for (Capture& capture : captures) renumber(capture.inner, fresh_values);
}

std::vector<std::shared_ptr<Graph>> subgraphs(const Node& node) {
  std::vector<std::shared_ptr<Graph>> found;
  for (const Attributes::Entry& entry : node.attributes) {
    if (const auto* one = std::get_if<std::shared_ptr<Graph>>(&entry.value)) {
      if (*one) found.push_back(*one);
    } else if (const auto* many = std::get_if<std::vector<std::shared_ptr<Graph>>>(&entry.value)) {
      std::copy_if(many->begin(), many->end(), std::back_inserter(found),
                   [](const auto& body) { return body != nullptr; });
    }
  }
  return found;
}

Graph clone(const Graph& graph) {
  Graph copy = graph;
  const auto deep = [](std::shared_ptr<Graph>& body) {
    if (body) body = std::make_shared<Graph>(clone(*body));
  };
  for (Node& node : copy.nodes) {
    for (Attributes::Entry& entry : node.attributes) {
      if (auto* one = std::get_if<std::shared_ptr<Graph>>(&entry.value)) deep(*one);
      if (auto* many = std::get_if<std::vector<std::shared_ptr<Graph>>>(&entry.value)) {
        for (std::shared_ptr<Graph>& body : *many) deep(body);
      }
    }
  }
  return copy;
}

std::string where(const Node& node) {
  return concat("node \"", node.name, "\" (", node.domain.empty() ? "" : node.domain + ":",
                node.op_type, ")");
}

std::string where(const Model& model, const Node& node) {
  return model.path.empty() ? where(node) : concat(model.path, ": ", where(node));
}

}  // namespace tiercel
