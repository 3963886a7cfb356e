// Graph edits that passes share.
#include "passes/edit.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace tiercel {

bool each_graph(Graph& graph, const std::function<bool(Graph&)>& edit) {
  bool changed = false;
  for (NodeId id : graph.order) {
    const Node& node = graph.node(id);
    if (node.removed || !node.def || !node.def->has(kControlFlow)) continue;
    for (const std::shared_ptr<Graph>& body : subgraphs(node)) {
      changed = each_graph(*body, edit) || changed;
    }
  }
  return edit(graph) || changed;
}

namespace {

bool outputs_unused(const Graph& graph, const Node& node) {
  const auto made_here = [&](ValueId id) {
    return id != kNone &&
           std::find(node.outputs.begin(), node.outputs.end(), id) != node.outputs.end();
  };
  for (const Node& user : graph.nodes) {
    if (user.removed) continue;
    if (std::any_of(user.inputs.begin(), user.inputs.end(), made_here)) return false;
    for (const std::shared_ptr<Graph>& body : subgraphs(user)) {
      for (const Capture& capture : body->captures) {
        if (made_here(capture.outer)) return false;
      }
    }
  }
  return std::none_of(graph.outputs.begin(), graph.outputs.end(), made_here);
}

}  // namespace

void redirect(Graph& graph, ValueId from, ValueId to) {
  const NodeId producer_id = graph.value(from).producer;
  if (graph.is_output(from)) {
    const bool can_rename = graph.value(to).producer != kNone && !graph.is_output(to);
    if (!can_rename) {
      const std::vector<ValueId> outputs = graph.outputs;
      graph.replace_uses(from, to);
      graph.outputs = outputs;
      Node& node = graph.node(producer_id);
      if (is_op(node, "Identity") && node.inputs == std::vector<ValueId>{to}) return;
      Node identity;
      identity.name = node.name;
      identity.op_type = "Identity";
      identity.def = find_op("", "Identity");
      identity.version = identity.def->since;
      identity.inputs = {to};
      identity.outputs = {from};
      const bool alone = node.outputs.size() == 1;
      if (alone) graph.remove_node(producer_id);
      if (!alone) std::replace(node.outputs.begin(), node.outputs.end(), from, kNone);
      graph.add_node(std::move(identity));
      graph.sort();
      return;
    }
    std::swap(graph.value(from).name, graph.value(to).name);
  }
  graph.replace_uses(from, to);
  if (producer_id != kNone && outputs_unused(graph, graph.node(producer_id))) {
    graph.remove_node(producer_id);
  }
}

ValueId insert_node(Graph& graph, NodeId before, NewNode made, Type type, const std::string& name) {
  Node node;
  node.name = name;
  node.op_type = made.op;
  node.domain = made.domain;
  node.def = find_op(made.domain, made.op);
  if (!node.def) {
    throw_error(ErrorKind::Fail, "pass made a node of unknown operator ", std::string(made.op));
  }
  node.version = node.def->since;
  node.inputs = std::move(made.inputs);
  node.attributes = std::move(made.attributes);
  if (before != kNone) {
    node.provider = graph.node(before).provider;
    node.reason = graph.node(before).reason;
  }
  const ValueId out = graph.add_value(name, std::move(type));
  node.outputs = {out};
  graph.add_node(std::move(node), before);
  return out;
}

bool is_op(const Node& node, std::string_view op, std::string_view domain) {
  return !node.removed && node.op_type == op && node.domain == domain;
}

Node* producer(Graph& graph, ValueId id, std::string_view op, std::string_view domain) {
  if (id == kNone) return nullptr;
  const NodeId made_by = graph.value(id).producer;
  if (made_by == kNone) return nullptr;
  Node& node = graph.node(made_by);
  return is_op(node, op, domain) ? &node : nullptr;
}

bool has_input(const Node& node, size_t i) {
  return i < node.inputs.size() && node.inputs[i] != kNone;
}

