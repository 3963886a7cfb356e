// Normalisations and dropout.
#include "ops/expect.h"
#include "ops/families.h"
#include "ops/infer_values.h"

namespace tiercel {
namespace {

// The extent of axis 1, by which channels are counted.
Dim channels(InferContext& ctx) {
  const Shape& x = *ctx.shape(0);
  return x.size() > 1 ? x[1] : Dim(1);
}

void batch_norm(InferContext& ctx) {
  same_as_first(ctx);
  if (ctx.has_shape(0)) expect_vectors(ctx, {1, 2, 3, 4}, channels(ctx));
  for (int i = 1; i < 3; ++i) {
    if (ctx.has_output(i)) ctx.set(i, ctx.dtype(i + 2), ctx.shape(i + 2));
  }
}

// Mean and inverse deviation keep the axes before `axis`, the others become 1.
void layer_norm(InferContext& ctx) {
  same_as_first(ctx);
  std::optional<Shape> statistics;
  if (ctx.has_shape(0)) {
    statistics = *ctx.shape(0);
    const auto rank = static_cast<int64_t>(statistics->size());
    const int64_t first = axis_in(ctx, ctx.attr_int("axis", -1), rank);
    for (int64_t i = first; i < rank; ++i) (*statistics)[static_cast<size_t>(i)] = Dim(1);
  }
  for (int i = 1; i < 3 && ctx.has_shape(0); ++i) expect_into(ctx, i, *ctx.shape(0));
  const int64_t stash = ctx.attr_int("stash_type", 1);
  if (stash != 1 && stash != 16) {
    ctx.fail(concat("stash_type is ", stash, "; expected 1 (float) or 16 (bfloat16)"));
  }
  const auto dtype = static_cast<DType>(stash);
  for (int i = 1; i < 3; ++i) {
    if (ctx.has_output(i)) ctx.set(i, dtype, statistics);
  }
}

void instance_norm(InferContext& ctx) {
  same_as_first(ctx);
  if (!ctx.has_shape(0)) return;
  expect_rank(ctx, 0, 2, SIZE_MAX);
  expect_vectors(ctx, {1, 2}, channels(ctx));
}

void group_norm(InferContext& ctx) {
  instance_norm(ctx);
  const int64_t groups = ctx.attr_int("num_groups");
  const Dim count = ctx.has_shape(0) ? channels(ctx) : Dim();
  if (groups < 1 || (count.known() && count.value() % groups != 0)) {
    ctx.fail(
        concat("num_groups is ", groups, "; expected a divisor of ", count.text(), " channels"));
  }
}

void local_norm(InferContext& ctx) {
  same_as_first(ctx);
  if (ctx.attr_int("size") < 1) ctx.fail("size must be 1 or more");
  if (ctx.has_shape(0)) expect_rank(ctx, 0, 2, SIZE_MAX);
}

void lp_norm(InferContext& ctx) {
  same_as_first(ctx);
  if (!ctx.has_shape(0)) return;
  axis_in(ctx, ctx.attr_int("axis", -1), static_cast<int64_t>(ctx.shape(0)->size()));
}

void dropout(InferContext& ctx) {
  same_as_first(ctx);
  if (ctx.has_output(1)) ctx.set(1, DType::Bool, ctx.shape(0));
}

// The result has the type of the scale.
void scaled_norm(InferContext& ctx) {
  if (ctx.has_shape(0)) {
    const auto rank = static_cast<int64_t>(ctx.shape(0)->size());
    static_cast<void>(axis_in(ctx, ctx.attr_int("axis", -1), rank));
  }
  ctx.set(0, ctx.dtype(1), ctx.shape(0));
}

}  // namespace

OpList norm_ops() {
  return {
      {.name = "BatchNormalization",
       .since = 15,
       .inputs =
           {{"X", "T"}, {"scale", "T1"}, {"B", "T1"}, {"input_mean", "T2"}, {"input_var", "T2"}},
       .outputs = {{"Y", "T"},
                   {"running_mean", "T2", Param::Optional},
                   {"running_var", "T2", Param::Optional}},
       .types = {{"T", "float double float16 bfloat16"},
                 {"T1", "float double float16 bfloat16"},
                 {"T2", "float double float16 bfloat16"}},
       .attributes = {{"epsilon", AttrDef::Float, false, 9.99999975e-06},
                      {"momentum", AttrDef::Float, false, 0.899999976},
                      {"training_mode", AttrDef::Int, false, int64_t{0}}},
       .shape = batch_norm},
      {.name = "Dropout",
       .since = 22,
       .inputs = {{"data", "T"},
                  {"ratio", "T1", Param::Optional},
                  {"training_mode", "T2", Param::Optional}},
       .outputs = {{"output", "T"}, {"mask", "T2", Param::Optional}},
       .types = {{"T", kFloatsAndFloat8}, {"T1", kFloatsAndFloat8}, {"T2", "bool"}},
       .attributes = {{"seed", AttrDef::Int}},
       .shape = dropout,
       .facts = kNondeterministic},
      {.name = "GroupNormalization",
       .since = 21,
       .inputs = {{"X", "T"}, {"scale", "T"}, {"bias", "T"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", "float double float16 bfloat16"}},
       .attributes = {{"epsilon", AttrDef::Float, false, 9.99999975e-06},
                      {"num_groups", AttrDef::Int, true},
                      {"stash_type", AttrDef::Int, false, int64_t{1}}},
       .shape = group_norm},
      {.name = "InstanceNormalization",
       .since = 22,
       .inputs = {{"input", "T"}, {"scale", "T"}, {"B", "T"}},
       .outputs = {{"output", "T"}},
       .types = {{"T", "float double float16 bfloat16"}},
       .attributes = {{"epsilon", AttrDef::Float, false, 9.99999975e-06}},
       .shape = instance_norm},
      {.name = "LRN",
       .since = 13,
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", "float double float16 bfloat16"}},
       .attributes = {{"alpha", AttrDef::Float, false, 9.99999975e-05},
                      {"beta", AttrDef::Float, false, 0.75},
                      {"bias", AttrDef::Float, false, 1.0},
                      {"size", AttrDef::Int, true}},
       .shape = local_norm},
      {.name = "LayerNormalization",
       .since = 17,
       .inputs = {{"X", "T"}, {"Scale", "T"}, {"B", "T", Param::Optional}},
       .outputs = {{"Y", "T"}, {"Mean", "U", Param::Optional}, {"InvStdDev", "U", Param::Optional}},
       .types = {{"T", "float double float16 bfloat16"}, {"U", "float bfloat16"}},
       .attributes = {{"axis", AttrDef::Int, false, int64_t{-1}},
                      {"epsilon", AttrDef::Float, false, 9.99999975e-06},
                      {"stash_type", AttrDef::Int, false, int64_t{1}}},
       .shape = layer_norm},
      // The same of numbers that are not rounded to the type of the result.
      {.domain = "tiercel",
       .name = "LayerNormalization",
       .inputs = {{"X", "T"}, {"Scale", "V"}, {"B", "V", Param::Optional}},
       .outputs = {{"Y", "V"}},
       .types = {{"T", "float"}, {"V", "float16 bfloat16"}},
       .attributes = {{"axis", AttrDef::Int, false, int64_t{-1}},
                      {"epsilon", AttrDef::Float, false, 9.99999975e-06},
                      {"stash_type", AttrDef::Int, false, int64_t{1}}},
       .shape = scaled_norm},
      {.name = "LpNormalization",
       .since = 22,
       .inputs = {{"input", "T"}},
       .outputs = {{"output", "T"}},
       .types = {{"T", "float double float16 bfloat16"}},
       .attributes = {{"axis", AttrDef::Int, false, int64_t{-1}},
                      {"p", AttrDef::Int, false, int64_t{2}}},
       .shape = lp_norm},
      {.name = "MeanVarianceNormalization",
       .since = 13,
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", "float double float16 bfloat16"}},
       .attributes = {{"axes", AttrDef::Ints, false, std::vector<int64_t>{0, 2, 3}}},
       .shape = same_as_first},
      {.name = "RMSNormalization",
       .since = 23,
       .inputs = {{"X", "T"}, {"scale", "V"}},
       .outputs = {{"Y", "V"}},
       .types = {{"T", "float double float16 bfloat16"}, {"V", "float double float16 bfloat16"}},
       .attributes = {{"axis", AttrDef::Int, false, int64_t{-1}},
                      {"epsilon", AttrDef::Float, false, 9.99999975e-06},
                      {"stash_type", AttrDef::Int, false, int64_t{1}}},
       .shape = scaled_norm},
  };
}

}  // namespace tiercel
