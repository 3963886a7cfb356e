// Gated recurrences and causal convolutions of com.microsoft as the standard's own.
#include "passes/compose.h"

namespace tiercel {
namespace {

// A kernel with zeros between its taps: [channels, 1, (k - 1)·dilation + 1].
ValueId dilated(Composer& e, ValueId weight, int64_t dilation) {
  if (dilation == 1) return weight;
  const int64_t taps = e.known(weight, 2, "weight");
  const ValueId apart = e.unsqueeze(weight, {3});
  const ValueId spread = e.op("Pad", {apart, e.ints({0, 0, 0, 0, 0, 0, 0, dilation - 1})});
  return e.slice(e.reshape(spread, {0, 0, taps * dilation}), 2, 0, (taps - 1) * dilation + 1);
}

// [batch, length, d1 … dn] as [batch, d1·…·dn, length].
ValueId by_channels(Composer& e, ValueId x) {
  return e.transpose(e.reshape(x, {0, 0, -1}), {0, 2, 1});
}

bool causal_conv(Graph& graph, NodeId id) {
  Composer e(graph, id);
  e.expect_text("activation", {"none", "silu", "swish"});
  e.expect_integer("ndim", {1});
  e.expect_integer("channels_last", {0, 1});
  for (const char* name : {"state_window", "state_update_capacity", "state_length",
                           "input_channel_offset", "input_channels"}) {
    e.expect_integer(name, {0});
  }
  e.expect_integer("state_channels_last", {-1, e.integer("channels_last")});
  const int64_t dilation = e.integer("dilation", 1);
  if (dilation < 1) e.refuse("dilation", "1 or more");
  const bool last = e.flag("channels_last");
  const auto turned = [&](ValueId x) { return last && x != kNone ? by_channels(e, x) : x; };
  std::vector<ValueId> inputs = {turned(e.input(0)), dilated(e, e.input(1), dilation), e.input(2),
                                 turned(e.input(3))};
  while (inputs.back() == kNone) inputs.pop_back();
  auto made =
      e.ops("CausalConvWithState", std::move(inputs), 2, with("activation", e.text("activation")));
  if (last) {
    const ValueId y = e.transpose(made[0], {0, 2, 1}), state = e.transpose(made[1], {0, 2, 1});
    const ValueId channels = e.op("Shape", {e.input(0)}, with("start", int64_t{2}));
    made[0] = e.reshape_to(y, e.op("Shape", {e.input(0)}));
    const ValueId front = e.op("Shape", {state}, with("end", int64_t{2}));
    made[1] = e.reshape_to(state, e.concat_of({front, channels}, 0));
  }
  return e.finish(made);
}

bool contrib_linear_attention(Graph& graph, NodeId id) {
  Composer e(graph, id);
  e.expect_integer("state_window", {0});
  std::vector<ValueId> inputs = e.node().inputs;
  const int64_t heads = e.integer("q_num_heads"), kv_heads = e.integer("kv_num_heads");
  Attributes attributes = e.attributes_but({"state_window"});
  if (kv_heads > heads) {  // every head of queries and keys serves several of values
    if (heads < 1 || kv_heads % heads != 0) e.refuse("q_num_heads", "a divisor of kv_num_heads");
    const ValueId each = e.unsqueeze(e.reshape(inputs[0], {0, 0, heads, -1}), {3});
    const ValueId all = e.op("Expand", {each, e.ints({1, 1, 1, kv_heads / heads, 1})});
    inputs[0] = e.reshape(all, {0, 0, -1});
    attributes.set("q_num_heads", kv_heads);
  }
  return e.finish(e.ops("LinearAttention", std::move(inputs), 2, std::move(attributes)));
}

bool linear_attention_gate(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const DType dtype = e.dtype(e.input(0));
  const ValueId a = e.add(e.cast(e.input(0), DType::Float), e.input(1));
  const ValueId decay = e.cast(e.mul(e.op("Softplus", {a}), e.input(2)), dtype);
  if (!e.wants(1)) return e.finish({decay});
  if (!e.has(3)) e.fail("output beta is wanted, but input b is missing");
  return e.finish({decay, e.sigmoid(e.input(3))});
}

constexpr Expansion kRecurrence[] = {
    {"com.microsoft", "CausalConvWithState", causal_conv},
    {"com.microsoft", "LinearAttention", contrib_linear_attention},
    {"com.microsoft", "LinearAttentionGate", linear_attention_gate},
};

}  // namespace

std::span<const Expansion> contrib_recurrence_expansions() { return kRecurrence; }

}  // namespace tiercel
