// Normalisation and attention of com.microsoft as the standard's own.
#include <array>

#include "passes/expand.h"

namespace tiercel {
namespace {

// input + skip + bias, normalised; statistics are not handed out.
bool skip_norm(Graph& graph, NodeId id, std::string_view norm, size_t bias, bool beta) {
  Expander e(graph, id);
  if (e.wants(1) || e.wants(2)) return false;
  ValueId sum = e.op("Add", {e.input(0), e.input(1)});
  if (e.has(bias)) sum = e.op("Add", {sum, e.input(bias)});
  Attributes attributes = with("axis", int64_t{-1});
  attributes.set("epsilon", attr_float(e.node(), "epsilon", 1e-12));
  std::vector<ValueId> inputs = {sum, e.input(2)};
  if (beta && e.has(3)) inputs.push_back(e.input(3));
  const ValueId y = e.op(norm, std::move(inputs), std::move(attributes));
  return e.finish({y, kNone, kNone, sum});
}

bool skip_layer_norm(Graph& graph, NodeId id) {
  return skip_norm(graph, id, "LayerNormalization", 4, true);
}

bool skip_simplified_layer_norm(Graph& graph, NodeId id) {
  return skip_norm(graph, id, "RMSNormalization", 3, false);
}

bool embed_layer_norm(Graph& graph, NodeId id) {
  Expander e(graph, id);
  if (e.wants(1) && e.has(7)) return false;  // counts of a mask: left to a kernel
  const ValueId ids = e.input(0);
  ValueId sum = e.op("Gather", {e.input(2), ids});
  ValueId positions = e.input(8);
  if (!e.has(8)) {
    Attributes second = with("start", int64_t{1});
    second.set("end", int64_t{2});
    const ValueId length = e.op("Squeeze", {e.op("Shape", {ids}, std::move(second)), e.ints({0})});
    positions = e.op(
        "Range", {e.constant(Tensor::scalar_i64(0)), length, e.constant(Tensor::scalar_i64(1))});
  }
  sum = e.op("Add", {sum, e.op("Gather", {e.input(3), positions})});
  if (e.has(1) && e.has(4)) sum = e.op("Add", {sum, e.op("Gather", {e.input(4), e.input(1)})});
  Attributes attributes = with("epsilon", attr_float(e.node(), "epsilon", 1e-12));
  attributes.set("axis", int64_t{-1});
  const ValueId y =
      e.op("LayerNormalization", {sum, e.input(5), e.input(6)}, std::move(attributes));
  ValueId mask_index = kNone;
  if (e.wants(1)) {  // without a mask the index counts nothing
    Attributes first = with("start", int64_t{0});
    first.set("end", int64_t{1});
    const int32_t zero = 0;
    mask_index = e.op("ConstantOfShape", {e.op("Shape", {ids}, std::move(first))},
                      with("value", Tensor::of<int32_t>(DType::Int32, {1}, std::span(&zero, 1))));
  }
  return e.finish({y, mask_index, sum});
}

// The standard's Attention over [batch, sequence, hidden] operands.
struct Operands {
  ValueId q, k, v;
  ValueId mask = kNone, past_key = kNone, past_value = kNone;
  int64_t q_heads = 0, kv_heads = 0;
  bool causal = false;
  double softcap = 0;
  int64_t left_window = -1;
};

std::vector<ValueId> attend(Expander& e, const Operands& o) {
  Attributes attributes = with("q_num_heads", o.q_heads);
  attributes.set("kv_num_heads", o.kv_heads);
  attributes.set("is_causal", int64_t{o.causal});
  if (o.softcap != 0) attributes.set("softcap", o.softcap);
  if (o.left_window >= 0) attributes.set("left_window_size", o.left_window);
  const double scale = attr_float(e.node(), "scale");
  if (scale != 0) attributes.set("scale", scale);
  std::vector<ValueId> inputs = {o.q, o.k, o.v, o.mask, o.past_key, o.past_value};
  while (inputs.back() == kNone) inputs.pop_back();
  return e.ops("Attention", std::move(inputs), 3, std::move(attributes));
}

// A padding mask [batch, keys] of 0 and 1 as booleans over [batch, 1, 1, keys]; false for other
// forms of mask.
bool padding_mask(Expander& e, ValueId mask, ValueId& out) {
  const auto& shape = e.type(mask).shape;
  if (!shape || shape->size() != 2) return false;
  out = e.op("Unsqueeze", {e.cast(mask, DType::Bool), e.ints({1, 2})});
  return true;
}

// Both masks as one addend: keys that are not to be seen get the least finite value of the type.
ValueId joined_mask(Expander& e, ValueId seen, ValueId bias) {
  if (bias == kNone) return seen;
  if (seen == kNone) return bias;
  const DType dtype = e.dtype(bias);
  const double least = dtype == DType::Float16 ? -65504.0 : -3.4e38;
  return e.op("Where", {seen, bias, e.number(dtype, least)});
}

bool multi_head_attention(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const auto three = [&](size_t i) {
    const auto& shape = e.type(e.input(i)).shape;
    return shape && shape->size() == 3;
  };
  if (!e.has(1) || !e.has(2) || !three(0) || !three(1) || !three(2)) return false;
  Operands o{.q = e.input(0), .k = e.input(1), .v = e.input(2)};
  if (e.has(3)) {
    const auto width = [&](ValueId v) { return e.type(v).shape->back(); };
    const Dim q = width(o.q), v = width(o.v);
    if (!q.known() || !v.known()) return false;
    const auto parts = e.ops("Split", {e.input(3), e.ints({q.value(), q.value(), v.value()})}, 3);
    o.q = e.op("Add", {o.q, parts[0]});
    o.k = e.op("Add", {o.k, parts[1]});
    o.v = e.op("Add", {o.v, parts[2]});
  }
  ValueId seen = kNone;
  if (e.has(4) && !padding_mask(e, e.input(4), seen)) return false;
  o.mask = joined_mask(e, seen, e.input(5));
  o.past_key = e.input(6);
  o.past_value = e.input(7);
  o.q_heads = o.kv_heads = attr_int(e.node(), "num_heads");
  o.causal = attr_int(e.node(), "unidirectional") != 0;
  return e.finish(attend(e, o));
}

// One projection makes queries, keys and values.
bool attention(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const auto* sizes = e.node().attributes.get<std::vector<int64_t>>("qkv_hidden_sizes");
  if (e.has(4) || e.wants(1)) return false;  // past and present are one tensor
  ValueId qkv = e.op("MatMul", {e.input(0), e.input(1)});
  if (e.has(2)) qkv = e.op("Add", {qkv, e.input(2)});
  const auto& weights = e.type(e.input(1)).shape;
  std::vector<int64_t> widths;
  if (sizes && sizes->size() == 3) widths = *sizes;
  if (widths.empty() && weights && weights->size() == 2 && weights->back().known()) {
    widths.assign(3, weights->back().value() / 3);
  }
  if (widths.empty()) return false;
  ValueId seen = kNone;
  if (e.has(3) && !padding_mask(e, e.input(3), seen)) return false;
  const auto parts = e.ops("Split", {qkv, e.ints(widths)}, 3, with("axis", int64_t{-1}));
  Operands o{.q = parts[0], .k = parts[1], .v = parts[2]};
  o.mask = joined_mask(e, seen, e.input(5));
  o.q_heads = o.kv_heads = attr_int(e.node(), "num_heads");
  o.causal = attr_int(e.node(), "unidirectional") != 0;
  return e.finish({attend(e, o)[0]});
}

// position_ids of one element is the first position; else one position per token.
ValueId positions(Expander& e, ValueId ids, ValueId like) {
  const auto& shape = e.type(ids).shape;
  if (!shape || shape->size() != 1) return ids;
  const auto extent = [&](int64_t at) {
    Attributes range = with("start", at);
    range.set("end", at + 1);
    return e.op("Shape", {like}, std::move(range));
  };
  const auto rank = static_cast<int64_t>(e.type(like).shape->size());
  const ValueId length = extent(rank == 4 ? 2 : 1);
  const ValueId steps =
      e.op("Range", {e.constant(Tensor::scalar_i64(0)), e.op("Squeeze", {length, e.ints({0})}),
                     e.constant(Tensor::scalar_i64(1))});
  const ValueId all = e.op("Unsqueeze", {e.op("Add", {steps, ids}), e.ints({0})});
  const auto joined = e.op("Concat", {extent(0), length}, with("axis", int64_t{0}));
  return e.op("Expand", {all, joined});
}

ValueId rotated(Expander& e, ValueId x, ValueId cos, ValueId sin, ValueId ids, int64_t heads,
                int64_t interleaved) {
  Attributes attributes = with("interleaved", interleaved);
  attributes.set("rotary_embedding_dim", attr_int(e.node(), "rotary_embedding_dim"));
  if (heads > 0) attributes.set("num_heads", heads);
  return e.op("RotaryEmbedding", {x, cos, sin, ids}, std::move(attributes));
}

bool rotary_embedding(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const auto& shape = e.type(e.input(0)).shape;
  if (!shape || attr_int(e.node(), "is_packed_batching") != 0) return false;
  if (attr_float(e.node(), "scale", 1) != 1) return false;
  const auto& cache = e.type(e.input(2)).shape;
  int64_t heads = attr_int(e.node(), "num_heads");
  if (shape->size() == 3 && heads == 0) {  // one head is as wide as both halves of the cache
    if (!cache || !cache->back().known() || !shape->back().known()) return false;
    heads = shape->back().value() / (2 * cache->back().value());
  }
  const ValueId ids = positions(e, e.input(1), e.input(0));
  return e.finish({rotated(e, e.input(0), e.input(2), e.input(3), ids, heads,
                           attr_int(e.node(), "interleaved"))});
}

// Sequences of one length: every row of the batch holds the same number of keys, as when one
// prompt is decoded. The keys of the past are those in front of the new ones.
bool group_query_attention(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const auto& shape = e.type(e.input(0)).shape;
  if (!shape || shape->size() != 3 || !e.has(1) || !e.has(2)) return false;
  if (e.node().inputs.size() > 9) return false;
  if (!(*shape)[0].known() || (*shape)[0].value() != 1) return false;
  Operands o{.q = e.input(0), .k = e.input(1), .v = e.input(2)};
  o.q_heads = attr_int(e.node(), "num_heads");
  o.kv_heads = attr_int(e.node(), "kv_num_heads");
  o.past_key = e.input(3);
  o.past_value = e.input(4);
  o.causal = true;
  o.softcap = attr_float(e.node(), "softcap");
  const int64_t window = attr_int(e.node(), "local_window_size", -1);
  if (window > 0) o.left_window = window - 1;
  if (attr_int(e.node(), "do_rotary") != 0) {
    if (!e.has(7) || !e.has(8)) e.fail("do_rotary is 1, but cos_cache or sin_cache is missing");
    Attributes second = with("start", int64_t{1});
    second.set("end", int64_t{2});
    const ValueId length = e.op("Shape", {o.q}, std::move(second));
    const ValueId total = e.op("Reshape", {e.cast(e.input(6), DType::Int64), e.ints({1})});
    const ValueId ids = positions(e, e.op("Sub", {total, length}), o.q);
    const int64_t interleaved = attr_int(e.node(), "rotary_interleaved");
    o.q = rotated(e, o.q, e.input(7), e.input(8), ids, o.q_heads, interleaved);
    o.k = rotated(e, o.k, e.input(7), e.input(8), ids, o.kv_heads, interleaved);
  }
  return e.finish(attend(e, o));
}

constexpr Expansion kTransformer[] = {
    {"com.microsoft", "SkipLayerNormalization", skip_layer_norm},
    {"com.microsoft", "SkipSimplifiedLayerNormalization", skip_simplified_layer_norm},
    {"com.microsoft", "EmbedLayerNormalization", embed_layer_norm},
    {"com.microsoft", "MultiHeadAttention", multi_head_attention},
    {"com.microsoft", "Attention", attention},
    {"com.microsoft", "RotaryEmbedding", rotary_embedding},
    {"com.microsoft", "GroupQueryAttention", group_query_attention},
};

}  // namespace

std::span<const Expansion> transformer_expansions() { return kTransformer; }

}  // namespace tiercel