namespace {

double half_to_double(uint16_t h) {
  const int exponent = (h >> 10) & 31;
  const int mantissa = h & 1023;
  const double sign = (h & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == 31) return mantissa != 0 ? std::nan("") : sign * HUGE_VAL;
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

// Nearest even, over the double's exact value.
uint16_t double_to_half(double value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double a = std::fabs(value);
  if (std::isnan(value)) return 0x7e00;
  if (a >= 65520.0) return sign | 0x7c00;
  if (a < std::ldexp(1.0, -14)) {
    return sign | static_cast<uint16_t>(std::nearbyint(std::ldexp(a, 24)));
  }
  int exponent = 0;
  const double fraction = std::frexp(a, &exponent);  // in [0.5, 1)
  const auto mantissa = static_cast<int>(std::nearbyint(std::ldexp(fraction, 11)));
  return sign | static_cast<uint16_t>(((exponent + 13) << 10) + mantissa);
}

uint16_t float_to_bfloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return 0x7fc0;
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

}  // namespace

std::optional<double> element(const Tensor& tensor, int64_t i) {
  switch (tensor.dtype()) {
    case DType::Float:
      return tensor.data<float>()[i];
    case DType::Double:
      return tensor.data<double>()[i];
    case DType::Int64:
      return static_cast<double>(tensor.data<int64_t>()[i]);
    case DType::Int32:
      return tensor.data<int32_t>()[i];
    case DType::Int8:
      return tensor.data<int8_t>()[i];
    case DType::UInt8:
      return tensor.data<uint8_t>()[i];
    case DType::Bool:
      return tensor.data<bool>()[i] ? 1.0 : 0.0;
    case DType::Float16:
      return half_to_double(tensor.data<uint16_t>()[i]);
    case DType::BFloat16:
      return std::bit_cast<float>(static_cast<uint32_t>(tensor.data<uint16_t>()[i]) << 16);
    default:
      return std::nullopt;
  }
}

Tensor make_tensor(DType dtype, Dims dims, std::span<const double> values) {
  Tensor made(dtype, std::move(dims));
  for (size_t i = 0; i < values.size(); ++i) {
    switch (dtype) {
      case DType::Float:
        made.data<float>()[i] = static_cast<float>(values[i]);
        break;
      case DType::Double:
        made.data<double>()[i] = values[i];
        break;
      case DType::Int64:
        made.data<int64_t>()[i] = static_cast<int64_t>(values[i]);
        break;
      case DType::Int32:
        made.data<int32_t>()[i] = static_cast<int32_t>(values[i]);
        break;
      case DType::Float16:
        made.data<uint16_t>()[i] = double_to_half(values[i]);
        break;
      case DType::BFloat16:
        made.data<uint16_t>()[i] = float_to_bfloat16(static_cast<float>(values[i]));
        break;
      default:
        throw_error(ErrorKind::Fail, "a pass cannot make a constant of type ",
                    std::string(dtype_name(dtype)));
    }
  }
  return made;
}

std::optional<double> scalar(const Graph& graph, ValueId id) {
  if (id == kNone) return std::nullopt;
  const Tensor* constant = graph.constant(id);
  if (!constant || constant->size() != 1) return std::nullopt;
  return element(*constant, 0);
}

std::optional<std::vector<int64_t>> integers(const Graph& graph, ValueId id) {
  if (id == kNone) return std::nullopt;
  if (const Tensor* constant = graph.constant(id)) {
    if (constant->dtype() != DType::Int64 && constant->dtype() != DType::Int32) return std::nullopt;
    return constant->as_i64();
  }
  const auto& known = graph.value(id).known;
  if (!known) return std::nullopt;
  return concrete(*known);
}

const Shape* shape_of(const Graph& graph, ValueId id) {
  const std::optional<Shape>& shape = graph.value(id).type.shape;
  return graph.value(id).type.is_tensor() && shape ? &*shape : nullptr;
}

std::optional<int64_t> rank_of(const Graph& graph, ValueId id) {
  const Shape* shape = shape_of(graph, id);
  if (!shape) return std::nullopt;
  return static_cast<int64_t>(shape->size());
}

bool same_shape(const Graph& graph, ValueId a, ValueId b) {
  const Shape* x = shape_of(graph, a);
  const Shape* y = shape_of(graph, b);
  return x && y && x->size() == y->size() &&
         std::equal(x->begin(), x->end(), y->begin(),
                    [](const Dim& p, const Dim& q) { return p.same(q); });
}

namespace {

// The node's attribute, else the operator's default.
const Attribute* attribute(const Node& node, std::string_view name) {
  if (const Attribute* own = node.attributes.find(name)) return own;
  const AttrDef* def = node.def ? node.def->attribute(name) : nullptr;
  return def && def->value ? &*def->value : nullptr;
}

template <class T>
T attribute_or(const Node& node, std::string_view name, T fallback) {
  const Attribute* found = attribute(node, name);
  const T* value = found ? std::get_if<T>(found) : nullptr;
  return value ? *value : fallback;
}

}  // namespace

int64_t attr_int(const Node& node, std::string_view name, int64_t fallback) {
  return attribute_or<int64_t>(node, name, fallback);
}

double attr_float(const Node& node, std::string_view name, double fallback) {
  return attribute_or<double>(node, name, fallback);
}

std::string attr_string(const Node& node, std::string_view name, std::string_view fallback) {
  return attribute_or<std::string>(node, name, std::string(fallback));
}

Uses::Uses(const Graph& graph) : counts_(graph.values.size(), 0) {
  auto use = [&](ValueId id) {
    if (id != kNone) ++counts_[static_cast<size_t>(id)];
  };
  for (const Node& node : graph.nodes) {
    if (node.removed) continue;
    for (ValueId in : node.inputs) use(in);
    for (const std::shared_ptr<Graph>& body : subgraphs(node)) {
      for (const Capture& capture : body->captures) use(capture.outer);
    }
  }
  for (ValueId out : graph.outputs) use(out);
}

}  // namespace tiercel
