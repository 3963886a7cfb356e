// Positions of com.microsoft: rotary embeddings and relative biases.
#include <cmath>

#include "passes/attend.h"

namespace tiercel {

ValueId rotated(Composer& e, ValueId x, ValueId cos, ValueId sin, ValueId positions, int64_t heads,
                bool interleaved) {
  Attributes attributes = with("interleaved", int64_t{interleaved});
  if (heads > 0) attributes.set("num_heads", heads);
  attributes.set("rotary_embedding_dim", 2 * e.known(cos, -1, "cos_cache"));
  std::vector<ValueId> inputs = {x, cos, sin};
  if (positions != kNone) inputs.push_back(positions);
  return e.op("RotaryEmbedding", std::move(inputs), std::move(attributes));
}

namespace {

// position_ids of one element is the first position; else one position per token.
ValueId positions_of(Composer& e, ValueId ids, ValueId x) {
  if (e.rank(ids, "position_ids") != 1) return ids;
  const ValueId length = e.extent(x, e.rank(x, "input") == 4 ? 2 : 1);
  const ValueId all = e.unsqueeze(e.add(e.range(length), ids), {0});
  return e.op("Expand", {all, e.concat_of({e.extent(x, 0), length}, 0)});
}

// Heads of an input of rank 3: as it says, or each as wide as both halves of the cache.
int64_t heads_of_input(Composer& e) {
  if (e.rank(e.input(0), "input") == 4) return 0;
  const int64_t heads = e.integer("num_heads");
  if (heads > 0) return heads;
  return e.known(e.input(0), -1, "input") / (2 * e.known(e.input(2), -1, "cos_cache"));
}

bool rotary_embedding(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const ValueId positions = positions_of(e, e.input(1), e.input(0));
  return e.finish({rotated(e, e.input(0), e.input(2), e.input(3), positions, heads_of_input(e),
                           e.flag("interleaved"))});
}

// Which of the position streams serves each column of the cache.
std::vector<int64_t> streams(const Composer& e, const std::vector<int64_t>& sections) {
  std::vector<int64_t> out;
  if (e.integer("mrope_layout") == 0) {
    for (int64_t s = 0; s < 3; ++s) {
      out.insert(out.end(), static_cast<size_t>(sections[static_cast<size_t>(s)]), s);
    }
    return out;
  }
  const int64_t width = sections[0] + sections[1] + sections[2];
  for (int64_t i = 0; i < width; ++i) {
    const int64_t s = i % 3;
    out.push_back(s > 0 && i < 3 * sections[static_cast<size_t>(s)] ? s : 0);
  }
  return out;
}

bool m_rotary_embedding(Graph& graph, NodeId id) {
  Composer e(graph, id);
  e.expect_integer("mrope_layout", {0, 1});
  const auto* sections = e.node().attributes.get<std::vector<int64_t>>("mrope_section");
  if (!sections || sections->size() != 3) e.fail("mrope_section has not 3 elements");
  for (int64_t section : *sections) {
    if (section < 0) e.fail("mrope_section has a negative element; expected none");
  }
  const std::vector<int64_t> served = streams(e, *sections);
  const int64_t width = e.known(e.input(2), 1, "cos_cache");
  if (static_cast<int64_t>(served.size()) != width) {
    e.fail(concat("mrope_section sums to ", served.size(), "; expected ", width));
  }
  const ValueId which = e.reshape(e.ints(served), {1, 1, 1, width});
  const auto mixed = [&](size_t cache) {
    const ValueId all = e.gather(e.input(cache), e.input(1), 0);  // [3, batch, sequence, width]
    const ValueId one = e.slice(all, 0, 0, 1), two = e.slice(all, 0, 1, 2);
    const ValueId three = e.slice(all, 0, 2, 3);
    const ValueId first = e.op("Equal", {which, e.ints({0})});
    const ValueId second = e.op("Equal", {which, e.ints({1})});
    return e.squeeze(e.where(first, one, e.where(second, two, three)), {0});
  };
  return e.finish({rotated(e, e.input(0), mixed(2), mixed(3), kNone, heads_of_input(e),
                           e.flag("interleaved"))});
}

bool gemma_rotary_embedding(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const DType dtype = e.dtype(e.input(1));
  const auto factor = [&](const char* name) {
    return e.unsqueeze(e.cast(e.op(name, {e.input(0)}), dtype), {1});
  };
  const ValueId sin = factor("Sin"), cos = factor("Cos");
  const auto turned = [&](size_t x) {
    return e.add(e.mul(e.input(x), cos), e.mul(e.input(x + 1), sin));
  };
  return e.finish({turned(1), turned(3)});
}

// Distances sorted into buckets: exact ones for the near half, by their logarithm for the rest.
ValueId bucketed(Composer& e, ValueId distance, int64_t buckets) {
  const int64_t exact = buckets / 2;
  const auto number = [&](double value) { return e.number(DType::Float, value); };
  const double range =
      std::log(static_cast<double>(e.integer("max_distance")) / static_cast<double>(exact));
  const ValueId real = e.op("Max", {e.cast(distance, DType::Float), number(1)});
  const ValueId log = e.op("Log", {e.div(real, number(static_cast<double>(exact)))});
  const ValueId steps = e.scaled(e.div(log, number(range)), static_cast<double>(buckets - exact));
  const ValueId far = e.cast(steps, DType::Int64);
  const ValueId last = e.constant(Tensor::scalar_i64(buckets - 1));
  const ValueId large = e.op("Min", {e.add(far, e.constant(Tensor::scalar_i64(exact))), last});
  const ValueId near = e.op("Less", {distance, e.constant(Tensor::scalar_i64(exact))});
  return e.where(near, distance, large);
}

// The table lies by columns: all buckets of a head, head after head.
bool relative_position_bias(Graph& graph, NodeId id) {
  Composer e(graph, id);
  int64_t buckets = e.known(e.input(0), 0, "bias_table");
  const int64_t heads = e.known(e.input(0), 1, "bias_table");
  const ValueId table = e.reshape(e.input(0), {heads, buckets});
  const ValueId rows = e.unsqueeze(e.range(e.flat(e.input(1))), {1});
  const ValueId columns = e.unsqueeze(e.range(e.flat(e.input(2))), {0});
  ValueId distance = e.sub(columns, rows);
  ValueId base = kNone;
  const ValueId zero = e.constant(Tensor::scalar_i64(0));
  if (e.flag("is_bidirectional")) {
    buckets /= 2;
    const ValueId ahead = e.cast(e.op("Greater", {distance, zero}), DType::Int64);
    base = e.mul(ahead, e.constant(Tensor::scalar_i64(buckets)));
    distance = e.op("Abs", {distance});
  } else {
    distance = e.op("Neg", {e.op("Min", {distance, zero})});
  }
  const ValueId bucket = e.sum(bucketed(e, distance, buckets), base);
  return e.finish({e.unsqueeze(e.gather(table, bucket, 1), {0})});
}

bool gated_relative_position_bias(Graph& graph, NodeId id) {
  Composer e(graph, id);
  e.expect_none(6, "token_offset");
  const ValueId q = in_heads(e, e.add(e.input(0), e.input(1)), e.integer("num_heads"));
  const ValueId linear = e.add(e.mat_mul(q, e.input(3)), e.input(4));
  const int64_t width = e.known(e.input(3), 1, "weight");
  const ValueId halves = e.reshape(linear, {0, 0, 0, 2, width / 2});
  const ValueId gate = e.sigmoid(e.reduce("ReduceSum", halves, {-1}, 0));
  const auto parts = e.split(gate, {1, 1}, -1);
  const ValueId inner = e.shifted(e.mul(parts[1], e.input(5)), -1);
  return e.finish({e.mul(e.shifted(e.mul(parts[0], inner), 2), e.input(2))});
}

constexpr Expansion kRotary[] = {
    {"com.microsoft", "RotaryEmbedding", rotary_embedding},
    {"com.microsoft", "MRotaryEmbedding", m_rotary_embedding},
    {"com.microsoft", "GemmaRotaryEmbedding", gemma_rotary_embedding},
    {"com.microsoft", "RelativePositionBias", relative_position_bias},
    {"com.microsoft", "GatedRelativePositionBias", gated_relative_position_bias},
};

}  // namespace

std::span<const Expansion> contrib_rotary_expansions() { return kRotary; }

}  // namespace tiercel
