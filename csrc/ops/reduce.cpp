// Reductions over axes, arguments of extremes, and running sums.
#include "ops/families.h"
#include "ops/infer_values.h"

namespace tiercel {
namespace {

constexpr std::string_view kExtremeTypes =
    "float double float16 bfloat16 int8 int32 int64 uint8 uint32 uint64 bool";

// Output shape when `axes` are reduced; nullopt when the axes are not known.
std::optional<Shape> reduced(InferContext& ctx, std::optional<std::vector<int64_t>> axes,
                             bool keep) {
  const Shape& in = *ctx.shape(0);
  const auto rank = static_cast<int64_t>(in.size());
  std::vector<bool> drop(in.size(), false);
  for (int64_t axis : axes_in(ctx, *axes, rank)) drop[static_cast<size_t>(axis)] = true;
  Shape out;
  for (size_t i = 0; i < in.size(); ++i) {
    if (!drop[i]) out.push_back(in[i]);
    if (drop[i] && keep) out.emplace_back(1);
  }
  return out;
}

void reduce(InferContext& ctx) {
  if (!ctx.has_shape(0)) return ctx.set(0, ctx.dtype(0));
  const Shape& in = *ctx.shape(0);
  const bool keep = ctx.attr_int("keepdims", 1) != 0;
  std::optional<std::vector<int64_t>> axes;
  if (ctx.has_input(1)) {
    const Dim count = ctx.has_shape(1) ? product(*ctx.shape(1)) : Dim();
    if (count.known() && count.value() > static_cast<int64_t>(in.size())) {
      ctx.fail(concat("axes has ", count.value(), " entries; expected at most ", in.size()));
    }
    axes = ctx.integers(1);
    if (!axes) {
      // Which axes go is not known, but with keepdims the rank is.
      return ctx.set(0, ctx.dtype(0), keep ? std::optional(Shape(in.size())) : std::nullopt);
    }
  }
  if (!axes || axes->empty()) {
    if (ctx.attr_int("noop_with_empty_axes") != 0) return ctx.set(0, ctx.dtype(0), in);
    axes.emplace();
    for (size_t i = 0; i < in.size(); ++i) axes->push_back(static_cast<int64_t>(i));
  }
  ctx.set(0, ctx.dtype(0), reduced(ctx, axes, keep));
}

void running(InferContext& ctx) {
  same_as_first(ctx);
  if (ctx.has_shape(1)) {
    const Dim size = product(*ctx.shape(1));
    if (size.known() && size.value() != 1) ctx.fail("axis must be one number");
  }
}

void arg_reduce(InferContext& ctx) {
  if (!ctx.has_shape(0)) return ctx.set(0, DType::Int64);
  const bool keep = ctx.attr_int("keepdims", 1) != 0;
  ctx.set(0, DType::Int64, reduced(ctx, std::vector{ctx.attr_int("axis")}, keep));
}

}  // namespace

OpList reduce_ops() {
  return {
      {.name = "ArgMax",
       .since = 13,
       .inputs = {{"data", "T"}},
       .outputs = {{"reduced", "tensor(int64)"}},
       .types = {{"T", kNumbers}},
       .attributes = {{"axis", AttrDef::Int, false, int64_t{0}},
                      {"keepdims", AttrDef::Int, false, int64_t{1}},
                      {"select_last_index", AttrDef::Int, false, int64_t{0}}},
       .shape = arg_reduce},
      {.name = "ArgMin",
       .since = 13,
       .inputs = {{"data", "T"}},
       .outputs = {{"reduced", "tensor(int64)"}},
       .types = {{"T", kNumbers}},
       .attributes = {{"axis", AttrDef::Int, false, int64_t{0}},
                      {"keepdims", AttrDef::Int, false, int64_t{1}},
                      {"select_last_index", AttrDef::Int, false, int64_t{0}}},
       .shape = arg_reduce},
      {.name = "CumSum",
       .since = 14,
       .inputs = {{"x", "T"}, {"axis", "T2"}},
       .outputs = {{"y", "T"}},
       .types = {{"T", "float double float16 bfloat16 int32 int64 uint32 uint64"},
                 {"T2", "int32 int64"}},
       .attributes = {{"exclusive", AttrDef::Int, false, int64_t{0}},
                      {"reverse", AttrDef::Int, false, int64_t{0}}},
       .shape = running,
       .value_inputs = {1}},
      {.name = "CumProd",
       .since = 26,
       .inputs = {{"x", "T"}, {"axis", "T2"}},
       .outputs = {{"y", "T"}},
       .types = {{"T", "float double float16 bfloat16 int32 int64 uint32 uint64"},
                 {"T2", "int32 int64"}},
       .attributes = {{"exclusive", AttrDef::Int, false, int64_t{0}},
                      {"reverse", AttrDef::Int, false, int64_t{0}}},
       .shape = running,
       .value_inputs = {1}},
      {.name = "ReduceL1",
       .since = 18,
       .inputs = {{"data", "T"}, {"axes", "tensor(int64)", Param::Optional}},
       .outputs = {{"reduced", "T"}},
       .types = {{"T", "float double float16 bfloat16 int32 int64 uint32 uint64"}},
       .attributes = {{"keepdims", AttrDef::Int, false, int64_t{1}},
                      {"noop_with_empty_axes", AttrDef::Int, false, int64_t{0}}},
       .shape = reduce,
       .value_inputs = {1}},
      {.name = "ReduceL2",
       .since = 18,
       .inputs = {{"data", "T"}, {"axes", "tensor(int64)", Param::Optional}},
       .outputs = {{"reduced", "T"}},
       .types = {{"T", "float double float16 bfloat16 int32 int64 uint32 uint64"}},
       .attributes = {{"keepdims", AttrDef::Int, false, int64_t{1}},
                      {"noop_with_empty_axes", AttrDef::Int, false, int64_t{0}}},
       .shape = reduce,
       .value_inputs = {1}},
      {.name = "ReduceLogSum",
       .since = 28,
       .inputs = {{"data", "T"}, {"axes", "tensor(int64)", Param::Optional}},
       .outputs = {{"reduced", "T"}},
       .types = {{"T", "float double float16 bfloat16"}},
       .attributes = {{"keepdims", AttrDef::Int, false, int64_t{1}},
                      {"noop_with_empty_axes", AttrDef::Int, false, int64_t{0}}},
       .shape = reduce,
       .value_inputs = {1}},
      {.name = "ReduceLogSumExp",
       .since = 28,
       .inputs = {{"data", "T"}, {"axes", "tensor(int64)", Param::Optional}},
       .outputs = {{"reduced", "T"}},
       .types = {{"T", "float double float16 bfloat16"}},
       .attributes = {{"keepdims", AttrDef::Int, false, int64_t{1}},
                      {"noop_with_empty_axes", AttrDef::Int, false, int64_t{0}}},
       .shape = reduce,
       .value_inputs = {1}},
      {.name = "ReduceMax",
       .since = 20,
       .inputs = {{"data", "T"}, {"axes", "tensor(int64)", Param::Optional}},
       .outputs = {{"reduced", "T"}},
       .types = {{"T", kExtremeTypes}},
       .attributes = {{"keepdims", AttrDef::Int, false, int64_t{1}},
                      {"noop_with_empty_axes", AttrDef::Int, false, int64_t{0}}},
       .shape = reduce,
       .value_inputs = {1}},
      {.name = "ReduceMean",
       .since = 18,
       .inputs = {{"data", "T"}, {"axes", "tensor(int64)", Param::Optional}},
       .outputs = {{"reduced", "T"}},
       .types = {{"T", "float double float16 bfloat16 int32 int64 uint32 uint64"}},
       .attributes = {{"keepdims", AttrDef::Int, false, int64_t{1}},
                      {"noop_with_empty_axes", AttrDef::Int, false, int64_t{0}}},
       .shape = reduce,
       .value_inputs = {1}},
      {.name = "ReduceMin",
       .since = 20,
       .inputs = {{"data", "T"}, {"axes", "tensor(int64)", Param::Optional}},
       .outputs = {{"reduced", "T"}},
       .types = {{"T", kExtremeTypes}},
       .attributes = {{"keepdims", AttrDef::Int, false, int64_t{1}},
                      {"noop_with_empty_axes", AttrDef::Int, false, int64_t{0}}},
       .shape = reduce,
       .value_inputs = {1}},
      {.name = "ReduceProd",
       .since = 18,
       .inputs = {{"data", "T"}, {"axes", "tensor(int64)", Param::Optional}},
       .outputs = {{"reduced", "T"}},
       .types = {{"T", "float double float16 bfloat16 int32 int64 uint32 uint64"}},
       .attributes = {{"keepdims", AttrDef::Int, false, int64_t{1}},
                      {"noop_with_empty_axes", AttrDef::Int, false, int64_t{0}}},
       .shape = reduce,
       .value_inputs = {1}},
      {.name = "ReduceSum",
       .since = 13,
       .inputs = {{"data", "T"}, {"axes", "tensor(int64)", Param::Optional}},
       .outputs = {{"reduced", "T"}},
       .types = {{"T", "float double float16 bfloat16 int32 int64 uint32 uint64"}},
       .attributes = {{"keepdims", AttrDef::Int, false, int64_t{1}},
                      {"noop_with_empty_axes", AttrDef::Int, false, int64_t{0}}},
       .shape = reduce,
       .value_inputs = {1}},
      {.name = "ReduceSumSquare",
       .since = 18,
       .inputs = {{"data", "T"}, {"axes", "tensor(int64)", Param::Optional}},
       .outputs = {{"reduced", "T"}},
       .types = {{"T", "float double float16 bfloat16 int32 int64 uint32 uint64"}},
       .attributes = {{"keepdims", AttrDef::Int, false, int64_t{1}},
                      {"noop_with_empty_axes", AttrDef::Int, false, int64_t{0}}},
       .shape = reduce,
       .value_inputs = {1}},
  };
}

}  // namespace tiercel
