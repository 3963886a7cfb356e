// Comparisons, logic, bits, selection and casts, elementwise.
#include <algorithm>

#include "ops/families.h"
#include "ops/infer_values.h"

namespace tiercel {
namespace {

constexpr std::string_view kLogicTypes1 =
    "float double float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool "
    "string float4e2m1 float6e2m3 float6e3m2 float8e4m3fn float8e4m3fnuz float8e5m2 "
    "float8e5m2fnuz float8e8m0 int4 uint4 int2 uint2";

constexpr std::string_view kLogicTypes2 =
    "float double float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool "
    "string float4e2m1 float8e4m3fn float8e4m3fnuz float8e5m2 float8e5m2fnuz float8e8m0 int4 "
    "uint4 int2 uint2";

constexpr std::string_view kLogicTypes3 =
    "float double float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool "
    "string";

constexpr std::string_view kLogicTypes4 =
    "float double float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64";

constexpr std::string_view kLogicTypes5 =
    "float double float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool "
    "string complex64 complex128";

// 1 or 0 where it is certain: a symbol is an extent and never negative.
Dim certainly_equal(const Dim& a, const Dim& b) {
  if (a.same(b)) return {1};
  if (a.known() && b.known()) return {0};
  const bool negative = (a.known() && a.value() < 0) || (b.known() && b.value() < 0);
  const bool plain = (a.known() || a.name().find('-') == std::string::npos) &&
                     (b.known() || b.name().find('-') == std::string::npos);
  return negative && plain && !a.unknown() && !b.unknown() ? Dim(0) : Dim();
}

void equal(InferContext& ctx) {
  broadcast_to_bool(ctx);
  combine_elements(ctx, certainly_equal);
}

void same_to_bool(InferContext& ctx) { ctx.set(0, DType::Bool, ctx.shape(0)); }

bool holds_elements(DType dtype) { return dtype == DType::Int64 || dtype == DType::Int32; }

void cast(InferContext& ctx) {
  const int64_t to = ctx.attr_int("to");
  if (!dtype_is_valid(to)) ctx.fail(concat("attribute to is ", to, ", which is no element type"));
  const auto dtype = static_cast<DType>(to);
  ctx.set(0, dtype, ctx.shape(0));
  if (holds_elements(dtype) && holds_elements(ctx.dtype(0))) pass_elements(ctx, 0, ctx.shape(0));
}

void cast_like(InferContext& ctx) { ctx.set(0, ctx.dtype(1), ctx.shape(0)); }

void where_elements(InferContext& ctx) {
  if (!holds_elements(ctx.dtype(1))) return;
  const auto condition = ctx.elements(0);
  const auto x = ctx.elements(1);
  const auto y = ctx.elements(2);
  if (!condition || !x || !y) return;
  const size_t n = std::max({condition->size(), x->size(), y->size()});
  const auto at = [n](const std::vector<Dim>& v, size_t i) {
    return v.size() == 1 ? v[0] : v.size() == n ? v[i] : Dim();
  };
  std::vector<Dim> result(n);
  for (size_t i = 0; i < n; ++i) {
    const Dim chosen = at(*condition, i);
    if (chosen.known()) result[i] = chosen.value() != 0 ? at(*x, i) : at(*y, i);
  }
  ctx.set_elements(0, std::move(result));
}

void where_shape(InferContext& ctx) {
  std::optional<Shape> shape;
  if (ctx.has_shape(0) && ctx.has_shape(1) && ctx.has_shape(2)) {
    shape = broadcast(broadcast(*ctx.shape(0), *ctx.shape(1)), *ctx.shape(2));
  }
  ctx.set(0, ctx.dtype(1), std::move(shape));
  where_elements(ctx);
}

}  // namespace

OpList logic_ops() {
  return {
      {.name = "BitwiseNot",
       .since = 18,
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", "int8 int16 int32 int64 uint8 uint16 uint32 uint64"}},
       .shape = same_as_first,
       .facts = kElementwise},
      {.name = "Not",
       .since = 1,
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", "bool"}},
       .shape = same_as_first,
       .facts = kElementwise},
      {.name = "IsInf",
       .since = 20,
       .inputs = {{"X", "T1"}},
       .outputs = {{"Y", "T2"}},
       .types = {{"T1", kFloatsAndFloat8}, {"T2", "bool"}},
       .attributes = {{"detect_negative", AttrDef::Int, false, int64_t{1}},
                      {"detect_positive", AttrDef::Int, false, int64_t{1}}},
       .shape = same_to_bool,
       .facts = kElementwise},
      {.name = "IsNaN",
       .since = 20,
       .inputs = {{"X", "T1"}},
       .outputs = {{"Y", "T2"}},
       .types = {{"T1", kFloatsAndFloat8}, {"T2", "bool"}},
       .shape = same_to_bool,
       .facts = kElementwise},
      {.name = "Cast",
       .since = 28,
       .inputs = {{"input", "T1"}},
       .outputs = {{"output", "T2"}},
       .types = {{"T1", kLogicTypes1}, {"T2", kLogicTypes1}},
       .attributes = {{"round_mode", AttrDef::String, false, std::string("up")},
                      {"saturate", AttrDef::Int, false, int64_t{1}},
                      {"to", AttrDef::Int, true}},
       .shape = cast,
       .facts = kElementwise},
      {.name = "CastLike",
       .since = 25,
       .inputs = {{"input", "T1"}, {"target_type", "T2"}},
       .outputs = {{"output", "T2"}},
       .types = {{"T1", kLogicTypes2}, {"T2", kLogicTypes2}},
       .attributes = {{"round_mode", AttrDef::String, false, std::string("up")},
                      {"saturate", AttrDef::Int, false, int64_t{1}}},
       .shape = cast_like,
       .facts = kElementwise},
      {.name = "And",
       .since = 7,
       .inputs = {{"A", "T"}, {"B", "T"}},
       .outputs = {{"C", "T1"}},
       .types = {{"T", "bool"}, {"T1", "bool"}},
       .shape = broadcast_all,
       .facts = kElementwise | kCommutative},
      {.name = "Or",
       .since = 7,
       .inputs = {{"A", "T"}, {"B", "T"}},
       .outputs = {{"C", "T1"}},
       .types = {{"T", "bool"}, {"T1", "bool"}},
       .shape = broadcast_all,
       .facts = kElementwise | kCommutative},
      {.name = "Xor",
       .since = 7,
       .inputs = {{"A", "T"}, {"B", "T"}},
       .outputs = {{"C", "T1"}},
       .types = {{"T", "bool"}, {"T1", "bool"}},
       .shape = broadcast_all,
       .facts = kElementwise | kCommutative},
      {.name = "BitwiseAnd",
       .since = 18,
       .inputs = {{"A", "T"}, {"B", "T"}},
       .outputs = {{"C", "T"}},
       .types = {{"T", "int8 int16 int32 int64 uint8 uint16 uint32 uint64"}},
       .shape = broadcast_all,
       .facts = kElementwise | kCommutative},
      {.name = "BitwiseOr",
       .since = 18,
       .inputs = {{"A", "T"}, {"B", "T"}},
       .outputs = {{"C", "T"}},
       .types = {{"T", "int8 int16 int32 int64 uint8 uint16 uint32 uint64"}},
       .shape = broadcast_all,
       .facts = kElementwise | kCommutative},
      {.name = "BitwiseXor",
       .since = 18,
       .inputs = {{"A", "T"}, {"B", "T"}},
       .outputs = {{"C", "T"}},
       .types = {{"T", "int8 int16 int32 int64 uint8 uint16 uint32 uint64"}},
       .shape = broadcast_all,
       .facts = kElementwise | kCommutative},
      {.name = "BitShift",
       .since = 28,
       .inputs = {{"X", "T"}, {"Y", "T"}},
       .outputs = {{"Z", "T"}},
       .types = {{"T", "int8 int16 int32 int64 uint8 uint16 uint32 uint64"}},
       .attributes = {{"direction", AttrDef::String, true}},
       .shape = broadcast_all,
       .facts = kElementwise},
      {.name = "Equal",
       .since = 19,
       .inputs = {{"A", "T"}, {"B", "T"}},
       .outputs = {{"C", "T1"}},
       .types = {{"T", kLogicTypes3}, {"T1", "bool"}},
       .shape = equal,
       .facts = kElementwise | kCommutative},
      {.name = "Greater",
       .since = 13,
       .inputs = {{"A", "T"}, {"B", "T"}},
       .outputs = {{"C", "T1"}},
       .types = {{"T", kLogicTypes4}, {"T1", "bool"}},
       .shape = broadcast_to_bool,
       .facts = kElementwise},
      {.name = "GreaterOrEqual",
       .since = 16,
       .inputs = {{"A", "T"}, {"B", "T"}},
       .outputs = {{"C", "T1"}},
       .types = {{"T", kLogicTypes4}, {"T1", "bool"}},
       .shape = broadcast_to_bool,
       .facts = kElementwise},
      {.name = "Less",
       .since = 13,
       .inputs = {{"A", "T"}, {"B", "T"}},
       .outputs = {{"C", "T1"}},
       .types = {{"T", kLogicTypes4}, {"T1", "bool"}},
       .shape = broadcast_to_bool,
       .facts = kElementwise},
      {.name = "LessOrEqual",
       .since = 16,
       .inputs = {{"A", "T"}, {"B", "T"}},
       .outputs = {{"C", "T1"}},
       .types = {{"T", kLogicTypes4}, {"T1", "bool"}},
       .shape = broadcast_to_bool,
       .facts = kElementwise},
      {.name = "Where",
       .since = 16,
       .inputs = {{"condition", "B"}, {"X", "T"}, {"Y", "T"}},
       .outputs = {{"output", "T"}},
       .types = {{"B", "bool"}, {"T", kLogicTypes5}},
       .shape = where_shape,
       .facts = kElementwise},
  };
}

}  // namespace tiercel
