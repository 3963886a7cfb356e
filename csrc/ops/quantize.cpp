// Quantisation: between floats and scaled integers.
#include "ops/expect.h"
#include "ops/families.h"
#include "ops/infer_values.h"

namespace tiercel {
namespace {

constexpr std::string_view kQuantizedTypes =
    "int8 int16 uint8 uint16 float4e2m1 float6e2m3 float6e3m2 float8e4m3fn float8e4m3fnuz "
    "float8e5m2 float8e5m2fnuz int4 uint4 int2 uint2";

constexpr std::string_view kDequantizedTypes =
    "int8 int16 int32 uint8 uint16 float4e2m1 float6e2m3 float6e3m2 float8e4m3fn float8e4m3fnuz "
    "float8e5m2 float8e5m2fnuz int4 uint4 int2 uint2";

// Scale and zero point: one number, one per step along the axis, or one per block of it.
void check_scales(InferContext& ctx) {
  const int64_t block = ctx.attr_int("block_size");
  if (block < 0) ctx.fail(concat("block_size is ", block, "; expected 0 or more"));
  if (!ctx.has_shape(1)) return;
  const Dim scales = product(*ctx.shape(1));
  if (ctx.has_shape(2) && differ(scales, product(*ctx.shape(2)))) {
    ctx.fail(concat("scale has shape ", shape_text(*ctx.shape(1)), ", zero point ",
                    shape_text(*ctx.shape(2))));
  }
  if (!ctx.has_shape(0) || !scales.known() || scales.value() == 1) return;
  Shape blocks = *ctx.shape(0);
  const auto axis = static_cast<size_t>(
      axis_in(ctx, ctx.attr_int("axis", 1), static_cast<int64_t>(blocks.size())));
  if (block == 0) return expect_vectors(ctx, {1}, blocks[axis]);
  blocks[axis] = ceil_div(blocks[axis], Dim(block));
  expect_shape(ctx, 1, blocks);
}

// The result type: the zero point's, else output_dtype, else uint8.
void quantize(InferContext& ctx) {
  check_scales(ctx);
  DType dtype = DType::UInt8;
  if (const int64_t wanted = ctx.attr_int("output_dtype"); wanted != 0) {
    if (!dtype_is_valid(wanted)) ctx.fail(concat("output_dtype ", wanted, " is no element type"));
    dtype = static_cast<DType>(wanted);
  }
  if (ctx.has_input(2)) dtype = ctx.dtype(2);
  ctx.set(0, dtype, ctx.shape(0));
}

void dequantize(InferContext& ctx) {
  check_scales(ctx);
  DType dtype = ctx.dtype(1);
  if (const int64_t wanted = ctx.attr_int("output_dtype"); wanted != 0) {
    if (!dtype_is_valid(wanted)) ctx.fail(concat("output_dtype ", wanted, " is no element type"));
    dtype = static_cast<DType>(wanted);
  }
  ctx.set(0, dtype, ctx.shape(0));
}

void dynamic_quantize(InferContext& ctx) {
  ctx.set(0, DType::UInt8, ctx.shape(0));
  ctx.set(1, DType::Float, Shape{});
  ctx.set(2, DType::UInt8, Shape{});
}

}  // namespace

OpList quantize_ops() {
  return {
      {.name = "QuantizeLinear",
       .since = 28,
       .inputs = {{"x", "T1"}, {"y_scale", "T2"}, {"y_zero_point", "T3", Param::Optional}},
       .outputs = {{"y", "T3"}},
       .types = {{"T1", "float float16 bfloat16 int32"},
                 {"T2", "float float16 bfloat16 int32 float8e8m0"},
                 {"T3", kQuantizedTypes}},
       .attributes = {{"axis", AttrDef::Int, false, int64_t{1}},
                      {"block_size", AttrDef::Int, false, int64_t{0}},
                      {"output_dtype", AttrDef::Int, false, int64_t{0}},
                      {"precision", AttrDef::Int, false, int64_t{0}},
                      {"saturate", AttrDef::Int, false, int64_t{1}}},
       .shape = quantize},
      {.name = "DequantizeLinear",
       .since = 28,
       .inputs = {{"x", "T1"}, {"x_scale", "T2"}, {"x_zero_point", "T1", Param::Optional}},
       .outputs = {{"y", "T3"}},
       .types = {{"T1", kDequantizedTypes},
                 {"T2", "float float16 bfloat16 float8e8m0"},
                 {"T3", "float float16 bfloat16"}},
       .attributes = {{"axis", AttrDef::Int, false, int64_t{1}},
                      {"block_size", AttrDef::Int, false, int64_t{0}},
                      {"output_dtype", AttrDef::Int, false, int64_t{0}}},
       .shape = dequantize},
      {.name = "DynamicQuantizeLinear",
       .since = 11,
       .inputs = {{"x", "T1"}},
       .outputs = {{"y", "T2"}, {"y_scale", "tensor(float)"}, {"y_zero_point", "T2"}},
       .types = {{"T1", "float"}, {"T2", "uint8"}},
       .shape = dynamic_quantize},
  };
}

}  // namespace tiercel
