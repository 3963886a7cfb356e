// Dropout as nothing, or as a draw of the elements that stay; CastLike as the Cast that it is.
#include <array>

#include "passes/expand.h"

namespace tiercel {
namespace {

ValueId all_true(Expander& e, ValueId like) {
  Attributes value;
  value.set("value", Tensor::of<bool>(DType::Bool, {1}, std::array{true}));
  return e.op("ConstantOfShape", {e.op("Shape", {like})}, std::move(value));
}

// Each element stays with probability 1 - ratio, and is then divided by it.
std::vector<ValueId> drawn(Expander& e, ValueId training) {
  const ValueId x = e.input(0);
  const ValueId one = e.number(DType::Float, 1);
  const ValueId ratio = e.has(1) ? e.cast(e.input(1), DType::Float) : e.number(DType::Float, 0.5);
  const ValueId kept = e.op("Where", {training, e.op("Sub", {one, ratio}), one});
  Attributes draw;
  draw.set("dtype", static_cast<int64_t>(DType::Bool));
  if (const auto* seed = e.node().attributes.get<int64_t>("seed")) {
    draw.set("seed", static_cast<double>(*seed));
  }
  const ValueId chances = e.op("Expand", {kept, e.op("Shape", {x})});
  const ValueId mask = e.op("Bernoulli", {chances}, std::move(draw));
  // 8-bit floats are scaled in float.
  const DType wide = dtype_bits(e.dtype(x)) == 8 ? DType::Float : e.dtype(x);
  const ValueId scaled = e.op("Div", {e.cast(x, wide), e.cast(kept, wide)});
  const ValueId y = e.op("Where", {mask, scaled, e.number(wide, 0)});
  return {e.cast(y, e.dtype(x)), mask};
}

bool dropout(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const bool trains = e.has(2) && scalar(graph, e.input(2)).value_or(1) != 0;
  if (trains) return e.finish(drawn(e, e.input(2)));
  const ValueId mask = e.wants(1) ? all_true(e, e.input(0)) : kNone;
  return e.finish({e.op("Identity", {e.input(0)}), mask});
}

bool cast_like(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const DType to = e.dtype(e.input(1));
  if (to == DType::Undefined || to == DType::String || e.dtype(e.input(0)) == DType::String) {
    return false;
  }
  Attributes attributes = e.node().attributes;
  attributes.set("to", static_cast<int64_t>(to));
  return e.finish({e.op("Cast", {e.input(0)}, std::move(attributes))});
}

constexpr Expansion kElementwiseExpansions[] = {{"", "Dropout", dropout},
                                                {"", "CastLike", cast_like}};

}  // namespace

std::span<const Expansion> elementwise_expansions() { return kElementwiseExpansions; }

}  // namespace tiercel
