// GatedDeltaNet: the standard's LinearAttention with its gates, norms and states laid out by
// values.
#include "passes/compose.h"

namespace tiercel {
namespace {

// Operands as [batch, sequence, heads, size] in float.
struct Delta {
  ValueId q = kNone, k = kNone, v = kNone;
  int64_t heads = 0, kv_heads = 0, size = 0, value_size = 0;
  ValueId batch = kNone;  // int64 [1]
  bool by_batch = false;  // the operands say what the batch is
};

void check_delta(const Composer& e) {
  e.expect_text("update_rule", {"linear", "gated", "delta", "gated_delta"});
  e.expect_text("gate_activation", {"none", "softplus", "qwen", "sigmoid", "kda"});
  e.expect_text("beta_activation", {"none", "sigmoid"});
  e.expect_integer("state_update_capacity", {0});
  e.expect_none(3, "cu_seqlens");
  if (e.wants(2)) e.fail("output state_update is wanted; expected state_update_capacity above 0");
}

// [tokens, …] as [batch, sequence, …]; the axes behind are given by `dims`.
ValueId by_sequence(Composer& e, const Delta& d, ValueId x, const std::vector<int64_t>& dims) {
  std::vector<int64_t> rest = {-1};
  rest.insert(rest.end(), dims.begin(), dims.end());
  return e.reshape_to(e.cast(x, DType::Float), e.concat_of({d.batch, e.ints(rest)}, 0));
}

// Heads and sizes from the operands, or from the state where they are packed into one.
Delta delta_of(Composer& e) {
  Delta d;
  const int64_t rank = e.rank(e.input(0), "query");
  const bool packed = !e.has(1);
  d.by_batch = rank == (packed ? 3 : 4);
  if (!d.by_batch && !e.has(6)) e.fail("initial_state is missing; expected it to tell the batch");
  d.batch = e.extent(d.by_batch ? e.input(0) : e.input(6), 0);
  if (!packed) {
    d.heads = e.known(e.input(0), -2, "query");
    d.size = e.known(e.input(0), -1, "query");
    d.kv_heads = e.known(e.input(2), -2, "value");
    d.value_size = e.known(e.input(2), -1, "value");
    d.q = by_sequence(e, d, e.input(0), {d.heads, d.size});
    d.k = by_sequence(e, d, e.input(1), {d.heads, d.size});
    d.v = by_sequence(e, d, e.input(2), {d.kv_heads, d.value_size});
    return d;
  }
  if (!e.has(6)) e.fail("initial_state is missing; expected it to tell the heads");
  d.kv_heads = e.known(e.input(6), 1, "initial_state");
  d.value_size = e.known(e.input(6), 2, "initial_state");
  d.size = e.known(e.input(6), 3, "initial_state");
  const int64_t width = e.known(e.input(0), -1, "query"), values = d.kv_heads * d.value_size;
  d.heads = (width - values) / (2 * d.size);
  const int64_t keys = d.heads * d.size;
  const auto parts = e.split(e.input(0), {keys, keys, values}, -1);
  d.q = by_sequence(e, d, parts[0], {d.heads, d.size});
  d.k = by_sequence(e, d, parts[1], {d.heads, d.size});
  d.v = by_sequence(e, d, parts[2], {d.kv_heads, d.value_size});
  return d;
}

// Queries or keys, normalised where that is asked for, one head for each of the values.
ValueId head_each(Composer& e, const Delta& d, ValueId x) {
  if (e.flag("qk_l2_norm")) {
    const ValueId squares = e.reduce("ReduceSumSquare", x, {-1});
    x = e.div(x, e.op("Sqrt", {e.shifted(squares, 1e-6)}));
  }
  if (d.heads < 1 || d.kv_heads % d.heads != 0) {
    e.fail(concat(d.kv_heads, " heads of values for ", d.heads, " of queries"));
  }
  if (d.heads != d.kv_heads) {
    const std::vector<int64_t> each = {1, 1, 1, d.kv_heads / d.heads, 1};
    x = e.op("Expand", {e.unsqueeze(x, {3}), e.ints(each)});
  }
  return e.reshape(x, {0, 0, d.kv_heads * d.size});
}

// The effective decay [batch, sequence, heads or heads·size], in float.
ValueId decay_of(Composer& e, const Delta& d) {
  const bool by_key = e.known(e.input(4), -1, "decay") == d.size &&
                      e.rank(e.input(4), "decay") == (d.by_batch ? 4 : 3);
  const std::vector<int64_t> dims = {d.kv_heads, by_key ? d.size : 1};
  ValueId x = by_sequence(e, d, e.input(4), dims);
  const std::string name = e.text("gate_activation");
  if (name != "none") {
    if (!e.has(7) || !e.has(8)) e.fail("gate_activation needs a_log and dt_bias");
    const ValueId rate = e.op("Exp", {e.reshape(e.input(7), {d.kv_heads, 1})});
    x = e.add(x, e.reshape(e.input(8), {d.kv_heads, -1}));
    x = name == "softplus" || name == "qwen"
            ? e.mul(e.op("Neg", {rate}), e.op("Softplus", {x}))
            : e.scaled(e.sigmoid(e.mul(rate, x)), e.real("gate_lower_bound", -5));
  }
  return e.reshape(x, {0, 0, d.kv_heads * dims[1]});
}

bool gated_delta_net(Graph& graph, NodeId id) {
  Composer e(graph, id);
  check_delta(e);
  const Delta d = delta_of(e);
  const std::string rule = e.text("update_rule");
  const bool gated = rule.starts_with("gated"), delta = rule.ends_with("delta");
  if (gated && !e.has(4)) e.fail("update_rule needs input decay");
  if (delta && !e.has(5)) e.fail("update_rule needs input beta");
  std::vector<ValueId> inputs = {head_each(e, d, d.q),
                                 head_each(e, d, d.k),
                                 e.reshape(d.v, {0, 0, d.kv_heads * d.value_size}),
                                 kNone,
                                 gated ? decay_of(e, d) : kNone,
                                 kNone};
  if (e.has(6)) inputs[3] = e.transpose(e.input(6), {0, 1, 3, 2});
  if (delta) {
    const ValueId beta = by_sequence(e, d, e.input(5), {d.kv_heads});
    inputs[5] = e.text("beta_activation") == "sigmoid" ? e.sigmoid(beta) : beta;
  }
  Attributes attributes = with("update_rule", rule);
  attributes.set("q_num_heads", d.kv_heads);
  attributes.set("kv_num_heads", d.kv_heads);
  attributes.set("scale", e.real("scale"));
  const auto made = e.ops("LinearAttention", std::move(inputs), 2, std::move(attributes));
  ValueId y = e.reshape(made[0], {0, 0, d.kv_heads, d.value_size});
  if (!d.by_batch) y = e.reshape(y, {-1, d.kv_heads, d.value_size});
  return e.finish({e.cast(y, e.dtype(e.input(0))), e.transpose(made[1], {0, 1, 3, 2})});
}

constexpr Expansion kDeltaNet[] = {
    {"com.microsoft", "GatedDeltaNet", gated_delta_net},
};

}  // namespace

std::span<const Expansion> delta_net_expansions() { return kDeltaNet; }

}  // namespace tiercel
