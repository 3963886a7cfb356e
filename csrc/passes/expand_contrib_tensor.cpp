// Operators of com.microsoft that move, test or transform elements as standard nodes.
#include <array>
#include <limits>

#include "passes/compose.h"

namespace tiercel {
namespace {

bool same_by_name(Graph& graph, NodeId id) {
  Composer e(graph, id);
  return e.finish({e.op(e.node().op_type, e.node().inputs, e.node().attributes)});
}

// Values in the order of their first place, where each element went, and counts.
bool unique(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const auto made = e.ops("Unique", {e.input(0)}, 4, with("sorted", int64_t{0}));
  return e.finish({made[0], made[2], made[3]});
}

bool sample_op(Graph& graph, NodeId id) {
  Composer e(graph, id);
  return e.finish({e.op("Identity", {e.input(0)})});
}

bool expand_dims(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const auto axis = integers(graph, e.input(1));
  if (!axis || axis->size() != 1) e.fail("axis is not a constant of one element");
  return e.finish({e.unsqueeze(e.input(0), *axis)});
}

bool gather_nd(Graph& graph, NodeId id) {
  Composer e(graph, id);
  return e.finish({e.op("GatherND", {e.input(0), e.cast(e.input(1), DType::Int64)})});
}

bool contrib_range(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const DType dtype = e.dtype(e.input(0));
  const ValueId step =
      e.has(2) ? e.scalar_of(e.input(2)) : e.cast(e.number(DType::Int64, 1), dtype);
  return e.finish({e.op("Range", {e.scalar_of(e.input(0)), e.scalar_of(e.input(1)), step})});
}

bool torch_embedding(Graph& graph, NodeId id) {
  Composer e(graph, id);
  return e.finish({e.gather(e.input(0), e.input(1), 0)});
}

// Windows of `size` along one axis, `step` apart; the places in a window become the last axis.
ValueId unfolded(Composer& e, ValueId x, int64_t axis, int64_t size, int64_t step) {
  const int64_t rank = e.rank(x, "input");
  const ValueId last = e.add(e.extent(x, axis), e.ints({1 - size}));
  const ValueId starts = e.op("Range", {e.constant(Tensor::scalar_i64(0)), e.scalar_of(last),
                                        e.constant(Tensor::scalar_i64(step))});
  std::vector<int64_t> places;
  for (int64_t i = 0; i < size; ++i) places.push_back(i);
  const ValueId which = e.add(e.unsqueeze(starts, {1}), e.ints(places));
  const ValueId windows = e.gather(x, which, axis);
  std::vector<int64_t> perm;
  for (int64_t i = 0; i <= rank; ++i) {
    if (i != axis + 1) perm.push_back(i);
  }
  perm.push_back(axis + 1);
  return e.transpose(windows, perm);
}

bool unfold_tensor(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const int64_t rank = e.rank(e.input(0), "input");
  int64_t axis = e.integer("dim", -1);
  if (axis < 0) axis += rank;
  if (axis < 0 || axis >= rank) e.refuse("dim", concat("an axis of input, which has rank ", rank));
  const int64_t size = e.integer("size"), step = e.integer("step", 1);
  if (size < 1) e.refuse("size", "1 or more");
  if (step < 1) e.refuse("step", "1 or more");
  return e.finish({unfolded(e, e.input(0), axis, size, step)});
}

// A token that would repeat one of the n-grams so far gets the score -inf.
bool n_gram_repeat_block(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const int64_t n = e.integer("ngram_size");
  if (n < 1) e.refuse("ngram_size", "1 or more");
  const ValueId ids = e.input(0), scores = e.input(1);
  const ValueId windows = unfolded(e, ids, 1, n, 1);
  const ValueId next = e.squeeze(e.slice(windows, 2, n - 1, n), {2});
  const double infinity = std::numeric_limits<double>::infinity();
  ValueId banned = e.number(DType::Float, -infinity);
  if (n > 1) {
    const ValueId end = e.op("Slice", {ids, e.ints({1 - n}), e.ints({INT64_MAX}), e.ints({1})});
    const ValueId same = e.op("Equal", {e.slice(windows, 2, 0, n - 1), e.unsqueeze(end, {1})});
    const ValueId differing =
        e.reduce("ReduceMax", e.cast(e.op("Not", {same}), DType::Int32), {2}, 0);
    banned = e.where(e.cast(differing, DType::Bool), e.number(DType::Float, infinity), banned);
  } else {
    banned = e.op("Expand", {banned, e.op("Shape", {next})});
  }
  Attributes attributes = with("axis", int64_t{1});
  attributes.set("reduction", std::string("min"));
  return e.finish({e.op("ScatterElements", {scores, next, banned}, std::move(attributes))});
}

// No input has an element that is looked for.
bool is_all_finite(Graph& graph, NodeId id) {
  Composer e(graph, id);
  ValueId good = kNone;
  for (ValueId x : e.node().inputs) {
    const ValueId nan = e.op("IsNaN", {x}), inf = e.op("IsInf", {x});
    const ValueId bad = e.flag("isnan_only")   ? nan
                        : e.flag("isinf_only") ? inf
                                               : e.op("Or", {nan, inf});
    const ValueId flat = e.concat_of({e.ints({0}), e.cast(e.flat(bad), DType::Int64)}, 0);
    const ValueId none = e.op("Not", {e.cast(e.reduce("ReduceMax", flat, {0}, 0), DType::Bool)});
    good = good == kNone ? none : e.op("And", {good, none});
  }
  return e.finish({good});
}

// Pairs (re, im) along the last axis.
bool multiplied(Graph& graph, NodeId id, double sign) {
  Composer e(graph, id);
  const auto a = e.split(e.input(0), {1, 1}, -1), b = e.split(e.input(1), {1, 1}, -1);
  const ValueId rr = e.mul(a[0], b[0]), ii = e.mul(a[1], b[1]);
  const ValueId ir = e.mul(a[1], b[0]), ri = e.mul(a[0], b[1]);
  const ValueId re = sign < 0 ? e.add(rr, ii) : e.sub(rr, ii);
  const ValueId im = sign < 0 ? e.sub(ir, ri) : e.add(ir, ri);
  return e.finish({e.concat_of({re, im}, -1)});
}

bool complex_mul(Graph& graph, NodeId id) { return multiplied(graph, id, 1); }
bool complex_mul_conj(Graph& graph, NodeId id) { return multiplied(graph, id, -1); }

void check_fourier(const Composer& e) {
  e.expect_integer("onesided", {1});
  e.expect_integer("normalized", {0});
  e.expect_integer("signal_ndim", {1});
}

bool rfft(Graph& graph, NodeId id) {
  Composer e(graph, id);
  check_fourier(e);
  const ValueId x = e.unsqueeze(e.input(0), {-1});
  const ValueId axis = e.constant(Tensor::scalar_i64(-2));
  return e.finish({e.op("DFT", {x, kNone, axis}, with("onesided", int64_t{1}))});
}

bool irfft(Graph& graph, NodeId id) {
  Composer e(graph, id);
  check_fourier(e);
  const ValueId half = e.extent(e.input(0), e.rank(e.input(0), "X") - 2);
  const ValueId length = e.op("Mul", {e.sub(half, e.ints({1})), e.ints({2})});
  Attributes attributes = with("onesided", int64_t{1});
  attributes.set("inverse", int64_t{1});
  const ValueId y =
      e.op("DFT", {e.input(0), e.scalar_of(length), e.constant(Tensor::scalar_i64(-2))},
           std::move(attributes));
  return e.finish({e.squeeze(y, {-1})});
}

// The best of all windows over the characters of each word, up to its last one that is not 0.
bool word_conv_embedding(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const ValueId words =
      e.op("Reshape", {e.input(0), e.concat_of({e.ints({-1}), e.extent(e.input(0), -1)}, 0)});
  const int64_t window = e.known(e.input(1), 2, "W");
  const ValueId letters = e.unsqueeze(e.gather(e.input(3), words, 0), {1});
  const ValueId conv = e.op("Conv", {letters, e.input(1), e.input(2)});
  const ValueId y = e.op("Tanh", {e.squeeze(conv, {3})});
  const ValueId zero = e.number(DType::Int32, 0);
  const ValueId present = e.cast(e.op("Greater", {words, zero}), DType::Int64);
  const ValueId ends = e.add(e.range(e.extent(words, 1)), e.ints({1}));
  const ValueId lengths = e.reduce("ReduceMax", e.mul(present, ends), {1});
  const ValueId last = e.op("Max", {e.sub(lengths, e.ints({window})), e.ints({0})});
  const ValueId inside = e.op("LessOrEqual", {e.range(e.extent(y, 2)), last});
  const ValueId shown =
      e.where(e.unsqueeze(inside, {1}), y, e.number(DType::Float, -2));  // tanh is above -1
  const ValueId best = e.reduce("ReduceMax", shown, {2}, 0);
  const ValueId some = e.cast(lengths, DType::Bool);
  const ValueId front = e.op("Shape", {e.input(0)}, with("end", int64_t{-1}));
  return e.finish({e.reshape_to(e.where(some, best, e.number(DType::Float, 0)),
                                e.concat_of({front, e.ints({-1})}, 0))});
}

constexpr Expansion kTensor[] = {
    {"com.microsoft", "WordConvEmbedding", word_conv_embedding},
    {"com.microsoft", "Trilu", same_by_name},
    {"com.microsoft", "Unique", unique},
    {"com.microsoft", "SampleOp", sample_op},
    {"com.microsoft", "ExpandDims", expand_dims},
    {"com.microsoft", "GatherND", gather_nd},
    {"com.microsoft", "Range", contrib_range},
    {"com.microsoft", "TorchEmbedding", torch_embedding},
    {"com.microsoft", "UnfoldTensor", unfold_tensor},
    {"com.microsoft", "NGramRepeatBlock", n_gram_repeat_block},
    {"com.microsoft", "IsAllFinite", is_all_finite},
    {"com.microsoft", "ComplexMul", complex_mul},
    {"com.microsoft", "ComplexMulConj", complex_mul_conj},
    {"com.microsoft", "Rfft", rfft},
    {"com.microsoft", "Irfft", irfft},
};

}  // namespace

std::span<const Expansion> contrib_tensor_expansions() { return kTensor; }

}  // namespace tiercel
