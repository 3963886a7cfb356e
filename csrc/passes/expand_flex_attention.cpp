// FlexAttention: attention whose scores and probabilities go through bodies of the model's own.
#include <cmath>

#include "passes/expand.h"
#include "passes/splice.h"

namespace tiercel {
namespace {

const Graph* modifier(const Node& node, std::string_view name) {
  const auto* body = node.attributes.get<std::shared_ptr<Graph>>(name);
  return body && *body ? body->get() : nullptr;
}

ValueId modified(Expander& e, NodeId id, ValueId x, std::string_view name) {
  const Graph* body = modifier(e.node(), name);
  if (!body) return x;
  if (body->inputs.size() != 1 || body->outputs.size() != 1) {
    e.fail(concat(std::string(name), " has ", body->inputs.size(), " inputs and ",
                  body->outputs.size(), " outputs; expected one of each"));
  }
  return splice(e.graph(), id, *body, {x}, e.node().name)[0];
}

int64_t extent(const Expander& e, ValueId value, size_t axis) {
  const auto& shape = e.type(value).shape;
  if (!shape || shape->size() != 4 || !(*shape)[axis].known()) {
    e.fail(concat("needs operands of rank 4 and a known extent of axis ", axis));
  }
  return (*shape)[axis].value();
}

// Keys or values with one head for every head of the queries.
ValueId shared_heads(Expander& e, ValueId x, int64_t heads) {
  const int64_t own = extent(e, x, 1);
  if (own == heads) return x;
  if (own < 1 || heads % own != 0) {
    e.fail(concat(heads, " heads of queries are no multiple of ", own, " heads of keys"));
  }
  std::vector<int64_t> which;
  for (int64_t h = 0; h < heads; ++h) which.push_back(h / (heads / own));
  Attributes axis;
  axis.set("axis", int64_t{1});
  return e.op("Gather", {x, e.ints(which)}, std::move(axis));
}

// The type in which scores are modified and become probabilities.
DType precision(const Expander& e, DType dtype) {
  const int64_t wanted = attr_int(e.node(), "softmax_precision");
  if (dtype_is_valid(wanted)) return static_cast<DType>(wanted);
  return dtype == DType::Double ? DType::Double : DType::Float;
}

bool flex_attention(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const DType dtype = e.dtype(e.input(0));
  const int64_t heads = extent(e, e.input(0), 1);
  const double scale =
      attr_float(e.node(), "scale", 1 / std::sqrt(static_cast<double>(extent(e, e.input(0), 3))));
  if (!modifier(e.node(), "score_mod") && !modifier(e.node(), "prob_mod")) {
    Attributes attributes;
    attributes.set("scale", scale);
    return e.finish({e.op("Attention", e.node().inputs, std::move(attributes))});
  }
  const ValueId factor = e.number(dtype, std::sqrt(scale));
  const ValueId keys = shared_heads(e, e.input(1), heads);
  Attributes perm;
  perm.set("perm", std::vector<int64_t>{0, 1, 3, 2});
  const ValueId turned = e.op("Transpose", {e.op("Mul", {keys, factor})}, std::move(perm));
  const DType wide = precision(e, dtype);
  ValueId x = e.cast(e.op("MatMul", {e.op("Mul", {e.input(0), factor}), turned}), wide);
  x = modified(e, id, x, "score_mod");
  Attributes axis;
  axis.set("axis", int64_t{-1});
  x = modified(e, id, e.op("Softmax", {x}, std::move(axis)), "prob_mod");
  const ValueId values = e.cast(shared_heads(e, e.input(2), heads), wide);
  return e.finish({e.cast(e.op("MatMul", {x, values}), dtype)});
}

constexpr Expansion kFlexAttention[] = {
    {"ai.onnx.preview", "FlexAttention", flex_attention},
};

}  // namespace

std::span<const Expansion> flex_attention_expansions() { return kFlexAttention; }

}  // namespace tiercel
