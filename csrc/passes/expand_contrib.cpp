// Activations, biases and dropout of com.microsoft as standard nodes.
#include <array>
#include <cmath>

#include "passes/activate.h"

namespace tiercel {

ValueId activated(Composer& e, ValueId x, const std::string& name,
                  const std::vector<double>& params) {
  if (name.empty()) return x;
  const auto param = [&](size_t i, double fallback) {
    return i < params.size() ? params[i] : fallback;
  };
  if (name == "Clip") {
    return e.op("Clip", {x, e.number(e.dtype(x), param(0, -HUGE_VAL)),
                         e.number(e.dtype(x), param(1, HUGE_VAL))});
  }
  if (name == "LeakyRelu") return e.op(name, {x}, with("alpha", param(0, 0.01)));
  if (name == "Elu" || name == "ThresholdedRelu")
    return e.op(name, {x}, with("alpha", param(0, 1)));
  if (name == "HardSigmoid") {
    Attributes attributes = with("alpha", param(0, 0.2));
    attributes.set("beta", param(1, 0.5));
    return e.op(name, {x}, std::move(attributes));
  }
  for (const char* plain : {"Relu", "Sigmoid", "Tanh", "HardSwish", "Softplus", "Softsign"}) {
    if (name == plain) return e.op(name, {x});
  }
  e.refuse("activation",
           "one of Clip, Elu, HardSigmoid, HardSwish, LeakyRelu, Relu, Sigmoid, Softplus, "
           "Softsign, Tanh, ThresholdedRelu");
}

ValueId activated_by_name(Composer& e, ValueId x) {
  std::vector<double> params;
  if (e.node().attributes.find("activation_alpha")) {
    params.push_back(e.real("activation_alpha"));
    if (e.node().attributes.find("activation_beta")) params.push_back(e.real("activation_beta"));
  }
  return activated(e, x, e.text("activation"), params);
}

ValueId activated_by_params(Composer& e, ValueId x) {
  const auto* params = e.node().attributes.get<std::vector<double>>("activation_params");
  return activated(e, x, e.text("activation"), params ? *params : std::vector<double>{});
}

namespace {

const std::string kTanh = "tanh";

bool gelu(Graph& graph, NodeId id) {
  Composer e(graph, id);
  return e.finish({e.op("Gelu", {e.input(0)})});
}

bool bias_gelu(Graph& graph, NodeId id) {
  Composer e(graph, id);
  return e.finish({e.op("Gelu", {e.add(e.input(0), e.input(1))})});
}

bool fast_gelu(Graph& graph, NodeId id) {
  Composer e(graph, id);
  return e.finish({e.op("Gelu", {e.sum(e.input(0), e.input(1))}, with("approximate", kTanh))});
}

bool quick_gelu(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const ValueId x = e.input(0);
  return e.finish({e.mul(x, e.sigmoid(e.scaled(x, e.real("alpha", 1.702))))});
}

bool bias_add(Graph& graph, NodeId id) {
  Composer e(graph, id);
  return e.finish({e.add(e.add(e.input(0), e.input(1)), e.input(2))});
}

// The left half times the GELU of the right one.
bool bias_split_gelu(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const int64_t width = e.known(e.input(1), 0, "bias");
  if (width % 2 != 0) e.fail(concat("bias has ", width, " elements; expected an even number"));
  const auto halves = e.split(e.add(e.input(0), e.input(1)), {width / 2, width / 2}, -1);
  return e.finish({e.mul(halves[0], e.op("Gelu", {halves[1]}))});
}

// The bias lacks the axes that it is repeated along: those in front of `axis`, or those before
// them. Softmax runs over `axis` and all that follow.
bool bias_softmax(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const ValueId x = e.input(0);
  const int64_t rank = e.rank(x, "data");
  int64_t axis = e.integer("axis", 1);
  if (axis < 0) axis += rank;
  if (axis < 0 || axis >= rank) e.refuse("axis", concat("an axis of data, which has rank ", rank));
  const ValueId y = e.add(x, e.input(1));
  const ValueId rows =
      e.reshape_to(y, e.concat_of({e.op("Shape", {y}, with("end", axis)), e.ints({-1})}, 0));
  return e.finish(
      {e.reshape_to(e.op("Softmax", {rows}, with("axis", int64_t{-1})), e.op("Shape", {x}))});
}

// Nothing is dropped where nothing is trained.
ValueId kept(Composer& e, size_t training, ValueId x) {
  if (!e.has(training)) return x;
  const Tensor* mode = e.graph().constant(e.input(training));
  if (!mode || mode->size() != 1) e.fail("training_mode is not a constant; expected false");
  if (*mode->data<bool>()) e.fail("training_mode is true; expected false");
  return x;
}

bool bias_dropout(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const ValueId x = kept(e, 4, e.add(e.input(0), e.input(1)));
  const uint8_t yes = 1;
  const ValueId mask =
      e.wants(1) ? e.op("ConstantOfShape", {e.op("Shape", {x})},
                        with("value", Tensor::of<uint8_t>(DType::Bool, {1}, std::span(&yes, 1))))
                 : kNone;
  return e.finish({e.sum(x, e.input(2)), mask});
}

bool bitmask_bias_dropout(Graph& graph, NodeId id) {
  Composer e(graph, id);
  if (e.wants(1)) e.fail("output mask is wanted; expected that only training asks for it");
  return e.finish({e.sum(kept(e, 4, e.add(e.input(0), e.input(1))), e.input(2))});
}

bool bitmask_dropout(Graph& graph, NodeId id) {
  Composer e(graph, id);
  if (e.wants(1)) e.fail("output mask is wanted; expected that only training asks for it");
  return e.finish({e.op("Identity", {kept(e, 2, e.input(0))})});
}

bool gated_add(Graph& graph, NodeId id) {
  Composer e(graph, id);
  ValueId gate = e.input(2);
  if (e.has(3)) {  // rounded at each step, as the definition says
    const auto rounded = [&](ValueId x) {
      return e.cast(e.cast(x, DType::BFloat16), DType::Float);
    };
    const auto wide = [&](size_t i) { return e.cast(e.input(i), DType::Float); };
    const ValueId s = rounded(e.sigmoid(rounded(e.mat_mul(wide(2), wide(3)))));
    const ValueId y = e.add(wide(0), rounded(e.mul(wide(1), s)));
    return e.finish({e.cast(y, e.dtype(e.input(0)))});
  }
  return e.finish({e.add(e.input(0), e.mul(e.input(1), gate))});
}

// x times its scale, rounded, times the sigmoid of that.
bool scaled_silu(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const DType dtype = e.dtype(e.input(0));
  const ValueId x = e.cast(e.input(0), DType::Float);
  const ValueId scale = e.has(1) ? e.scalar_of(e.cast(e.input(1), DType::Float))
                                 : e.number(DType::Float, e.real("alpha", 1));
  return e.finish({e.silu(e.cast(e.mul(x, scale), dtype))});
}

bool swiglu(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const DType dtype = e.dtype(e.input(0));
  ValueId gate = e.input(0), up = e.input(1);
  if (!e.has(1)) {
    const int64_t width = e.known(gate, -1, "gate");
    if (width % 2 != 0) e.fail(concat("gate is ", width, " wide; expected an even width"));
    const auto halves = e.split(gate, {width / 2, width / 2}, -1);
    gate = halves[0];
    up = halves[1];
  }
  gate = e.cast(gate, DType::Float);
  up = e.cast(up, DType::Float);
  if (const double limit = e.real("limit"); limit > 0) {
    gate = e.op("Min", {gate, e.number(DType::Float, limit)});
    up = e.op("Clip", {up, e.number(DType::Float, -limit), e.number(DType::Float, limit)});
  }
  ValueId y = e.mul(gate, e.sigmoid(e.scaled(gate, e.real("activation_alpha", 1))));
  if (e.flag("round_activation")) y = e.cast(e.cast(y, dtype), DType::Float);
  return e.finish({e.cast(e.mul(y, e.shifted(up, e.real("activation_beta"))), dtype)});
}

constexpr Expansion kContrib[] = {
    {"com.microsoft", "Gelu", gelu},
    {"com.microsoft", "BiasGelu", bias_gelu},
    {"com.microsoft", "FastGelu", fast_gelu},
    {"com.microsoft", "QuickGelu", quick_gelu},
    {"com.microsoft", "BiasAdd", bias_add},
    {"com.microsoft", "BiasSplitGelu", bias_split_gelu},
    {"com.microsoft", "BiasSoftmax", bias_softmax},
    {"com.microsoft", "BiasDropout", bias_dropout},
    {"com.microsoft", "BitmaskBiasDropout", bitmask_bias_dropout},
    {"com.microsoft", "BitmaskDropout", bitmask_dropout},
    {"com.microsoft", "GatedAdd", gated_add},
    {"com.microsoft", "ScaledSiLU", scaled_silu},
    {"com.microsoft", "SwiGLU", swiglu},
};

}  // namespace

std::span<const Expansion> contrib_expansions() { return kContrib; }

}  // namespace tiercel
