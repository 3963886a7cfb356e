// Rules for activations that frameworks export as several nodes.
#include "passes/edit.h"
#include "passes/rules.h"

namespace tiercel::passes {

namespace {

using pattern::P;
using pattern::Rule;

constexpr double kSqrt2 = 1.4142135623730951;
constexpr double kInvSqrt2 = 0.7071067811865476;
constexpr double kSqrt2OverPi = 0.7978845608028654;

P Erf(const P& x) { return P::op("Erf", {x}); }
P Tanh(const P& x) { return P::op("Tanh", {x}); }
P Pow(const P& x, const P& y) { return P::op("Pow", {x, y}); }
P Softplus(const P& x) { return P::op("Softplus", {x}); }
P Clip(const P& x, const P& low, const P& high) { return P::op("Clip", {x, low, high}); }
P Gelu(const P& x, const char* approximate) {
  return P::op("Gelu", {x}).with("approximate", std::string(approximate));
}

bool sixth_slope(const Graph&, const Node& node) {
  return std::abs(attr_float(node, "alpha", 0.2) - 1.0 / 6) < 1e-6 &&
         attr_float(node, "beta", 0.5) == 0.5;
}

P HardSigmoid(const P& x) { return P::op("HardSigmoid", {x}, sixth_slope); }

std::optional<std::string> x_is_real(const Graph& graph, const pattern::Match& match) {
  const DType dtype = graph.value(match["x"]).type.dtype;
  if (dtype == DType::Float || dtype == DType::Double || dtype == DType::Float16 ||
      dtype == DType::BFloat16) {
    return std::nullopt;
  }
  return "x is not a floating-point tensor";
}

}  // namespace

std::vector<Rule> activation_rules() {
  const P x = P::variable("x");
  const P scaled = P::either({x / kSqrt2, x * kInvSqrt2});
  const P cube = P::either({Pow(x, 3), x * x * x});
  const P inner =
      P::either({(x + cube * 0.044715) * kSqrt2OverPi, x * kSqrt2OverPi * (x * x * 0.044715 + 1),
                 x * kSqrt2OverPi * (Pow(x, 2) * 0.044715 + 1)});
  const P ramp = Clip(x + 3, 0, 6);
  return {
      {"gelu-erf", x * (Erf(scaled) + 1) * 0.5, Gelu(x, "none"), x_is_real},
      {"gelu-tanh", x * (Tanh(inner) + 1) * 0.5, Gelu(x, "tanh"), x_is_real},
      {"mish", x * Tanh(Softplus(x)), P::op("Mish", {x}), x_is_real},
      {"hard-swish", x * HardSigmoid(x), P::op("HardSwish", {x}), x_is_real},
      {"hard-swish-clip", P::either({x * ramp / 6, x * (ramp / 6), x * ramp * (1.0 / 6)}),
       P::op("HardSwish", {x}), x_is_real},
      {"hard-sigmoid-clip", P::either({ramp / 6, ramp * (1.0 / 6)}),
       P::op("HardSigmoid", {x}).with("alpha", 1.0 / 6).with("beta", 0.5), x_is_real},
  };
}

}  // namespace tiercel::passes
