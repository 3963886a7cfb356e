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

// Packed requests: where each token's request begins, and which it is.
struct Requests {
  ValueId starts, ends;  // int64 [batch]
  ValueId which, place;  // of each token [tokens]: its request, its place there
};

Requests requests_of(Composer& e, ValueId tokens, ValueId bounds) {
  const ValueId all = e.cast(bounds, DType::Int64);
  Requests r{};
  r.starts = e.op("Slice", {all, e.ints({0}), e.ints({-1}), e.ints({0})});
  r.ends = e.op("Slice", {all, e.ints({1}), e.ints({INT64_MAX}), e.ints({0})});
  const ValueId at = e.range(e.extent(tokens, 0));
  const ValueId over = e.op("GreaterOrEqual", {e.unsqueeze(at, {1}), r.ends});
  r.which = e.reduce("ReduceSum", e.cast(over, DType::Int64), {1}, 0);
  r.place = e.sub(at, e.gather(r.starts, r.which, 0));
  return r;
}

// What lies at `place` of the requests `which`: a token, or before the first one a row of the
// state [batch, channels, length].
ValueId sample_at(Composer& e, const Requests& r, ValueId which, ValueId place, int64_t length) {
  const ValueId zero = e.ints({0});
  const ValueId row = e.add(e.gather(r.starts, which, 0), e.op("Max", {place, zero}));
  const ValueId token = e.gather(e.input(0), row, 0);
  if (length == 0) return token;
  const ValueId back = e.op("Min", {e.add(place, e.ints({length})), e.ints({length - 1})});
  const ValueId cells =
      e.concat_of({e.unsqueeze(which, {1}), e.unsqueeze(e.op("Max", {back, zero}), {1})}, 1);
  const ValueId kept = e.op("GatherND", {e.transpose(e.input(4), {0, 2, 1}), cells});
  return e.where(e.unsqueeze(e.op("Less", {place, zero}), {1}), kept, token);
}

bool packed_causal_conv(Graph& graph, NodeId id) {
  Composer e(graph, id);
  e.expect_text("activation", {"none", "silu", "swish"});
  e.expect_integer("state_update_capacity", {0});
  e.expect_none(6, "kernel_delta");
  const int64_t dilation = e.integer("dilation", 1);
  if (dilation < 1) e.refuse("dilation", "1 or more");
  const int64_t taps = e.known(e.input(1), 2, "weight"), length = (taps - 1) * dilation;
  const Requests r = requests_of(e, e.input(0), e.input(2));
  const DType dtype = e.dtype(e.input(0));
  ValueId y = e.has(3) ? e.cast(e.input(3), DType::Float) : kNone;
  for (int64_t tap = 0; tap < taps; ++tap) {
    const ValueId place = e.sub(r.place, e.ints({length - tap * dilation}));
    const ValueId x = e.cast(sample_at(e, r, r.which, place, length), DType::Float);
    const ValueId weight = e.flat(e.slice(e.input(1), 2, tap, tap + 1));
    y = e.sum(y, e.mul(x, e.cast(weight, DType::Float)));
  }
  if (e.text("activation") != "none") y = e.silu(y);
  // The last rows of every request, one after the other.
  const ValueId requests = e.range(e.extent(e.input(4), 0));
  const ValueId each = e.op("Expand", {e.unsqueeze(requests, {1}), e.ints({1, length})});
  const ValueId lengths = e.unsqueeze(e.sub(r.ends, r.starts), {1});
  const ValueId last = e.add(lengths, e.sub(e.range(e.ints({length})), e.ints({length})));
  const ValueId rows = sample_at(e, r, e.flat(each), e.flat(last), length);
  const ValueId state =
      e.reshape_to(rows, e.concat_of({e.extent(e.input(4), 0), e.ints({length, -1})}, 0));
  return e.finish({e.cast(y, dtype), e.transpose(state, {0, 2, 1})});
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
    {"com.microsoft", "VarlenCausalConvWithState", packed_causal_conv},
    {"com.microsoft", "LinearAttention", contrib_linear_attention},
    {"com.microsoft", "LinearAttentionGate", linear_attention_gate},
};

}  // namespace

std::span<const Expansion> contrib_recurrence_expansions() { return kRecurrence; }

}  // namespace tiercel
