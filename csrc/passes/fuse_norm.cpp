// Rules for normalisations over the last axis that frameworks export as means, powers and roots.
#include "passes/edit.h"
#include "passes/rules.h"

namespace tiercel::passes {

namespace {

using pattern::Match;
using pattern::P;
using pattern::Rule;

bool mean_over_last_axis(const Graph& graph, const Node& node) {
  const std::optional<int64_t> rank = rank_of(graph, node.inputs[0]);
  if (!rank || attr_int(node, "keepdims", 1) != 1 || !has_input(node, 1)) return false;
  const std::optional<std::vector<int64_t>> axes = integers(graph, node.inputs[1]);
  return axes && axes->size() == 1 && ((*axes)[0] == -1 || (*axes)[0] == *rank - 1);
}

P Mean(const P& x) { return P::op("ReduceMean", {x}, mean_over_last_axis); }
P Sqrt(const P& x) { return P::op("Sqrt", {x}); }
P Square(const P& x) { return P::either({P::op("Pow", {x, 2}), x * x}); }
P Reciprocal(const P& x) { return P::op("Reciprocal", {x}); }

// Weight and bias have one element per element of the last axis.
std::optional<std::string> weights_span_last_axis(const Graph& graph, const Match& match) {
  const Shape* x = shape_of(graph, match["x"]);
  if (!x || x->empty()) return "x has no known rank";
  for (const char* name : {"weight", "bias"}) {
    const auto it = match.variables.find(name);
    if (it == match.variables.end()) continue;
    const Shape* shape = shape_of(graph, it->second);
    if (!shape || shape->size() != 1 || !(*shape)[0].same(x->back())) {
      return std::string(name) + " does not have the shape of the last axis";
    }
    if (graph.value(it->second).type.dtype != graph.value(match["x"]).type.dtype) {
      return std::string(name) + " has another element type than x";
    }
  }
  return std::nullopt;
}

// a / sqrt(b), in the ways it is written.
P over_root(const P& a, const P& b) {
  const P root = Sqrt(b);
  return P::either({a / root, a * Reciprocal(root), a * (P(1) / root)});
}

}  // namespace

std::vector<Rule> norm_rules() {
  const P x = P::variable("x");
  const P weight = P::variable("weight");
  const P bias = P::variable("bias");
  const P epsilon = P::variable("epsilon", true);
  const P centred = x - Mean(x);
  const P normal = over_root(centred, Mean(Square(centred)) + epsilon);
  const P scaled = over_root(x, Mean(Square(x)) + epsilon);
  const auto layer_norm = [&](std::vector<P> operands) {
    return P::op("LayerNormalization", std::move(operands))
        .with("axis", int64_t{-1})
        .with_scalar("epsilon", epsilon);
  };
  const P rms = P::op("RMSNormalization", {x, weight})
                    .with("axis", int64_t{-1})
                    .with_scalar("epsilon", epsilon);
  return {
      {"layer-norm", normal * weight + bias, layer_norm({x, weight, bias}), weights_span_last_axis},
      {"layer-norm-without-bias", normal * weight, layer_norm({x, weight}), weights_span_last_axis},
      {"rms-norm", scaled * weight, rms, weights_span_last_axis},
  };
}

}  // namespace tiercel::passes
