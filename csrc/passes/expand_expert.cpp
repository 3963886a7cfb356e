// Mixtures of experts: each expert runs over the tokens that are sent to it.
#include <limits>

#include "passes/packed_weight.h"

namespace tiercel {
namespace {

// The three projections of all experts, and how one is cut out of a tensor [experts, …].
struct Experts {
  size_t fc1, fc2, fc3;                          // inputs with the weights
  size_t bias1, bias2, bias3;                    // and with the biases
  size_t scales1 = 0, scales2 = 0, scales3 = 0;  // of quantised weights
  size_t zeros1 = 0, zeros2 = 0, zeros3 = 0;
};

// What belongs to one expert: a view of a constant, else a slice.
ValueId of_expert(Composer& e, size_t input, int64_t expert, std::string_view name) {
  const ValueId all = e.input(input);
  const Tensor* known = e.graph().constant(all);
  if (!known) return e.squeeze(e.slice(all, 0, expert, expert + 1), {0});
  if (known->rank() < 1 || expert >= known->dims()[0]) {
    e.fail(concat(std::string(name), " has no expert ", expert));
  }
  Dims dims(known->dims().begin() + 1, known->dims().end());
  const int64_t bytes = known->bytes() / known->dims()[0];
  auto* from = static_cast<std::byte*>(known->raw()) + expert * bytes;
  return e.constant(Tensor(known->dtype(), std::move(dims), known->buffer(), from));
}

int64_t bits_of(const Composer& e, std::string_view own) {
  const int64_t bits = e.integer(own);
  return bits != 0 ? bits : e.integer("expert_weight_bits", 4);
}

// The weights [n, k] of one expert's projection.
ValueId weights_of(Composer& e, int64_t expert, size_t input, size_t scales, size_t zeros,
                   std::string_view bits_name) {
  const ValueId own = of_expert(e, input, expert, "the weights");
  if (scales == 0) return own;
  Blocked w{.bytes = own, .scales = of_expert(e, scales, expert, "the scales")};
  w.bits = bits_of(e, bits_name);
  w.n = e.known(own, 0, "the weights");
  w.k = e.known(own, 1, "the weights") * 8 / w.bits;
  w.block = e.integer("block_size") > 0 ? e.integer("block_size") : w.k;
  if (e.has(zeros)) w.zeros = of_expert(e, zeros, expert, "the zero points");
  return widened(e, w);
}

ValueId projected(Composer& e, ValueId x, ValueId weights, size_t bias, int64_t expert) {
  const ValueId y = e.mat_mul(x, e.transpose(weights, {1, 0}));
  return e.has(bias) ? e.add(y, of_expert(e, bias, expert, "the bias")) : y;
}

ValueId gated(Composer& e, ValueId gate, ValueId up) {
  const DType dtype = e.dtype(gate);
  if (e.text("activation_type") == "geglu") {
    return e.mul(e.op("Gelu", {gate}, with("approximate", std::string("tanh"))), up);
  }
  if (e.node().attributes.find("swiglu_limit")) {
    const double limit = e.real("swiglu_limit");
    gate = e.op("Min", {gate, e.number(dtype, limit)});
    up = e.op("Clip", {up, e.number(dtype, -limit), e.number(dtype, limit)});
  }
  const ValueId open = e.mul(gate, e.sigmoid(e.scaled(gate, e.real("activation_alpha", 1))));
  return e.mul(open, e.shifted(up, e.real("activation_beta")));
}

ValueId activated_alone(Composer& e, ValueId x) {
  const std::string name = e.text("activation_type");
  if (name == "relu") return e.op("Relu", {x});
  if (name == "gelu") return e.op("Gelu", {x}, with("approximate", std::string("tanh")));
  if (name == "silu") return e.silu(x);
  if (name == "relu2") return e.mul(e.op("Relu", {x}), e.op("Relu", {x}));
  return x;
}

// What one expert makes of its tokens.
ValueId through_expert(Composer& e, const Experts& x, ValueId tokens, int64_t expert) {
  const ValueId first = weights_of(e, expert, x.fc1, x.scales1, x.zeros1, "fc1_expert_weight_bits");
  ValueId y = projected(e, tokens, first, x.bias1, expert);
  const std::string name = e.text("activation_type");
  const bool gate = name == "swiglu" || name == "geglu";
  ValueId up = kNone;
  if (e.has(x.fc3)) {
    const ValueId third =
        weights_of(e, expert, x.fc3, x.scales3, x.zeros3, "fc3_expert_weight_bits");
    up = projected(e, tokens, third, x.bias3, expert);
  }
  if (gate && up == kNone) {
    e.expect_integer("swiglu_fusion", {1, 2});
    const int64_t width = e.known(y, 1, "the gated projection") / 2;
    if (e.integer("swiglu_fusion") == 2) {
      const auto halves = e.split(y, {width, width}, 1);
      y = gated(e, halves[0], halves[1]);
    } else {
      const auto pairs = e.split(e.reshape(y, {-1, width, 2}), {1, 1}, 2);
      y = gated(e, e.squeeze(pairs[0], {2}), e.squeeze(pairs[1], {2}));
    }
  } else if (gate) {
    y = gated(e, y, up);
  } else {
    y = activated_alone(e, y);
    if (up != kNone) y = e.mul(y, up);
  }
  const ValueId second =
      weights_of(e, expert, x.fc2, x.scales2, x.zeros2, "fc2_expert_weight_bits");
  return projected(e, y, second, x.bias2, expert);
}

// The chosen experts of each token and what each of them counts, [tokens, k]: its part of the
// softmax over all experts, over those that are `chosen`, or its weight.
std::pair<ValueId, ValueId> routed(Composer& e, ValueId scores, ValueId weights, bool chosen) {
  const ValueId k = e.ints({e.integer("k", 1)});
  const bool normalised = e.flag("normalize_routing_weights");
  const auto best = e.ops("TopK", {scores, k}, 2, with("axis", int64_t{-1}));
  ValueId counts = best[0];
  if (weights != kNone) {
    counts = e.op("GatherElements", {weights, best[1]}, with("axis", int64_t{1}));
    if (normalised) counts = e.div(counts, e.reduce("ReduceSum", counts, {1}));
  } else if (normalised || chosen) {
    counts = e.op("Softmax", {counts}, with("axis", int64_t{-1}));
  } else {
    const ValueId all = e.op("Softmax", {scores}, with("axis", int64_t{-1}));
    counts = e.op("GatherElements", {all, best[1]}, with("axis", int64_t{1}));
  }
  return {best[1], counts};
}

bool mixture(Composer& e, const Experts& x, ValueId weights) {
  e.expect_text("activation_type",
                {"relu", "gelu", "silu", "swiglu", "identity", "relu2", "geglu"});
  e.expect_integer("use_sparse_mixer", {0});
  e.expect_integer("swiglu_limit_after_activation", {0});
  const int64_t experts = e.known(e.input(x.fc1), 0, "fc1_experts_weights");
  const ValueId dims = e.op("Shape", {e.input(0)});
  const ValueId hidden = e.extent(e.input(0), -1);
  const ValueId tokens = e.reshape_to(e.input(0), e.concat_of({e.ints({-1}), hidden}, 0));
  const auto [chosen, counts] = routed(e, e.input(1), weights, x.scales1 != 0);
  ValueId y = e.filled(e.op("Shape", {tokens}), e.dtype(tokens), 0);
  for (int64_t expert = 0; expert < experts; ++expert) {
    const ValueId mine = e.op("Equal", {chosen, e.constant(Tensor::scalar_i64(expert))});
    // Rows and columns of the table where this expert was chosen.
    const auto at = e.split(e.op("NonZero", {mine}), {1, 1}, 0);
    const ValueId rows = e.flat(at[0]);
    const ValueId places = e.transpose(e.concat_of({at[0], at[1]}, 0), {1, 0});
    const ValueId count = e.unsqueeze(e.op("GatherND", {counts, places}), {1});
    const ValueId out = through_expert(e, x, e.gather(tokens, rows, 0), expert);
    y = e.op("ScatterND", {y, e.unsqueeze(rows, {1}), e.mul(out, count)},
             with("reduction", std::string("add")));
  }
  return e.finish({e.reshape_to(y, dims)});
}

bool mixture_of_experts(Graph& graph, NodeId id) {
  Composer e(graph, id);
  return mixture(e, {.fc1 = 2, .fc2 = 4, .fc3 = 6, .bias1 = 3, .bias2 = 5, .bias3 = 7}, kNone);
}

bool quantized_mixture(Graph& graph, NodeId id) {
  Composer e(graph, id);
  e.expect_text("quant_type", {"int"});
  for (const char* name : {"expert_weight_bits", "fc1_expert_weight_bits", "fc2_expert_weight_bits",
                           "fc3_expert_weight_bits"}) {
    e.expect_integer(name, {2, 4, 8});
  }
  for (size_t input = 15; input < 21; ++input) e.expect_none(input, concat(input, ", a scale"));
  return mixture(e,
                 {.fc1 = 2,
                  .fc2 = 5,
                  .fc3 = 8,
                  .bias1 = 4,
                  .bias2 = 7,
                  .bias3 = 10,
                  .scales1 = 3,
                  .scales2 = 6,
                  .scales3 = 9,
                  .zeros1 = 11,
                  .zeros2 = 12,
                  .zeros3 = 13},
                 e.input(14));
}

// Where `values` [tokens, n] has its k largest: [tokens, n] of booleans.
ValueId largest(Composer& e, ValueId values, int64_t k) {
  const auto best = e.ops("TopK", {values, e.ints({k})}, 2, with("axis", int64_t{-1}));
  const ValueId none = e.filled(e.op("Shape", {values}), DType::Float, 0);
  const ValueId ones = e.filled(e.op("Shape", {best[1]}), DType::Float, 1);
  return e.cast(e.op("ScatterElements", {none, best[1], ones}, with("axis", int64_t{1})),
                DType::Bool);
}

// Groups of experts by the sum of their best, then the best experts of the best groups.
bool moe_group_router(Graph& graph, NodeId id) {
  Composer e(graph, id);
  ValueId logits = e.input(0);
  const int64_t experts = e.known(e.input(1), 0, "expert_bias");
  if (e.has(2)) {
    logits = e.mat_mul(e.cast(logits, DType::Float),
                       e.transpose(e.cast(e.input(2), DType::Float), {1, 0}));
  }
  const ValueId s = e.sigmoid(e.reshape(e.cast(logits, DType::Float), {-1, experts}));
  const ValueId biased = e.add(s, e.input(1));
  if (!e.wants(0)) return e.finish({kNone, biased, s});
  const int64_t groups = e.integer("n_group", 1);
  if (groups < 1 || experts % groups != 0) e.refuse("n_group", concat("a divisor of ", experts));
  const int64_t size = experts / groups;
  const ValueId grouped = e.reshape(biased, {-1, groups, size});
  const int64_t summed = std::min(e.integer("group_topk", 2), size);
  const auto best = e.ops("TopK", {grouped, e.ints({summed})}, 2, with("axis", int64_t{-1}));
  const ValueId open =
      largest(e, e.reduce("ReduceSum", best[0], {2}, 0), e.integer("topk_group", 1));
  const double infinity = std::numeric_limits<double>::infinity();
  const ValueId eligible =
      e.where(e.unsqueeze(open, {2}), grouped, e.number(DType::Float, -infinity));
  const ValueId chosen = largest(e, e.reshape(eligible, {-1, experts}), e.integer("top_k"));
  const ValueId log = e.op("Log", {e.op("Max", {s, e.number(DType::Float, 1e-20)})});
  const ValueId y = e.where(chosen, log, e.number(DType::Float, e.real("router_sentinel", -10000)));
  return e.finish({e.cast(y, e.dtype(e.input(0))), biased, s});
}

constexpr Expansion kExpert[] = {
    {"com.microsoft", "MoE", mixture_of_experts},
    {"com.microsoft", "QMoE", quantized_mixture},
    {"com.microsoft", "MoEGroupRouter", moe_group_router},
};

}  // namespace

std::span<const Expansion> expert_expansions() { return kExpert; }

}  // namespace tiercel
