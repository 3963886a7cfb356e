// Normalisations of com.microsoft, with what they fuse in front and behind, as the standard's own.
#include <array>

#include "passes/compose.h"

namespace tiercel {
namespace {

// Over the last axis, with gains of the input's element type.
Attributes last_axis(double epsilon) {
  Attributes attributes = with("axis", int64_t{-1});
  attributes.set("epsilon", epsilon);
  return attributes;
}

// 1 / sqrt(mean(x²) + epsilon) over the last axis, in float.
ValueId inverse_root(Composer& e, ValueId x, double epsilon) {
  const ValueId wide = e.cast(x, DType::Float);
  const ValueId mean = e.reduce("ReduceMean", e.mul(wide, wide), {-1});
  return e.op("Reciprocal", {e.op("Sqrt", {e.shifted(mean, epsilon)})});
}

ValueId with_residuals(Composer& e, size_t bias) {
  return e.sum(e.add(e.input(0), e.input(1)), e.input(bias));
}

bool skip_layer_norm(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const ValueId sum = with_residuals(e, 4);
  std::vector<ValueId> inputs = {sum, e.input(2)};
  if (e.has(3)) inputs.push_back(e.input(3));
  const size_t outputs = e.wants(2) ? 3 : e.wants(1) ? 2 : 1;
  auto made =
      e.ops("LayerNormalization", std::move(inputs), outputs, last_axis(e.real("epsilon", 1e-12)));
  made.resize(3, kNone);
  made.push_back(sum);
  return e.finish(made);
}

bool skip_simplified_layer_norm(Graph& graph, NodeId id) {
  Composer e(graph, id);
  if (e.wants(1)) e.fail("output mean is wanted, but root mean squares have none");
  const ValueId sum = with_residuals(e, 3);
  const double epsilon = e.real("epsilon", 1e-12);
  const ValueId y = e.op("RMSNormalization", {sum, e.input(2)}, last_axis(epsilon));
  return e.finish({y, kNone, e.wants(2) ? inverse_root(e, sum, epsilon) : kNone, sum});
}

bool simplified_layer_norm(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const double epsilon = e.real("epsilon", 1e-5);
  Attributes attributes = with("axis", e.integer("axis", -1));
  attributes.set("epsilon", epsilon);
  const ValueId y = e.op("RMSNormalization", {e.input(0), e.input(1)}, std::move(attributes));
  if (!e.wants(1)) return e.finish({y});
  if (e.integer("axis", -1) != -1 && e.integer("axis", -1) != e.rank(e.input(0), "X") - 1) {
    e.fail("output inv_std_var is wanted over more than the last axis; expected one axis");
  }
  const ValueId statistic = inverse_root(e, e.input(0), epsilon);
  return e.finish({y, e.cast(statistic, e.dtype(e.node().outputs[1]))});
}

struct Embedding {
  ValueId ids, words, places, segments, segment_ids, gain, bias, position_ids, mask;
};

// Words, places and segments looked up, added and normalised; how many words the mask shows.
std::array<ValueId, 3> embedded(Composer& e, const Embedding& m) {
  ValueId places = m.position_ids;
  if (places == kNone) places = e.range(e.extent(m.ids, 1));
  ValueId sum = e.add(e.gather(m.words, m.ids, 0), e.gather(m.places, places, 0));
  if (m.segments != kNone) sum = e.add(sum, e.gather(m.segments, m.segment_ids, 0));
  const ValueId y =
      e.op("LayerNormalization", {sum, m.gain, m.bias}, last_axis(e.real("epsilon", 1e-12)));
  ValueId seen = kNone;
  if (e.wants(1) && m.mask != kNone) {
    const ValueId shown = e.op("Equal", {m.mask, e.number(DType::Int32, 1)});
    seen = e.reduce("ReduceSum", e.cast(shown, DType::Int32), {1}, 0);
  } else if (e.wants(1)) {
    seen = e.filled(e.extent(m.ids, 0), DType::Int32, 0);
  }
  return {y, seen, sum};
}

bool embed_layer_norm(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const bool segments = e.has(1) && e.has(4);
  const auto made = embedded(e, {.ids = e.input(0),
                                 .words = e.input(2),
                                 .places = e.input(3),
                                 .segments = segments ? e.input(4) : kNone,
                                 .segment_ids = e.input(1),
                                 .gain = e.input(5),
                                 .bias = e.input(6),
                                 .position_ids = e.input(8),
                                 .mask = e.input(7)});
  return e.finish({made[0], made[1], made[2]});
}

bool q_embed_layer_norm(Graph& graph, NodeId id) {
  Composer e(graph, id);
  // Scales follow the tables from input 8, zero points from input 13, in one order.
  const auto real = [&](size_t table, size_t at) {
    return e.op("DequantizeLinear",
                {e.input(table), e.scalar_of(e.input(8 + at)), e.scalar_of(e.input(13 + at))});
  };
  const bool segments = e.has(1) && e.has(4);
  const auto made = embedded(e, {.ids = e.input(0),
                                 .words = real(2, 0),
                                 .places = real(3, 1),
                                 .segments = segments ? real(4, 2) : kNone,
                                 .segment_ids = e.input(1),
                                 .gain = real(5, 3),
                                 .bias = real(6, 4),
                                 .position_ids = kNone,
                                 .mask = e.input(7)});
  return e.finish({made[0], made[1]});
}

// Normalised by groups of channels, then activated.
ValueId grouped(Composer& e, ValueId x) {
  e.expect_integer("activation", {0, 1});
  const bool last = e.integer("channels_last", 1) != 0;
  const DType dtype = e.dtype(x);
  Attributes attributes = with("num_groups", e.integer("groups"));
  attributes.set("epsilon", e.real("epsilon", 1e-5));
  ValueId y =
      e.op("GroupNormalization",
           {last ? e.channels_first(x) : x, e.cast(e.input(1), dtype), e.cast(e.input(2), dtype)},
           std::move(attributes));
  if (e.integer("activation") == 1) y = e.silu(y);
  return last ? e.channels_last(y) : y;
}

bool group_norm(Graph& graph, NodeId id) {
  Composer e(graph, id);
  return e.finish({grouped(e, e.input(0))});
}

bool skip_group_norm(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const bool last = e.integer("channels_last", 1) != 0;
  const auto spread = [&](ValueId v, std::vector<int64_t> axes) {
    return v == kNone ? v : e.unsqueeze(v, axes);
  };
  ValueId skip = e.input(3);
  if (e.rank(skip, "skip") == 2) {
    skip = e.unsqueeze(skip, last ? std::vector<int64_t>{1, 2} : std::vector<int64_t>{2, 3});
  }
  const ValueId bias = last ? e.input(4) : spread(e.input(4), {1, 2});
  const ValueId sum = e.sum(e.add(e.input(0), skip), bias);
  return e.finish({grouped(e, sum), sum});
}

// [..., H·C] as [..., H, C], C being the length of the scale.
bool gated_rms_norm(Graph& graph, NodeId id) {
  Composer e(graph, id);
  e.expect_text("activation", {"silu", "swish", "sigmoid"});
  const int64_t width = e.known(e.input(1), 0, "scale");
  std::vector<int64_t> dims(static_cast<size_t>(e.rank(e.input(0), "X") - 1), 0);
  dims.insert(dims.end(), {-1, width});
  const ValueId x = e.reshape(e.cast(e.input(0), DType::Float), dims);
  const ValueId norm = e.op("RMSNormalization", {x, e.cast(e.input(1), DType::Float)},
                            last_axis(e.real("epsilon", 1e-5)));
  const ValueId gate = e.cast(e.input(2), DType::Float);
  const ValueId factor = e.text("activation") == "sigmoid" ? e.sigmoid(gate) : e.silu(gate);
  const ValueId y = e.mul(e.reshape_to(norm, e.op("Shape", {gate})), factor);
  return e.finish({e.cast(y, e.dtype(e.input(0)))});
}

// Flattened streams [..., C·H] as [..., C, H], in float.
ValueId branches(Composer& e, ValueId x, std::string_view name) {
  const int64_t count = e.integer("num_branches");
  const ValueId wide = e.cast(x, DType::Float);
  if (count == 0) return wide;
  std::vector<int64_t> dims(static_cast<size_t>(e.rank(x, name) - 1), 0);
  dims.insert(dims.end(), {count, -1});
  return e.reshape(wide, dims);
}

bool branchwise_rms_norm(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const ValueId x = branches(e, e.input(0), "X");
  ValueId y = e.mul(x, inverse_root(e, x, e.real("epsilon", 1e-5)));
  if (e.has(1)) {
    ValueId scale = e.cast(e.input(1), DType::Float);
    const int64_t width = e.known(x, -1, "X");
    const bool joined = e.rank(scale, "scale") == 1 && e.known(scale, 0, "scale") != width;
    if (joined) scale = e.reshape(scale, {-1, width});
    y = e.mul(y, scale);
  }
  y = e.reshape_to(y, e.op("Shape", {e.input(0)}));
  return e.finish({e.cast(y, e.dtype(e.input(0)))});
}

// Gates of [..., C], [..., C, 1], [..., C, H] or [..., C·H] over streams [..., C, H].
ValueId gates(Composer& e, ValueId gate, ValueId streams) {
  const ValueId wide = e.cast(gate, DType::Float);
  const int64_t rank = e.rank(streams, "streams");
  if (e.rank(gate, "the mix") == rank) return wide;
  const int64_t count = e.known(streams, -2, "streams");
  if (e.known(gate, -1, "the mix") == count) return e.unsqueeze(wide, {-1});
  std::vector<int64_t> dims(static_cast<size_t>(rank - 2), 0);
  dims.insert(dims.end(), {count, -1});
  return e.reshape(wide, dims);
}

bool hyper_connection_pre_mix(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const ValueId x = branches(e, e.input(0), "streams");
  const ValueId mixed = e.reduce("ReduceSum", e.mul(x, gates(e, e.input(1), x)), {-2}, 0);
  return e.finish({e.cast(e.scaled(mixed, e.real("reduction_scale", 1)), e.dtype(e.input(0)))});
}

bool hyper_connection_post_mix(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const ValueId x = branches(e, e.input(0), "streams");
  ValueId y = x;
  if (e.has(3)) {
    const int64_t rank = e.rank(e.input(3), "stream_mix");
    std::vector<int64_t> perm;
    for (int64_t i = 0; i < rank; ++i) perm.push_back(i);
    std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
    y = e.mat_mul(e.transpose(e.cast(e.input(3), DType::Float), perm), x);
  }
  const ValueId block = e.unsqueeze(e.cast(e.input(1), DType::Float), {-2});
  y = e.add(y, e.mul(gates(e, e.input(2), x), block));
  y = e.reshape_to(y, e.op("Shape", {e.input(0)}));
  return e.finish({e.cast(y, e.dtype(e.input(0)))});
}

// gate = sigmoid(sign(d)·sqrt(max(|d|, 1e-6))), d = norm(key)·norm(query) / sqrt(hidden)
bool engram_gate(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const DType dtype = e.dtype(e.input(0));
  const double epsilon = e.real("epsilon", 1e-5);
  const auto wide = [&](size_t i) { return e.cast(e.input(i), DType::Float); };
  const auto norm = [&](ValueId x, size_t scale) {
    return e.mul(e.mul(x, inverse_root(e, x, epsilon)), wide(scale));
  };
  const ValueId key = norm(wide(0), 3), query = norm(wide(1), 4);
  const ValueId hidden = e.cast(e.extent(e.input(0), -1), DType::Float);
  const ValueId dot = e.div(e.reduce("ReduceSum", e.mul(key, query), {-1}), e.op("Sqrt", {hidden}));
  const ValueId size =
      e.op("Sqrt", {e.op("Max", {e.op("Abs", {dot}), e.number(DType::Float, 1e-6)})});
  const ValueId gate = e.sigmoid(e.mul(e.op("Sign", {dot}), size));
  const ValueId y = e.mul(gate, e.unsqueeze(wide(2), {2}));
  ValueId normed = kNone;
  if (e.wants(1)) {
    if (!e.has(5)) e.fail("output gated_value_normed is wanted, but conv_norm_scale is missing");
    normed = e.cast(norm(y, 5), dtype);
  }
  return e.finish({e.cast(y, dtype), normed});
}

constexpr Expansion kNorm[] = {
    {"", "SimplifiedLayerNormalization", simplified_layer_norm},
    {"com.microsoft", "SkipLayerNormalization", skip_layer_norm},
    {"com.microsoft", "SkipSimplifiedLayerNormalization", skip_simplified_layer_norm},
    {"com.microsoft", "EmbedLayerNormalization", embed_layer_norm},
    {"com.microsoft", "QEmbedLayerNormalization", q_embed_layer_norm},
    {"com.microsoft", "GroupNorm", group_norm},
    {"com.microsoft", "SkipGroupNorm", skip_group_norm},
    {"com.microsoft", "GatedRMSNorm", gated_rms_norm},
    {"com.microsoft", "BranchwiseRMSNorm", branchwise_rms_norm},
    {"com.microsoft", "HyperConnectionPreMix", hyper_connection_pre_mix},
    {"com.microsoft", "HyperConnectionPostMix", hyper_connection_post_mix},
    {"com.microsoft", "EngramGate", engram_gate},
};

}  // namespace

std::span<const Expansion> contrib_norm_expansions() { return kNorm; }

}  // namespace tiercel
