// Attention of com.microsoft, its masks and packed forms as the standard's own.
#include <limits>

#include "passes/attend.h"

namespace tiercel {

std::vector<ValueId> attend(Composer& e, const Attended& a) {
  Attributes attributes = with("q_num_heads", a.q_heads);
  attributes.set("kv_num_heads", a.kv_heads);
  attributes.set("is_causal", int64_t{a.causal});
  if (a.softcap != 0) attributes.set("softcap", a.softcap);
  if (a.left_window >= 0) attributes.set("left_window_size", a.left_window);
  if (a.scores >= 0) attributes.set("qk_matmul_output_mode", a.scores);
  if (const double scale = e.real("scale"); scale != 0) attributes.set("scale", scale);
  std::vector<ValueId> inputs = {a.q, a.k, a.v, a.mask, a.past_key, a.past_value, a.lengths};
  while (inputs.back() == kNone) inputs.pop_back();
  return e.ops("Attention", std::move(inputs), a.scores >= 0 ? 4 : 3, std::move(attributes));
}

ValueId in_heads(Composer& e, ValueId x, int64_t heads) {
  return e.transpose(e.reshape(x, {0, 0, heads, -1}), {0, 2, 1, 3});
}

namespace {

// Keys between the starts and the ends of each row of the batch: [batch, total].
ValueId between(Composer& e, ValueId mask, ValueId batch, ValueId total) {
  const ValueId rows =
      e.reshape_to(e.cast(mask, DType::Int64), e.concat_of({e.ints({-1}), batch}, 0));
  const ValueId ends = e.transpose(e.slice(rows, 0, 0, 1), {1, 0});
  const ValueId none = e.filled(e.concat_of({e.ints({1}), batch}, 0), DType::Int64, 0);
  const ValueId first = e.concat_of({none, e.slice(rows, 0, 1, 2)}, 0);
  const ValueId starts = e.unsqueeze(e.reduce("ReduceMax", first, {0}, 0), {1});
  const ValueId keys = e.range(total);
  return e.op("And", {e.op("Less", {keys, ends}), e.op("GreaterOrEqual", {keys, starts})});
}

}  // namespace

ValueId hiding(Composer& e, ValueId mask, DType dtype, ValueId batch, ValueId total,
               ValueId queries) {
  const int64_t rank = e.rank(mask, "the mask");
  if (rank > 4) e.fail(concat("the mask has rank ", rank, "; expected 1 to 4"));
  ValueId seen = rank == 1 ? between(e, mask, batch, total)
                           : e.op("Greater", {mask, e.number(e.dtype(mask), 0)});
  if (rank < 3) seen = e.unsqueeze(seen, {1, 2});
  if (rank == 3) seen = e.unsqueeze(seen, {1});
  if (rank == 4) {
    const ValueId past = e.sub(total, queries);
    seen = e.op("Slice", {seen, e.concat_of({past, e.ints({0})}, 0), e.concat_of({total, total}, 0),
                          e.ints({2, 3})});
  }
  const double filter = e.real("mask_filter_value", -10000.0);
  return e.where(seen, e.number(dtype, 0), e.number(dtype, filter));
}

namespace {

// What the mask input and the bias add to the scores.
ValueId addend(Composer& e, const Attended& a, ValueId mask, ValueId bias) {
  if (mask == kNone) return bias;
  const bool apart = e.rank(a.k, "key") == 4;
  ValueId total = e.extent(a.k, apart ? 2 : 1);
  if (a.past_key != kNone) total = e.add(total, e.extent(a.past_key, 2));
  const ValueId queries = e.extent(a.q, 1);
  return e.sum(hiding(e, mask, e.dtype(a.q), e.extent(a.q, 0), total, queries), bias);
}

// [batch, sequence, heads, parts, size] as so many of [batch, sequence, hidden].
std::vector<ValueId> unpacked(Composer& e, ValueId x, int64_t parts) {
  const auto pieces = e.split(x, std::vector<int64_t>(static_cast<size_t>(parts), 1), 3);
  std::vector<ValueId> out;
  for (ValueId piece : pieces) out.push_back(e.reshape(piece, {0, 0, -1}));
  return out;
}

// Adds the parts of a bias [hidden + hidden + v_hidden]; keys and values in heads have theirs.
void add_bias(Composer& e, Attended& a, ValueId bias) {
  if (bias == kNone) return;
  const int64_t width = e.known(a.q, -1, "query"), all = e.known(bias, 0, "bias");
  if (all < 2 * width) {
    e.fail(concat("bias has ", all, " elements; expected at least ", 2 * width));
  }
  const auto parts = e.split(bias, {width, width, all - 2 * width}, 0);
  a.q = e.add(a.q, parts[0]);
  if (e.rank(a.k, "key") == 4) return;
  a.k = e.add(a.k, parts[1]);
  a.v = e.add(a.v, parts[2]);
}

// Queries, keys and values from inputs 0 to 2 in any of their forms.
Attended operands_of(Composer& e, int64_t heads) {
  Attended a{
      .q = e.input(0), .k = e.input(1), .v = e.input(2), .q_heads = heads, .kv_heads = heads};
  const int64_t rank = e.rank(a.q, "query");
  if (rank == 5) {
    const auto parts = unpacked(e, a.q, 3);
    a.q = parts[0], a.k = parts[1], a.v = parts[2];
  } else if (!e.has(1)) {
    const int64_t width = e.known(a.q, -1, "query") / 3;
    const auto parts = e.split(a.q, {width, width, width}, -1);
    a.q = parts[0], a.k = parts[1], a.v = parts[2];
  } else if (e.rank(a.k, "key") == 5) {
    const auto parts = unpacked(e, a.k, 2);
    a.k = parts[0], a.v = parts[1];
  } else if (!e.has(2)) {
    e.fail("input value is missing");
  }
  return a;
}

// Scores before softmax are finite where keys are hidden: the least number of their type.
std::vector<ValueId> bounded(Composer& e, std::vector<ValueId> made) {
  if (!e.wants(3)) return made;
  const bool half = e.dtype(made[3]) == DType::Float16;
  const double least = half ? -65504.0 : static_cast<double>(std::numeric_limits<float>::lowest());
  made[3] = e.op("Max", {made[3], e.number(e.dtype(made[3]), least)});
  return made;
}

bool multi_head_attention(Graph& graph, NodeId id) {
  Composer e(graph, id);
  e.expect_none(8, "past_sequence_length");
  e.expect_none(9, "cache_indirection");
  Attended a = operands_of(e, e.integer("num_heads"));
  add_bias(e, a, e.input(3));
  a.past_key = e.input(6);
  a.past_value = e.input(7);
  a.causal = e.flag("unidirectional");
  a.mask = addend(e, a, e.input(4), e.input(5));
  if (e.wants(3)) a.scores = 2;
  return e.finish(bounded(e, attend(e, a)));
}

// New rows written into a buffer behind `past` of them: the buffer, and its rows in use.
std::pair<ValueId, ValueId> in_buffer(Composer& e, ValueId buffer, ValueId fresh, ValueId past) {
  const ValueId places = e.op("Expand", {past, e.extent(fresh, 0)});
  const ValueId all = e.op("TensorScatter", {buffer, fresh, places}, with("axis", int64_t{-2}));
  const ValueId used = e.add(past, e.extent(fresh, 2));
  return {all, e.op("Slice", {all, e.ints({0}), used, e.ints({2})})};
}

bool decoder_masked_attention(Graph& graph, NodeId id) {
  Composer e(graph, id);
  e.expect_integer("past_present_share_buffer", {0, 1});
  e.expect_none(9, "cache_indirection");
  Attended a = operands_of(e, e.integer("num_heads"));
  add_bias(e, a, e.input(10));
  const bool self = e.rank(a.k, "key") != 4;
  const bool shared = self && e.flag("past_present_share_buffer");
  std::pair<ValueId, ValueId> keys{kNone, kNone}, values{kNone, kNone};
  if (shared) {
    if (!e.has(5) || !e.has(6) || !e.has(7)) {
      e.fail(
          "past_present_share_buffer is 1, but past_key, past_value or past_sequence_length "
          "is missing");
    }
    const ValueId past = e.cast(e.flat(e.input(7)), DType::Int64);
    keys = in_buffer(e, e.input(5), in_heads(e, a.k, a.kv_heads), past);
    values = in_buffer(e, e.input(6), in_heads(e, a.v, a.kv_heads), past);
    a.k = keys.second, a.v = values.second;
  } else if (self) {
    a.past_key = e.input(5), a.past_value = e.input(6);
  }
  a.mask = addend(e, a, e.input(3), e.input(4));
  if (e.wants(3)) a.scores = 2;
  auto made = attend(e, a);
  if (shared) made[1] = keys.first, made[2] = values.first;
  return e.finish(made);
}

// Attention over one projection that holds queries, keys and values. Past and present are keys
// and values in one tensor.
bool attend_projected(Composer& e, ValueId projected, ValueId mask, ValueId past, ValueId bias) {
  e.expect_integer("do_rotary", {0});
  e.expect_integer("past_present_share_buffer", {0});
  const auto* sizes = e.node().attributes.get<std::vector<int64_t>>("qkv_hidden_sizes");
  std::vector<int64_t> widths;
  if (sizes && sizes->size() == 3) {
    widths = *sizes;
  } else {
    widths.assign(3, e.known(projected, -1, "weights") / 3);
  }
  const auto parts = e.split(projected, widths, -1);
  const int64_t heads = e.integer("num_heads");
  Attended a{.q = parts[0], .k = parts[1], .v = parts[2], .q_heads = heads, .kv_heads = heads};
  if (past != kNone) {
    const auto halves = e.split(past, {1, 1}, 0);
    a.past_key = e.squeeze(halves[0], {0});
    a.past_value = e.squeeze(halves[1], {0});
  }
  a.causal = e.flag("unidirectional");
  a.mask = addend(e, a, mask, bias);
  const auto made = attend(e, a);
  if (!e.wants(1)) return e.finish({made[0]});
  const ValueId present = e.concat_of({e.unsqueeze(made[1], {0}), e.unsqueeze(made[2], {0})}, 0);
  return e.finish({made[0], present});
}

bool attention(Graph& graph, NodeId id) {
  Composer e(graph, id);
  e.expect_none(6, "past_sequence_length");
  const ValueId projected = e.sum(e.mat_mul(e.input(0), e.input(1)), e.input(2));
  return attend_projected(e, projected, e.input(3), e.input(4), e.input(5));
}

bool q_attention(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const DType dtype = e.dtype(e.input(2));
  const auto number_of = [&](ValueId x) {  // of one element: a scalar
    const Shape* shape = e.shape(x);
    const bool one = shape && shape->size() == 1 && (*shape)[0].known() && (*shape)[0].value() == 1;
    return one ? e.scalar_of(x) : x;
  };
  std::vector<ValueId> inputs = {e.input(0), e.input(1)};
  if (e.has(6) || e.has(7)) inputs.push_back(e.has(6) ? number_of(e.input(6)) : kNone);
  if (e.has(7)) inputs.push_back(number_of(e.input(7)));
  const ValueId product = e.cast(e.op("MatMulInteger", std::move(inputs)), dtype);
  const ValueId scale = e.mul(number_of(e.input(3)), number_of(e.input(4)));
  const ValueId projected = e.add(e.mul(product, scale), e.input(2));
  return attend_projected(e, projected, e.input(5), e.input(8), kNone);
}

// Rows of tokens at their places among padding: [batch, sequence, hidden].
ValueId padded(Composer& e, ValueId tokens, ValueId offsets) {
  const ValueId places = e.cast(e.flat(offsets), DType::Int64);
  const ValueId count = e.extent(tokens, 0);
  const ValueId used = e.op("Slice", {places, e.ints({0}), count, e.ints({0})});
  const ValueId width = e.extent(tokens, 1);
  const ValueId empty =
      e.filled(e.concat_of({e.op("Shape", {places}), width}, 0), e.dtype(tokens), 0);
  const ValueId rows = e.op("ScatterND", {empty, e.unsqueeze(used, {1}), tokens});
  return e.reshape_to(rows, e.concat_of({e.op("Shape", {offsets}), width}, 0));
}

ValueId repacked(Composer& e, ValueId x, ValueId offsets, ValueId tokens) {
  const ValueId places = e.cast(e.flat(offsets), DType::Int64);
  const ValueId used = e.op("Slice", {places, e.ints({0}), e.extent(tokens, 0), e.ints({0})});
  const ValueId rows = e.reshape_to(x, e.concat_of({e.ints({-1}), e.extent(x, 2)}, 0));
  return e.gather(rows, used, 0);
}

bool attend_packed(Composer& e, Attended a, ValueId tokens, size_t offsets, size_t bias) {
  const ValueId ends = e.input(offsets + 1);
  const ValueId from = e.op("Slice", {ends, e.ints({0}), e.ints({-1}), e.ints({0})});
  const ValueId to = e.op("Slice", {ends, e.ints({1}), e.ints({INT64_MAX}), e.ints({0})});
  const ValueId at = e.input(offsets);
  a.q = padded(e, a.q, at), a.k = padded(e, a.k, at), a.v = padded(e, a.v, at);
  a.q_heads = a.kv_heads = e.integer("num_heads");
  a.mask = addend(e, a, e.sub(to, from), e.input(bias));
  return e.finish({repacked(e, attend(e, a)[0], at, tokens)});
}

bool packed_attention(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const ValueId projected = e.add(e.mat_mul(e.input(0), e.input(1)), e.input(2));
  const auto* sizes = e.node().attributes.get<std::vector<int64_t>>("qkv_hidden_sizes");
  std::vector<int64_t> widths(3, e.known(projected, -1, "weights") / 3);
  if (sizes && sizes->size() == 3) widths = *sizes;
  const auto parts = e.split(projected, widths, -1);
  return attend_packed(e, {.q = parts[0], .k = parts[1], .v = parts[2]}, e.input(0), 3, 5);
}

bool packed_multi_head_attention(Graph& graph, NodeId id) {
  Composer e(graph, id);
  Attended a{.q = e.input(0), .k = e.input(1), .v = e.input(2)};
  if (!e.has(1)) {
    const auto parts = e.split(e.input(0), {1, 1, 1}, 2);
    a.q = e.reshape(parts[0], {0, -1});
    a.k = e.reshape(parts[1], {0, -1});
    a.v = e.reshape(parts[2], {0, -1});
  }
  add_bias(e, a, e.input(3));
  return attend_packed(e, a, e.input(0), 4, 6);
}

bool restore_padding(Graph& graph, NodeId id) {
  Composer e(graph, id);
  return e.finish({padded(e, e.input(0), e.input(1))});
}

bool remove_padding(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const ValueId x = e.input(0), counts = e.cast(e.input(1), DType::Int64);
  const ValueId kept = e.op("Less", {e.range(e.extent(x, 1)), e.unsqueeze(counts, {1})});
  const auto places = [&](ValueId which) { return e.flat(e.op("NonZero", {e.flat(which)})); };
  const ValueId tokens = places(kept);
  const ValueId offsets = e.concat_of({tokens, places(e.op("Not", {kept}))}, 0);
  const ValueId rows = e.reshape_to(x, e.concat_of({e.ints({-1}), e.extent(x, 2)}, 0));
  const ValueId sums = e.op("CumSum", {counts, e.constant(Tensor::scalar_i64(0))});
  const ValueId ends = e.concat_of({e.ints({0}), sums}, 0);
  return e.finish({e.gather(rows, tokens, 0),
                   e.cast(e.reshape_to(offsets, e.op("Shape", {kept})), DType::Int32),
                   e.cast(ends, DType::Int32),
                   e.cast(e.reduce("ReduceMax", counts, {0}), DType::Int32)});
}

constexpr Expansion kAttention[] = {
    {"com.microsoft", "MultiHeadAttention", multi_head_attention},
    {"com.microsoft", "DecoderMaskedMultiHeadAttention", decoder_masked_attention},
    {"com.microsoft", "Attention", attention},
    {"com.microsoft", "QAttention", q_attention},
    {"com.microsoft", "PackedAttention", packed_attention},
    {"com.microsoft", "PackedMultiHeadAttention", packed_multi_head_attention},
    {"com.microsoft", "RestorePadding", restore_padding},
    {"com.microsoft", "RemovePadding", remove_padding},
};

}  // namespace

std::span<const Expansion> contrib_attention_expansions() { return kAttention; }

}  // namespace tiercel
