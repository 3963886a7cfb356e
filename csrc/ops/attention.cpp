// Attention, its linear form, rotary positions and gated activations.
#include "ops/expect.h"
#include "ops/families.h"
#include "ops/infer_values.h"

namespace tiercel {
namespace {

constexpr std::string_view kMaskTypes =
    "float double float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool";

// How an operand of rank 3 or 4 is cut into heads.
struct Heads {
  Dim batch, heads, length, size;
};

Heads heads_of(InferContext& ctx, int input, std::string_view count_attribute) {
  const Shape& shape = *ctx.shape(input);
  if (shape.size() == 4) return {shape[0], shape[1], shape[2], shape[3]};
  if (shape.size() != 3) {
    ctx.fail(concat("input ", input, " has shape ", shape_text(shape), "; expected rank 3 or 4"));
  }
  const int64_t count = ctx.attr_int(count_attribute);
  if (count <= 0) {
    ctx.fail(concat("operands of rank 3 need attribute ", std::string(count_attribute)));
  }
  if (shape[2].known() && shape[2].value() % count != 0) {
    ctx.fail(concat("input ", input, " has ", shape[2].value(), " elements per position for ",
                    count, " heads"));
  }
  return {shape[0], Dim(count), shape[1], floor_div(shape[2], Dim(count))};
}

// Keys and values belong together, and each of their heads serves equally many heads of queries.
void check_heads(InferContext& ctx, const Heads& q, const Heads& k, const Heads& v) {
  if (differ(q.batch, k.batch) || differ(k.batch, v.batch) || differ(k.heads, v.heads) ||
      differ(k.length, v.length) || differ(q.size, k.size)) {
    ctx.fail(concat("queries ", shape_text(*ctx.shape(0)), ", keys ", shape_text(*ctx.shape(1)),
                    " and values ", shape_text(*ctx.shape(2)), " do not belong together"));
  }
  if (q.heads.known() && k.heads.known() &&
      (k.heads.value() < 1 || q.heads.value() % k.heads.value() != 0)) {
    ctx.fail(concat(q.heads.value(), " heads of queries for ", k.heads.value(), " of keys"));
  }
}

void check_cache(InferContext& ctx, const Heads& q, const Heads& k, const Heads& v,
                 const Dim& total) {
  if (ctx.has_input(4) != ctx.has_input(5)) ctx.fail("past_key and past_value go together");
  if (ctx.has_input(4)) {
    const Dim past = total - k.length;
    expect_shape(ctx, 4, {k.batch, k.heads, past, k.size});
    expect_shape(ctx, 5, {v.batch, v.heads, past, v.size});
  }
  expect_shape(ctx, 6, {q.batch});
  // The last axis may be shorter than the keys: those behind it are masked.
  expect_rank(ctx, 3, 1, 4);
  if (!ctx.has_shape(3)) return;
  expect_into(ctx, 3, {q.batch, q.heads, q.length, ctx.shape(3)->back()});
}

void attention(InferContext& ctx) {
  const DType dtype = ctx.dtype(0);
  for (int i = 0; i < 4; ++i) {
    if (ctx.has_output(i)) ctx.set(i, i == 2 ? ctx.dtype(2) : i == 1 ? ctx.dtype(1) : dtype);
  }
  if (!ctx.has_shape(0) || !ctx.has_shape(1) || !ctx.has_shape(2)) return;
  const Heads q = heads_of(ctx, 0, "q_num_heads");
  const Heads k = heads_of(ctx, 1, "kv_num_heads");
  const Heads v = heads_of(ctx, 2, "kv_num_heads");
  Dim total = k.length;
  if (ctx.has_input(4)) {
    total = ctx.has_shape(4) && ctx.shape(4)->size() == 4 ? (*ctx.shape(4))[2] + total : Dim();
  }
  check_heads(ctx, q, k, v);
  check_cache(ctx, q, k, v, total);
  const bool packed = ctx.shape(0)->size() == 3;
  ctx.set(0, dtype,
          packed ? Shape{q.batch, q.length, q.heads * v.size}
                 : Shape{q.batch, q.heads, q.length, v.size});
  if (ctx.has_output(1)) ctx.set(1, ctx.dtype(1), Shape{k.batch, k.heads, total, k.size});
  if (ctx.has_output(2)) ctx.set(2, ctx.dtype(2), Shape{v.batch, v.heads, total, v.size});
  if (ctx.has_output(3)) ctx.set(3, dtype, Shape{q.batch, q.heads, q.length, total});
}

void linear_attention(InferContext& ctx) {
  ctx.set(0, ctx.dtype(0));
  ctx.set(1, ctx.has_input(3) ? ctx.dtype(3) : ctx.dtype(0));
  if (!ctx.has_shape(0) || !ctx.has_shape(1) || !ctx.has_shape(2)) return;
  const Heads q = heads_of(ctx, 0, "q_num_heads");
  const Heads k = heads_of(ctx, 1, "kv_num_heads");
  const Heads v = heads_of(ctx, 2, "kv_num_heads");
  for (int i = 0; i < 3; ++i) expect_rank(ctx, i, 3, 3);
  check_heads(ctx, q, k, v);
  if (differ(q.length, k.length)) ctx.fail("queries and keys have different lengths");
  expect_shape(ctx, 3, {k.batch, k.heads, k.size, v.size});
  expect_shape(ctx, 4, {k.batch, k.length, Dim()});
  expect_shape(ctx, 5, {k.batch, k.length, Dim()});
  ctx.set(0, ctx.dtype(0), Shape{q.batch, q.length, q.heads * v.size});
  const DType state = ctx.has_input(3) ? ctx.dtype(3) : ctx.dtype(0);
  ctx.set(1, state, Shape{k.batch, k.heads, k.size, v.size});
}

// Angles by position in the cache, or one for each position of the input.
void rotary(InferContext& ctx) {
  same_as_first(ctx);
  if (!ctx.has_shape(0)) return;
  const Heads x = heads_of(ctx, 0, "num_heads");
  int64_t turned = ctx.attr_int("rotary_embedding_dim");
  if (turned < 0 || turned % 2 != 0 || (x.size.known() && turned > x.size.value())) {
    ctx.fail(concat("rotary_embedding_dim is ", turned, "; expected an even number up to ",
                    x.size.text()));
  }
  if (turned == 0 && x.size.known()) turned = x.size.value();
  if (turned % 2 != 0) ctx.fail(concat("heads of ", turned, " elements cannot be turned in pairs"));
  const Dim half = turned > 0 ? Dim(turned / 2) : Dim();
  expect_shape(ctx, 3, {x.batch, x.length});
  for (int cache : {1, 2}) {
    expect_shape(ctx, cache,
                 ctx.has_input(3) ? Shape{Dim(), half} : Shape{x.batch, x.length, half});
  }
  if (ctx.has_shape(1) && ctx.has_shape(2)) expect_shape(ctx, 2, *ctx.shape(1));
}

void causal_conv(InferContext& ctx) {
  same_as_first(ctx);
  ctx.set(1, ctx.dtype(0));
  if (!ctx.has_shape(0) || !ctx.has_shape(1)) return;
  const Shape& in = *ctx.shape(0);
  const Shape& weight = *ctx.shape(1);
  if (in.size() != 3 || weight.size() != 3) ctx.fail("input and weight must have rank 3");
  const auto expect = [&](int input, const char* name, const Shape& want) {
    if (!ctx.has_shape(input)) return;
    const auto got = concrete(*ctx.shape(input)), wanted = concrete(want);
    if (got && wanted && *got != *wanted) {
      ctx.fail(concat(name, " has shape ", dims_text(*got), "; expected ", dims_text(*wanted)));
    }
  };
  if (weight[2].known() && weight[2].value() < 1) ctx.fail("weight has no elements");
  expect(1, "weight", {in[1], 1, weight[2]});
  expect(2, "bias", {in[1]});
  expect(3, "past_state", {in[0], in[1], weight[2] - Dim(1)});
  ctx.set(1, ctx.dtype(0), Shape{in[0], in[1], weight[2] - Dim(1)});
}

void flex_attention(InferContext& ctx) {
  ctx.set(0, ctx.dtype(0));
  if (!ctx.has_shape(0) || !ctx.has_shape(2)) return;
  const Shape& q = *ctx.shape(0);
  const Shape& v = *ctx.shape(2);
  if (q.size() != 4 || v.size() != 4) {
    ctx.fail(concat("Q has rank ", q.size(), " and V has rank ", v.size(), "; expected 4"));
  }
  ctx.set(0, ctx.dtype(0), Shape{q[0], q[1], q[2], v[3]});
}

}  // namespace

OpList attention_ops() {
  return {
      {.name = "Attention",
       .since = 25,
       .inputs = {{"Q", "T1"},
                  {"K", "T1"},
                  {"V", "T2"},
                  {"attn_mask", "U", Param::Optional},
                  {"past_key", "T1", Param::Optional},
                  {"past_value", "T2", Param::Optional},
                  {"nonpad_kv_seqlen", "tensor(int64)", Param::Optional}},
       .outputs = {{"Y", "T1"},
                   {"present_key", "T1", Param::Optional},
                   {"present_value", "T2", Param::Optional},
                   {"qk_matmul_output", "T1", Param::Optional}},
       .types = {{"T1", "float double float16 bfloat16"},
                 {"T2", "float double float16 bfloat16"},
                 {"U", kMaskTypes}},
       .attributes = {{"is_causal", AttrDef::Int, false, int64_t{0}},
                      {"kv_num_heads", AttrDef::Int},
                      {"left_window_size", AttrDef::Int, false, int64_t{-1}},
                      {"q_num_heads", AttrDef::Int},
                      {"qk_matmul_output_mode", AttrDef::Int, false, int64_t{0}},
                      {"right_window_size", AttrDef::Int, false, int64_t{-1}},
                      {"scale", AttrDef::Float},
                      {"softcap", AttrDef::Float, false, 0.0},
                      {"softmax_precision", AttrDef::Int}},
       .shape = attention},
      {.domain = "ai.onnx.preview",
       .name = "FlexAttention",
       .since = 1,
       .inputs = {{"Q", "T1"}, {"K", "T1"}, {"V", "T1"}},
       .outputs = {{"Y", "T1"}},
       .types = {{"T1", "float double float16 bfloat16"}},
       .attributes = {{"prob_mod", AttrDef::Graph},
                      {"scale", AttrDef::Float},
                      {"score_mod", AttrDef::Graph},
                      {"softmax_precision", AttrDef::Int}},
       .shape = flex_attention},
      {.name = "RotaryEmbedding",
       .since = 23,
       .inputs = {{"X", "T"},
                  {"cos_cache", "T"},
                  {"sin_cache", "T"},
                  {"position_ids", "M", Param::Optional}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", "float float16 bfloat16"}, {"M", "int64"}},
       .attributes = {{"interleaved", AttrDef::Int, false, int64_t{0}},
                      {"num_heads", AttrDef::Int},
                      {"rotary_embedding_dim", AttrDef::Int, false, int64_t{0}}},
       .shape = rotary},
      {.name = "LinearAttention",
       .since = 27,
       .inputs = {{"query", "T"},
                  {"key", "T"},
                  {"value", "T"},
                  {"past_state", "S", Param::Optional},
                  {"decay", "T", Param::Optional},
                  {"beta", "T", Param::Optional}},
       .outputs = {{"output", "T"}, {"present_state", "S"}},
       .types = {{"T", "float float16 bfloat16"}, {"S", "float float16 bfloat16"}},
       .attributes = {{"chunk_size", AttrDef::Int, false, int64_t{64}},
                      {"kv_num_heads", AttrDef::Int, true},
                      {"q_num_heads", AttrDef::Int, true},
                      {"scale", AttrDef::Float, false, 0.0},
                      {"update_rule", AttrDef::String, false, std::string("gated_delta")}},
       .shape = linear_attention},
      {.name = "CausalConvWithState",
       .since = 27,
       .inputs = {{"input", "T"},
                  {"weight", "T"},
                  {"bias", "T", Param::Optional},
                  {"past_state", "T", Param::Optional}},
       .outputs = {{"output", "T"}, {"present_state", "T"}},
       .types = {{"T", "float float16 bfloat16"}},
       .attributes = {{"activation", AttrDef::String, false, std::string("none")}},
       .shape = causal_conv},
      {.name = "SwiGLU",
       .since = 28,
       .inputs = {{"A", "T"}, {"B", "T"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", "float double float16 bfloat16"}},
       .attributes = {{"alpha", AttrDef::Float, false, 1.0}},
       .shape = same_as_first,
       .facts = kElementwise},
  };
}

}  // namespace tiercel
