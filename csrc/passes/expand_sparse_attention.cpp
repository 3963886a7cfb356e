// SparseAttention: causal attention over a cache of which each query sees some blocks.
#include "passes/attend.h"

namespace tiercel {
namespace {

// [layouts, blocks, blocks], 1 where a block of queries sees a block of keys, from its rows.
ValueId block_mask(Composer& e) {
  const ValueId ends = e.cast(e.input(5), DType::Int64), columns = e.cast(e.input(6), DType::Int64);
  const ValueId from = e.op("Slice", {ends, e.ints({0}), e.ints({-1}), e.ints({1})});
  const ValueId to = e.op("Slice", {ends, e.ints({1}), e.ints({INT64_MAX}), e.ints({1})});
  const ValueId entries = e.range(e.extent(columns, 1));
  const ValueId in_row = e.op("And", {e.op("GreaterOrEqual", {entries, e.unsqueeze(from, {2})}),
                                      e.op("Less", {entries, e.unsqueeze(to, {2})})});
  const ValueId blocks = e.range(e.extent(from, 1));
  const ValueId in_column = e.op("Equal", {e.unsqueeze(columns, {2}), blocks});
  return e.mat_mul(e.cast(in_row, DType::Float), e.cast(in_column, DType::Float));
}

// Which keys each head of each query sees: [batch, heads, queries, keys].
ValueId seen_in_blocks(Composer& e, ValueId places, ValueId keys, int64_t heads) {
  const ValueId size = e.constant(Tensor::scalar_i64(e.integer("sparse_block_size")));
  const int64_t layouts = e.known(e.input(5), 0, "block_row_indices");
  if (layouts < 1 || heads % layouts != 0) {
    e.fail(concat("block_row_indices has ", layouts, " layouts; expected a divisor of ", heads));
  }
  const ValueId at = e.range(e.extent(keys, 2));
  const ValueId rows = e.gather(block_mask(e), e.div(places, size), 1);
  const ValueId open = e.op("Min", {e.div(at, size), e.sub(e.extent(rows, 3), e.ints({1}))});
  const ValueId cells = e.transpose(e.gather(rows, open, 3), {1, 0, 2, 3});
  std::vector<int64_t> which;
  for (int64_t head = 0; head < heads; ++head) which.push_back(head % layouts);
  const ValueId by_head = e.gather(cells, e.ints(which), 1);
  const ValueId before = e.op("LessOrEqual", {at, e.unsqueeze(places, {1, 3})});
  return e.op("And", {e.cast(by_head, DType::Bool), before});
}

bool sparse_attention(Graph& graph, NodeId id) {
  Composer e(graph, id);
  if (e.integer("sparse_block_size") < 1) e.refuse("sparse_block_size", "1 or more");
  const int64_t heads = e.integer("num_heads"), kv_heads = e.integer("kv_num_heads");
  if (heads < 1) e.refuse("num_heads", "1 or more");
  if (kv_heads < 1) e.refuse("kv_num_heads", "1 or more");
  ValueId q = e.input(0), k = e.input(1), v = e.input(2);
  if (!e.has(1)) {
    const int64_t size = e.known(q, 2, "query") / (heads + 2 * kv_heads);
    const auto parts = e.split(q, {heads * size, kv_heads * size, kv_heads * size}, -1);
    q = parts[0], k = parts[1], v = parts[2];
  }
  const ValueId lengths = e.cast(e.flat(e.input(8)), DType::Int64), fresh = e.extent(q, 1);
  const ValueId past = e.op("Max", {e.sub(lengths, fresh), e.ints({0})});
  const ValueId places = e.add(e.unsqueeze(past, {1}), e.range(fresh));
  if (e.flag("do_rotary")) {
    if (!e.has(9) || !e.has(10)) e.fail("do_rotary is 1, but cos_cache or sin_cache is missing");
    const bool interleaved = e.flag("rotary_interleaved");
    q = rotated(e, q, e.input(9), e.input(10), places, heads, interleaved);
    k = rotated(e, k, e.input(9), e.input(10), places, kv_heads, interleaved);
  }
  const auto written = [&](size_t cache, ValueId rows) {
    return e.op("TensorScatter", {e.input(cache), in_heads(e, rows, kv_heads), past},
                with("axis", int64_t{-2}));
  };
  const ValueId keys = written(3, k), values = written(4, v);
  Attended a{.q = q, .k = keys, .v = values, .q_heads = heads, .kv_heads = kv_heads};
  a.mask = seen_in_blocks(e, places, keys, heads);
  return e.finish({attend(e, a)[0], keys, values});
}

constexpr Expansion kSparseAttention[] = {
    {"com.microsoft", "SparseAttention", sparse_attention},
};

}  // namespace

std::span<const Expansion> sparse_attention_expansions() { return kSparseAttention; }

}  // namespace tiercel
