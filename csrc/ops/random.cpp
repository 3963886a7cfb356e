// Random numbers; nothing is folded or merged.
#include "ops/families.h"
#include "ops/infer_values.h"
#include "ops/op_def.h"

namespace tiercel {
namespace {

constexpr std::string_view kNumbersAndBool =
    "float double float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool";

DType dtype_or(InferContext& ctx, DType fallback) {
  if (!ctx.has_attr("dtype")) return fallback;
  const int64_t number = ctx.attr_int("dtype");
  if (!dtype_is_valid(number)) ctx.fail(concat("dtype ", number, " is no element type"));
  return static_cast<DType>(number);
}

void random(InferContext& ctx) {
  const auto dims = ctx.attr_ints("shape");
  if (!dims) ctx.fail("attribute shape is missing");
  for (int64_t dim : *dims) {
    if (dim < 0) ctx.fail(concat("shape holds ", dim, "; expected no negative extent"));
  }
  ctx.set(0, dtype_or(ctx, DType::Float), to_shape(*dims));
}

void random_like(InferContext& ctx) { ctx.set(0, dtype_or(ctx, ctx.dtype(0)), ctx.shape(0)); }

void multinomial(InferContext& ctx) {
  const int64_t samples = ctx.attr_int("sample_size", 1);
  if (samples < 1) ctx.fail(concat("sample_size is ", samples, "; expected 1 or more"));
  const DType dtype = dtype_or(ctx, DType::Int32);
  if (dtype != DType::Int32 && dtype != DType::Int64) ctx.fail("dtype is not int32 or int64");
  Dim batch;
  if (ctx.has_shape(0)) {
    if (ctx.shape(0)->size() != 2) {
      ctx.fail(concat("input has rank ", ctx.shape(0)->size(), "; expected [batch, classes]"));
    }
    batch = ctx.shape(0)->front();
  }
  ctx.set(0, dtype, Shape{batch, samples});
}

}  // namespace

OpList random_ops() {
  return {
      {.name = "RandomNormal",
       .since = 22,
       .inputs = {},
       .outputs = {{"output", "T"}},
       .types = {{"T", "float double float16 bfloat16"}},
       .attributes = {{"dtype", AttrDef::Int, false, int64_t{1}},
                      {"mean", AttrDef::Float, false, 0.0},
                      {"scale", AttrDef::Float, false, 1.0},
                      {"seed", AttrDef::Float},
                      {"shape", AttrDef::Ints, true}},
       .shape = random,
       .facts = kNondeterministic},
      {.name = "RandomNormalLike",
       .since = 22,
       .inputs = {{"input", "T1"}},
       .outputs = {{"output", "T2"}},
       .types = {{"T1", kStandardTensors}, {"T2", "float double float16 bfloat16"}},
       .attributes = {{"dtype", AttrDef::Int},
                      {"mean", AttrDef::Float, false, 0.0},
                      {"scale", AttrDef::Float, false, 1.0},
                      {"seed", AttrDef::Float}},
       .shape = random_like,
       .facts = kNondeterministic},
      {.name = "RandomUniform",
       .since = 22,
       .inputs = {},
       .outputs = {{"output", "T"}},
       .types = {{"T", "float double float16 bfloat16"}},
       .attributes = {{"dtype", AttrDef::Int, false, int64_t{1}},
                      {"high", AttrDef::Float, false, 1.0},
                      {"low", AttrDef::Float, false, 0.0},
                      {"seed", AttrDef::Float},
                      {"shape", AttrDef::Ints, true}},
       .shape = random,
       .facts = kNondeterministic},
      {.name = "RandomUniformLike",
       .since = 22,
       .inputs = {{"input", "T1"}},
       .outputs = {{"output", "T2"}},
       .types = {{"T1", kStandardTensors}, {"T2", "float double float16 bfloat16"}},
       .attributes = {{"dtype", AttrDef::Int},
                      {"high", AttrDef::Float, false, 1.0},
                      {"low", AttrDef::Float, false, 0.0},
                      {"seed", AttrDef::Float}},
       .shape = random_like,
       .facts = kNondeterministic},
      {.name = "Bernoulli",
       .since = 22,
       .inputs = {{"input", "T1"}},
       .outputs = {{"output", "T2"}},
       .types = {{"T1", "float double float16 bfloat16"}, {"T2", kNumbersAndBool}},
       .attributes = {{"dtype", AttrDef::Int}, {"seed", AttrDef::Float}},
       .shape = random_like,
       .facts = kNondeterministic},
      {.name = "Multinomial",
       .since = 22,
       .inputs = {{"input", "T1"}},
       .outputs = {{"output", "T2"}},
       .types = {{"T1", "float double float16 bfloat16"}, {"T2", "int32 int64"}},
       .attributes = {{"dtype", AttrDef::Int, false, int64_t{6}},
                      {"sample_size", AttrDef::Int, false, int64_t{1}},
                      {"seed", AttrDef::Float}},
       .shape = multinomial,
       .facts = kNondeterministic},
  };
}

}  // namespace tiercel
