// Operators that make tensors from shapes, counts and attributes, and Trilu.
#include <algorithm>
#include <cmath>

#include "ops/infer_values.h"

namespace tiercel {
namespace {

void shape_of(InferContext& ctx) {
  if (!ctx.has_shape(0)) return ctx.set(0, DType::Int64, Shape(1));
  const Shape in = *ctx.shape(0);
  const auto rank = static_cast<int64_t>(in.size());
  auto clamp = [rank](int64_t at) { return std::clamp<int64_t>(at < 0 ? at + rank : at, 0, rank); };
  const int64_t start = clamp(ctx.attr_int("start", 0));
  const int64_t end = std::max(start, clamp(ctx.attr_int("end", rank)));
  ctx.set(0, DType::Int64, Shape{end - start});
  ctx.set_elements(0, {in.begin() + start, in.begin() + end});
}

void size_of(InferContext& ctx) {
  ctx.set(0, DType::Int64, Shape{});
  if (ctx.has_shape(0)) ctx.set_elements(0, {product(*ctx.shape(0))});
}

void constant_of_shape(InferContext& ctx) {
  const Tensor* value = ctx.node().attributes.get<Tensor>("value");
  if (value != nullptr && value->size() != 1) {
    ctx.fail(concat("value has ", value->size(), " elements; expected one"));
  }
  const DType dtype = value != nullptr ? value->dtype() : DType::Float;
  std::optional<Shape> out = ctx.elements(0);
  if (out) {
    for (const Dim& extent : *out) {
      if (extent.known() && extent.value() < 0) {
        ctx.fail(concat("shape has the extent ", extent.value(), "; expected 0 or more"));
      }
    }
  } else if (const auto rank = list_length(ctx, 0)) {
    out = Shape(static_cast<size_t>(*rank));
  }
  ctx.set(0, dtype, out);
  const auto count = small_list(out);
  if (count && (dtype == DType::Int64 || dtype == DType::Int32)) {
    ctx.set_elements(0, std::vector<Dim>(static_cast<size_t>(*count), value->as_i64()[0]));
  }
}

// ceil((limit - start) / delta), not below 0.
Dim range_count(InferContext& ctx, const Dim& start, const Dim& limit, const Dim& delta) {
  if (!delta.known()) return {};
  if (delta.value() == 0) ctx.fail("delta is 0");
  const bool up = delta.value() > 0;
  const Dim span = up ? limit - start : start - limit;
  const Dim count = ceil_div(span, up ? delta : Dim(0) - delta);
  return count.known() ? Dim(std::max<int64_t>(count.value(), 0)) : count;
}

void range(InferContext& ctx) {
  const DType dtype = ctx.dtype(0);
  const auto start = ctx.elements(0), limit = ctx.elements(1), delta = ctx.elements(2);
  if (start && limit && delta && start->size() == 1 && limit->size() == 1 && delta->size() == 1) {
    const Dim first = start->front(), step = delta->front();
    const Dim count = range_count(ctx, first, limit->front(), step);
    ctx.set(0, dtype, Shape{count});
    if (count.known() && count.value() <= kMaxKnown) {
      std::vector<Dim> elements;
      for (int64_t i = 0; i < count.value(); ++i) elements.push_back(first + step * Dim(i));
      ctx.set_elements(0, std::move(elements));
    }
    return;
  }
  const auto a = numbers(ctx, 0), b = numbers(ctx, 1), d = numbers(ctx, 2);
  if (!a || !b || !d || a->size() != 1 || b->size() != 1 || d->size() != 1) {
    return ctx.set(0, dtype, Shape(1));
  }
  if (d->front() == 0) ctx.fail("delta is 0");
  const double count = std::max(std::ceil((b->front() - a->front()) / d->front()), 0.0);
  if (!(count < 9e15)) ctx.fail("the range has no finite length");
  ctx.set(0, dtype, Shape{static_cast<int64_t>(count)});
}

void eye_like(InferContext& ctx) {
  const int64_t dtype = ctx.attr_int("dtype", static_cast<int64_t>(ctx.dtype(0)));
  if (dtype != 0 && !dtype_is_valid(dtype)) {
    ctx.fail(concat("dtype is ", dtype, ", which is no element type"));
  }
  if (ctx.has_shape(0) && ctx.shape(0)->size() != 2) {
    ctx.fail(concat("input has rank ", ctx.shape(0)->size(), "; expected 2"));
  }
  ctx.set(0, static_cast<DType>(dtype), ctx.has_shape(0) ? *ctx.shape(0) : Shape(2));
}

void trilu(InferContext& ctx) {
  if (ctx.has_shape(0) && ctx.shape(0)->size() < 2) {
    ctx.fail(concat("input has rank ", ctx.shape(0)->size(), "; expected 2 or more"));
  }
  if (ctx.has_shape(1)) {
    const Dim count = product(*ctx.shape(1));
    if (count.known() && count.value() != 1) {
      ctx.fail(concat("k has ", count.value(), " elements; expected one"));
    }
  }
  same_as_first(ctx);
}

void constant(InferContext& ctx) {
  const Attributes& attributes = ctx.node().attributes;
  auto list = [](auto* values) { return Shape{static_cast<int64_t>(values->size())}; };
  if (const auto* value = attributes.get<Tensor>("value")) {
    ctx.set(0, value->dtype(), to_shape(value->dims()));
  } else if (const auto* sparse = attributes.get<std::shared_ptr<SparseTensor>>("sparse_value")) {
    ctx.set(0, (*sparse)->values.dtype(), to_shape((*sparse)->dims));
  } else if (const auto* number = attributes.get<int64_t>("value_int")) {
    ctx.set(0, DType::Int64, Shape{});
    ctx.set_elements(0, {*number});
  } else if (const auto* ints = attributes.get<std::vector<int64_t>>("value_ints")) {
    ctx.set(0, DType::Int64, list(ints));
    if (ints->size() <= kMaxKnown) ctx.set_elements(0, {ints->begin(), ints->end()});
  } else if (attributes.get<double>("value_float") != nullptr) {
    ctx.set(0, DType::Float, Shape{});
  } else if (const auto* floats = attributes.get<std::vector<double>>("value_floats")) {
    ctx.set(0, DType::Float, list(floats));
  } else if (attributes.get<std::string>("value_string") != nullptr) {
    ctx.set(0, DType::String, Shape{});
  } else if (const auto* texts = attributes.get<std::vector<std::string>>("value_strings")) {
    ctx.set(0, DType::String, list(texts));
  } else {
    ctx.fail("has none of the value attributes");
  }
}

}  // namespace

OpList generate_ops() {
  return {
      {.name = "Shape",
       .since = 25,
       .inputs = {{"data", "T"}},
       .outputs = {{"shape", "T1"}},
       .types = {{"T", kAllTensors}, {"T1", "int64"}},
       .attributes = {{"end", AttrDef::Int}, {"start", AttrDef::Int, false, int64_t{0}}},
       .shape = shape_of,
       .facts = kReadsDims},
      {.name = "Size",
       .since = 25,
       .inputs = {{"data", "T"}},
       .outputs = {{"size", "T1"}},
       .types = {{"T", kAllTensors}, {"T1", "int64"}},
       .shape = size_of,
       .facts = kReadsDims},
      {.name = "ConstantOfShape",
       .since = 25,
       .inputs = {{"input", "T1"}},
       .outputs = {{"output", "T2"}},
       .types = {{"T1", "int64"},
                 {"T2",
                  "float double float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 "
                  "bool float4e2m1 float8e4m3fn float8e4m3fnuz float8e5m2 float8e5m2fnuz "
                  "float8e8m0 int2 int4 uint2 uint4"}},
       .attributes = {{"value", AttrDef::Tensor}},
       .shape = constant_of_shape,
       .value_inputs = {0}},
      {.name = "Range",
       .since = 27,
       .inputs = {{"start", "T"}, {"limit", "T"}, {"delta", "T"}},
       .outputs = {{"output", "T"}},
       .types = {{"T", "float double float16 bfloat16 int16 int32 int64"}},
       .attributes = {{"stash_type", AttrDef::Int, false, int64_t{1}}},
       .shape = range,
       .value_inputs = {0, 1, 2}},
      {.name = "EyeLike",
       .since = 22,
       .inputs = {{"input", "T1"}},
       .outputs = {{"output", "T2"}},
       .types = {{"T1",
                  "float double float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 "
                  "bool"},
                 {"T2",
                  "float double float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 "
                  "bool"}},
       .attributes = {{"dtype", AttrDef::Int}, {"k", AttrDef::Int, false, int64_t{0}}},
       .shape = eye_like},
      {.name = "Trilu",
       .since = 14,
       .inputs = {{"input", "T"}, {"k", "tensor(int64)", Param::Optional}},
       .outputs = {{"output", "T"}},
       .types = {{"T", kStandardTensors}},
       .attributes = {{"upper", AttrDef::Int, false, int64_t{1}}},
       .shape = trilu,
       .value_inputs = {1}},
      {.name = "Constant",
       .since = 25,
       .outputs = {{"output", "T"}},
       .types = {{"T", kAllTensors}},
       .attributes = {{"value_strings", AttrDef::Strings},
                      {"value_string", AttrDef::String},
                      {"value_floats", AttrDef::Floats},
                      {"value_float", AttrDef::Float},
                      {"value_ints", AttrDef::Ints},
                      {"value_int", AttrDef::Int},
                      {"sparse_value", AttrDef::SparseTensor},
                      {"value", AttrDef::Tensor}},
       .shape = constant},
  };
}

}  // namespace tiercel
