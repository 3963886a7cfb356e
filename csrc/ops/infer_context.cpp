// What shape functions read and write, and the shape functions that many operators share.
#include <algorithm>

#include "ops/epilogue.h"
#include "ops/infer_values.h"

namespace tiercel {

namespace {

const Type kNoType;

// Attribute of the node, else the operator's default.
const Attribute* attribute(const Node& node, std::string_view name) {
  if (const Attribute* own = node.attributes.find(name)) return own;
  const AttrDef* def = node.def ? node.def->attribute(name) : nullptr;
  return def && def->value ? &*def->value : nullptr;
}

// The more specific of two extents; between integers the operator's is right.
Dim merge_dim(const Dim& had, const Dim& found) {
  if (found.known()) return found;
  if (had.known()) return had;
  return found.symbolic() ? found : had;
}

}  // namespace

bool InferContext::has_input(int i) const {
  return i >= 0 && i < input_count() && node_.inputs[static_cast<size_t>(i)] != kNone;
}

bool InferContext::has_output(int i) const {
  return i >= 0 && i < output_count() && node_.outputs[static_cast<size_t>(i)] != kNone;
}

const Type& InferContext::type(int input) const {
  return has_input(input) ? graph_.value(node_.inputs[static_cast<size_t>(input)]).type : kNoType;
}

DType InferContext::dtype(int input) const { return type(input).dtype; }

const std::optional<Shape>& InferContext::shape(int input) const { return type(input).shape; }

const Tensor* InferContext::constant(int input) const {
  return has_input(input) ? graph_.constant(node_.inputs[static_cast<size_t>(input)]) : nullptr;
}

std::optional<std::vector<Dim>> InferContext::elements(int input) const {
  if (!has_input(input)) return std::nullopt;
  const ValueInfo& value = graph_.value(node_.inputs[static_cast<size_t>(input)]);
  if (const Tensor* tensor = constant(input)) {
    const bool integer = tensor->dtype() == DType::Int64 || tensor->dtype() == DType::Int32;
    if (!integer || tensor->rank() > 1 || tensor->size() > kMaxKnown) return std::nullopt;
    const std::vector<int64_t> numbers = tensor->as_i64();
    return std::vector<Dim>(numbers.begin(), numbers.end());
  }
  return value.known;
}

std::optional<std::vector<int64_t>> InferContext::integers(int input) const {
  const std::optional<std::vector<Dim>> known = elements(input);
  return known ? concrete(*known) : std::nullopt;
}

int64_t InferContext::attr_int(std::string_view name, int64_t fallback) const {
  const Attribute* found = attribute(node_, name);
  const auto* value = found ? std::get_if<int64_t>(found) : nullptr;
  return value ? *value : fallback;
}

double InferContext::attr_float(std::string_view name, double fallback) const {
  const Attribute* found = attribute(node_, name);
  const auto* value = found ? std::get_if<double>(found) : nullptr;
  return value ? *value : fallback;
}

std::string InferContext::attr_string(std::string_view name, std::string_view fallback) const {
  const Attribute* found = attribute(node_, name);
  const auto* value = found ? std::get_if<std::string>(found) : nullptr;
  return value ? *value : std::string(fallback);
}

std::optional<std::vector<int64_t>> InferContext::attr_ints(std::string_view name) const {
  const Attribute* found = attribute(node_, name);
  const auto* value = found ? std::get_if<std::vector<int64_t>>(found) : nullptr;
  return value ? std::optional(*value) : std::nullopt;
}

bool InferContext::has_attr(std::string_view name) const { return node_.attributes.has(name); }

void InferContext::set_type(int output, Type type) {
  if (!has_output(output)) return;
  ValueInfo& value = graph_.value(node_.outputs[static_cast<size_t>(output)]);
  Type& had = value.type;
  if (output == 0) type.dtype = epilogue_dtype(node_, type.dtype);
  if (had.kind == Type::Kind::Unknown) {
    had = std::move(type);
    return;
  }
  const bool dense = had.is_tensor() && type.is_tensor();
  if (!dense) {
    if (type.kind != Type::Kind::Unknown) had = std::move(type);
    return;
  }
  if (had.dtype != DType::Undefined && type.dtype != DType::Undefined && had.dtype != type.dtype) {
    fail(concat("output ", output, " \"", value.name, "\" is declared ", had.text(),
                ", but the operator gives ", type.text()));
  }
  if (type.dtype != DType::Undefined) had.dtype = type.dtype;
  if (!type.shape) return;
  if (!had.shape) {
    had.shape = std::move(type.shape);
    return;
  }
  if (had.shape->size() != type.shape->size()) {
    had.shape = std::move(type.shape);  // files declare wrong shapes; the operator knows
    return;
  }
  for (size_t i = 0; i < had.shape->size(); ++i) {
    (*had.shape)[i] = merge_dim((*had.shape)[i], (*type.shape)[i]);
  }
}

void InferContext::set(int output, DType dtype, std::optional<Shape> shape) {
  set_type(output, Type::tensor(dtype, std::move(shape)));
}

void InferContext::set_elements(int output, std::vector<Dim> elements) {
  if (!has_output(output) || static_cast<int64_t>(elements.size()) > kMaxKnown) return;
  graph_.value(node_.outputs[static_cast<size_t>(output)]).known = std::move(elements);
}

void InferContext::fail(const std::string& message) const {
  throw_error(ErrorKind::InvalidGraph, where(node_), ": ", message);
}

void same_as_first(InferContext& ctx) {
  const Type& type = ctx.type(0);
  if (type.is_tensor()) {
    ctx.set(0, type.dtype, type.shape);
  } else if (type.kind != Type::Kind::Unknown) {
    ctx.set_type(0, type);
  }
}

namespace {

std::optional<Shape> broadcast_inputs(InferContext& ctx) {
  Shape shape;
  for (int i = 0; i < ctx.input_count(); ++i) {
    if (!ctx.has_input(i)) continue;
    if (!ctx.has_shape(i)) return std::nullopt;
    shape = broadcast(shape, *ctx.shape(i));
  }
  return shape;
}

}  // namespace

void broadcast_all(InferContext& ctx) { ctx.set(0, ctx.dtype(0), broadcast_inputs(ctx)); }

void broadcast_to_bool(InferContext& ctx) { ctx.set(0, DType::Bool, broadcast_inputs(ctx)); }

void infer_node(Graph& graph, Node& node, bool at_run) {
  if (!node.def) {
    throw_error(ErrorKind::InvalidGraph, where(node), ": is not an operator this runtime knows");
  }
  check_constraints(graph, node);
  InferContext context(graph, node, at_run);
  try {
    node.def->shape(context);
  } catch (const Error& error) {
    const std::string message = error.what();
    if (message.find("node \"") != std::string::npos) throw;
    throw_error(error.kind(), where(node), ": ", message);
  }
}

}  // namespace tiercel
