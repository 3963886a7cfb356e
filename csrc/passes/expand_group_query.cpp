// GroupQueryAttention: keys and values written into a cache, then the standard's Attention over it.
#include <limits>

#include "passes/attend.h"

namespace tiercel {
namespace {

// What one node is about. Lengths are int64 [batch], extents int64 [1].
struct Grouped {
  int64_t heads = 0, kv_heads = 0, size = 0;
  ValueId q = kNone, k = kNone, v = kNone;
  ValueId lengths = kNone;  // of all keys of a sequence, with the new ones
  ValueId past = kNone;     // keys before the new ones
  ValueId places = kNone;   // of the new tokens: [batch, sequence]
};

void check_attributes(const Composer& e) {
  e.expect_integer("causal", {0, 1});
  e.expect_integer("qk_output", {0, 1, 2});
  e.expect_integer("sliding_window_cache", {0});
  e.expect_text("k_quant_type", {"NONE", "PER_TENSOR", "PER_CHANNEL"});
  e.expect_text("v_quant_type", {e.text("k_quant_type")});
  if (e.text("k_quant_type") != "NONE") {
    e.expect_integer("kv_cache_bit_width", {4, 8});
    if (!e.has(12) || !e.has(13)) e.fail("k_quant_type needs k_scale and v_scale");
    if (!e.has(3)) e.fail("k_quant_type needs past_key and past_value");
  }
  if (e.integer("causal", 1) == 0 && e.integer("local_window_size", -1) != -1) {
    e.refuse("local_window_size", "-1, as causal is 0");
  }
  if (e.has(3) != e.has(4)) e.fail("past_key and past_value go together");
}

void take_operands(Composer& e, Grouped& g) {
  g.heads = e.integer("num_heads");
  g.kv_heads = e.integer("kv_num_heads");
  if (g.heads < 1) e.refuse("num_heads", "1 or more");
  if (g.kv_heads < 1) e.refuse("kv_num_heads", "1 or more");
  g.q = e.input(0), g.k = e.input(1), g.v = e.input(2);
  const int64_t width = e.known(g.q, 2, "query");
  if (e.has(1) != e.has(2)) e.fail("key and value go together");
  g.size = width / (e.has(1) ? g.heads : g.heads + 2 * g.kv_heads);
  if (e.has(1)) return;
  const int64_t keys = g.kv_heads * g.size;
  const auto parts = e.split(g.q, {g.heads * g.size, keys, keys}, -1);
  g.q = parts[0], g.k = parts[1], g.v = parts[2];
}

ValueId normed(Composer& e, ValueId x, size_t weight, int64_t heads, std::string_view epsilon) {
  if (!e.has(weight)) return x;
  Attributes attributes = with("axis", int64_t{-1});
  attributes.set("epsilon", e.real(epsilon, e.real("qk_norm_epsilon", 1e-6)));
  const ValueId rows = e.reshape(x, {0, 0, heads, -1});
  const ValueId y = e.op("RMSNormalization", {rows, e.input(weight)}, std::move(attributes));
  return e.reshape(y, {0, 0, -1});
}

void place(Composer& e, Grouped& g) {
  const ValueId zero = e.ints({0});
  g.lengths = e.add(e.cast(e.flat(e.input(5)), DType::Int64), e.ints({1}));
  const ValueId fresh = e.has(16) ? e.cast(e.flat(e.input(16)), DType::Int64) : e.extent(g.q, 1);
  g.past = e.op("Max", {e.sub(g.lengths, fresh), zero});
  g.places = e.add(e.unsqueeze(g.past, {1}), e.range(e.extent(g.q, 1)));
}

void turn(Composer& e, Grouped& g) {
  if (!e.flag("do_rotary")) return;
  if (!e.has(7) || !e.has(8)) e.fail("do_rotary is 1, but cos_cache or sin_cache is missing");
  const ValueId places = e.has(9) ? e.input(9) : g.places;
  const bool interleaved = e.flag("rotary_interleaved");
  g.q = rotated(e, g.q, e.input(7), e.input(8), places, g.heads, interleaved);
  g.k = rotated(e, g.k, e.input(7), e.input(8), places, g.kv_heads, interleaved);
}

// The cache with the new rows in their places; it grows where total_sequence_length asks for more.
ValueId written(Composer& e, const Grouped& g, ValueId cache, ValueId fresh) {
  const ValueId total = e.cast(e.flat(e.input(6)), DType::Int64);
  const ValueId more = e.op("Max", {e.sub(total, e.extent(cache, 2)), e.ints({0})});
  const ValueId pads = e.concat_of({e.ints({0, 0, 0, 0, 0, 0}), more, e.ints({0})}, 0);
  return e.op("TensorScatter", {e.op("Pad", {cache, pads}), fresh, g.past},
              with("axis", int64_t{-2}));
}

bool quantised(const Composer& e) { return e.text("k_quant_type") != "NONE"; }

// Rows as the cache holds them: whole steps of the scale, two of 4 bits in a byte.
ValueId as_steps(Composer& e, ValueId x, ValueId scale, DType cache) {
  const bool nibbles = cache == DType::UInt8;
  const ValueId steps = e.op("Round", {e.div(e.cast(x, DType::Float), scale)});
  const auto number = [&](double value) { return e.number(DType::Float, value); };
  const double least = nibbles ? -8 : -128, most = nibbles ? 7 : 127;
  const ValueId whole = e.op("Clip", {steps, number(least), number(most)});
  if (!nibbles) return e.cast(whole, cache);
  const ValueId pairs = e.reshape(e.shifted(whole, 8), {0, 0, 0, -1, 2});
  const auto halves = e.split(pairs, {1, 1}, 4);
  return e.cast(e.squeeze(e.add(halves[0], e.scaled(halves[1], 16)), {4}), cache);
}

ValueId from_steps(Composer& e, ValueId cache, ValueId scale, DType dtype) {
  ValueId steps = e.cast(cache, DType::Float);
  if (e.dtype(cache) == DType::UInt8) {
    const ValueId high = e.op("Floor", {e.scaled(steps, 1.0 / 16)});
    const ValueId low = e.sub(steps, e.scaled(high, 16));
    const ValueId pairs = e.concat_of({e.unsqueeze(low, {4}), e.unsqueeze(high, {4})}, 4);
    steps = e.shifted(e.reshape(pairs, {0, 0, 0, -1}), -8);
  }
  return e.cast(e.mul(steps, scale), dtype);
}

bool has_sink(const Composer& e) { return e.has(11) || e.integer("smooth_softmax", -1) == 1; }

// Which keys each query sees: [batch, 1, queries or 1, keys].
ValueId visible(Composer& e, const Grouped& g, ValueId keys) {
  const ValueId at = e.range(e.extent(keys, 2));
  if (e.integer("causal", 1) == 0) return e.op("Less", {at, e.unsqueeze(g.lengths, {1, 2, 3})});
  const ValueId places = e.unsqueeze(g.places, {1, 3});
  const ValueId before = e.op("LessOrEqual", {at, places});
  const int64_t window = e.integer("local_window_size", -1);
  if (window <= 0) return before;
  return e.op("And", {before, e.op("Greater", {at, e.sub(places, e.ints({window}))})});
}

// The bias over as many keys as the cache has.
ValueId wide_bias(Composer& e, ValueId keys) {
  const ValueId bias = e.input(10);
  const ValueId more = e.sub(e.extent(keys, 2), e.extent(bias, 3));
  return e.op("Pad", {bias, e.concat_of({e.ints({0, 0, 0, 0, 0, 0, 0}), more}, 0)});
}

// What is added to the scores where each head has one more key, whose score is the sink's.
ValueId mask_with_sink(Composer& e, const Grouped& g, ValueId keys) {
  const DType dtype = e.dtype(g.q);
  const double infinity = std::numeric_limits<double>::infinity();
  const ValueId shown = e.has(10) ? wide_bias(e, keys) : e.number(dtype, 0);
  const ValueId mask = e.where(visible(e, g, keys), shown, e.number(dtype, -infinity));
  const ValueId batch = e.extent(g.q, 0), queries = e.extent(g.q, 1), heads = e.ints({g.heads});
  const ValueId rows = e.concat_of({batch, heads, queries}, 0);
  const ValueId all = e.op("Expand", {mask, e.concat_of({rows, e.extent(keys, 2)}, 0)});
  const ValueId score = e.has(11) ? e.reshape(e.input(11), {1, g.heads, 1, 1}) : e.number(dtype, 0);
  return e.concat_of({all, e.op("Expand", {score, e.concat_of({rows, e.ints({1})}, 0)})}, 3);
}

ValueId with_sink(Composer& e, const Grouped& g, ValueId x) {
  const ValueId dims = e.concat_of({e.extent(x, 0), e.ints({g.kv_heads, 1, g.size})}, 0);
  return e.concat_of({x, e.filled(dims, e.dtype(x), 0)}, 2);
}

// Masks by position are left to the kernel; sinks need all of them spelled out.
void take_masks(Composer& e, const Grouped& g, Attended& a) {
  if (has_sink(e)) {
    a.mask = mask_with_sink(e, g, a.k);
    a.k = with_sink(e, g, a.k);
    a.v = with_sink(e, g, a.v);
    return;
  }
  a.mask = e.input(10);
  const int64_t window = e.integer("local_window_size", -1);
  if (window > 0) a.left_window = window - 1;
  a.causal = e.integer("causal", 1) == 1;
  if (!a.causal) a.lengths = g.lengths;
  if (a.causal && e.has(3)) a.lengths = e.add(g.past, e.extent(g.q, 1));
}

bool group_query_attention(Graph& graph, NodeId id) {
  Composer e(graph, id);
  check_attributes(e);
  Grouped g;
  take_operands(e, g);
  place(e, g);
  g.q = normed(e, g.q, 14, g.heads, "q_norm_epsilon");
  g.k = normed(e, g.k, 15, g.kv_heads, "k_norm_epsilon");
  turn(e, g);
  ValueId keys = in_heads(e, g.k, g.kv_heads), values = in_heads(e, g.v, g.kv_heads);
  Attended a{.q = g.q, .k = keys, .v = values, .q_heads = g.heads, .kv_heads = g.kv_heads};
  a.softcap = e.real("softcap");
  if (e.has(3) && quantised(e)) {
    const DType cache = e.dtype(e.input(3)), dtype = e.dtype(g.q);
    keys = written(e, g, e.input(3), as_steps(e, keys, e.input(12), cache));
    values = written(e, g, e.input(4), as_steps(e, values, e.input(13), cache));
    a.k = from_steps(e, keys, e.input(12), dtype);
    a.v = from_steps(e, values, e.input(13), dtype);
  } else if (e.has(3)) {
    a.k = keys = written(e, g, e.input(3), keys);
    a.v = values = written(e, g, e.input(4), values);
  }
  take_masks(e, g, a);
  const int64_t output = e.integer("qk_output");
  if (e.wants(3) && output == 0) e.refuse("qk_output", "1 or 2, as output_qk is wanted");
  if (e.wants(3)) a.scores = output == 1 ? 2 : 3;
  const auto made = attend(e, a);
  ValueId scores = e.wants(3) ? made[3] : kNone;
  if (scores != kNone) {
    const ValueId total = e.cast(e.flat(e.input(6)), DType::Int64);
    scores = e.op("Slice", {scores, e.ints({0}), total, e.ints({3})});
  }
  return e.finish({made[0], keys, values, scores});
}

constexpr Expansion kGroupQuery[] = {
    {"com.microsoft", "GroupQueryAttention", group_query_attention},
};

}  // namespace

std::span<const Expansion> group_query_expansions() { return kGroupQuery; }

}  // namespace tiercel
