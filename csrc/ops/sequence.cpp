// Sequences and optional values.
#include "ops/families.h"
#include "ops/op_def.h"

namespace tiercel {
namespace {

constexpr std::string_view kSequences =
    "seq(tensor(float)) seq(tensor(double)) seq(tensor(float16)) seq(tensor(int8)) "
    "seq(tensor(int16)) seq(tensor(int32)) seq(tensor(int64)) seq(tensor(uint8)) "
    "seq(tensor(uint16)) seq(tensor(uint32)) seq(tensor(uint64)) seq(tensor(bool)) "
    "seq(tensor(string)) seq(tensor(complex64)) seq(tensor(complex128))";

constexpr std::string_view kSequenceTypes =
    "float double float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool string "
    "complex64 complex128";

constexpr std::string_view kSplitTensors =
    "float double float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool "
    "string complex64 complex128";

constexpr std::string_view kSplitSequences =
    "seq(tensor(float)) seq(tensor(double)) seq(tensor(float16)) seq(tensor(bfloat16)) "
    "seq(tensor(int8)) seq(tensor(int16)) seq(tensor(int32)) seq(tensor(int64)) "
    "seq(tensor(uint8)) seq(tensor(uint16)) seq(tensor(uint32)) seq(tensor(uint64)) "
    "seq(tensor(bool)) seq(tensor(string)) seq(tensor(complex64)) seq(tensor(complex128))";

constexpr std::string_view kOptionalValues =
    "float double float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool "
    "string complex64 complex128 float4e2m1 float6e2m3 float6e3m2 float8e4m3fn float8e4m3fnuz "
    "float8e5m2 float8e5m2fnuz float8e8m0 int4 uint4 int2 uint2 seq(tensor(float)) "
    "seq(tensor(double)) seq(tensor(float16)) seq(tensor(bfloat16)) seq(tensor(int8)) "
    "seq(tensor(int16)) seq(tensor(int32)) seq(tensor(int64)) seq(tensor(uint8)) "
    "seq(tensor(uint16)) seq(tensor(uint32)) seq(tensor(uint64)) seq(tensor(bool)) "
    "seq(tensor(string)) seq(tensor(complex64)) seq(tensor(complex128)) seq(tensor(float4e2m1)) "
    "seq(tensor(float6e2m3)) seq(tensor(float6e3m2)) seq(tensor(float8e4m3fn)) "
    "seq(tensor(float8e4m3fnuz)) seq(tensor(float8e5m2)) seq(tensor(float8e5m2fnuz)) "
    "seq(tensor(float8e8m0)) seq(tensor(int4)) seq(tensor(uint4)) seq(tensor(int2)) "
    "seq(tensor(uint2))";

constexpr std::string_view kOptionals =
    "optional(tensor(float)) optional(tensor(double)) optional(tensor(float16)) "
    "optional(tensor(bfloat16)) optional(tensor(int8)) optional(tensor(int16)) "
    "optional(tensor(int32)) optional(tensor(int64)) optional(tensor(uint8)) "
    "optional(tensor(uint16)) optional(tensor(uint32)) optional(tensor(uint64)) "
    "optional(tensor(bool)) optional(tensor(string)) optional(tensor(complex64)) "
    "optional(tensor(complex128)) optional(tensor(float4e2m1)) optional(tensor(float6e2m3)) "
    "optional(tensor(float6e3m2)) optional(tensor(float8e4m3fn)) "
    "optional(tensor(float8e4m3fnuz)) optional(tensor(float8e5m2)) "
    "optional(tensor(float8e5m2fnuz)) optional(tensor(float8e8m0)) optional(tensor(int4)) "
    "optional(tensor(uint4)) optional(tensor(int2)) optional(tensor(uint2)) "
    "optional(seq(tensor(float))) optional(seq(tensor(double))) optional(seq(tensor(float16))) "
    "optional(seq(tensor(bfloat16))) optional(seq(tensor(int8))) optional(seq(tensor(int16))) "
    "optional(seq(tensor(int32))) optional(seq(tensor(int64))) optional(seq(tensor(uint8))) "
    "optional(seq(tensor(uint16))) optional(seq(tensor(uint32))) optional(seq(tensor(uint64))) "
    "optional(seq(tensor(bool))) optional(seq(tensor(string))) optional(seq(tensor(complex64))) "
    "optional(seq(tensor(complex128))) optional(seq(tensor(float4e2m1))) "
    "optional(seq(tensor(float6e2m3))) optional(seq(tensor(float6e3m2))) "
    "optional(seq(tensor(float8e4m3fn))) optional(seq(tensor(float8e4m3fnuz))) "
    "optional(seq(tensor(float8e5m2))) optional(seq(tensor(float8e5m2fnuz))) "
    "optional(seq(tensor(float8e8m0))) optional(seq(tensor(int4))) optional(seq(tensor(uint4))) "
    "optional(seq(tensor(int2))) optional(seq(tensor(uint2)))";

constexpr std::string_view kMaybeOptionals =
    "float double float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool "
    "string complex64 complex128 float4e2m1 float6e2m3 float6e3m2 float8e4m3fn float8e4m3fnuz "
    "float8e5m2 float8e5m2fnuz float8e8m0 int4 uint4 int2 uint2 seq(tensor(float)) "
    "seq(tensor(double)) seq(tensor(float16)) seq(tensor(bfloat16)) seq(tensor(int8)) "
    "seq(tensor(int16)) seq(tensor(int32)) seq(tensor(int64)) seq(tensor(uint8)) "
    "seq(tensor(uint16)) seq(tensor(uint32)) seq(tensor(uint64)) seq(tensor(bool)) "
    "seq(tensor(string)) seq(tensor(complex64)) seq(tensor(complex128)) seq(tensor(float4e2m1)) "
    "seq(tensor(float6e2m3)) seq(tensor(float6e3m2)) seq(tensor(float8e4m3fn)) "
    "seq(tensor(float8e4m3fnuz)) seq(tensor(float8e5m2)) seq(tensor(float8e5m2fnuz)) "
    "seq(tensor(float8e8m0)) seq(tensor(int4)) seq(tensor(uint4)) seq(tensor(int2)) "
    "seq(tensor(uint2)) optional(tensor(float)) optional(tensor(double)) "
    "optional(tensor(float16)) optional(tensor(bfloat16)) optional(tensor(int8)) "
    "optional(tensor(int16)) optional(tensor(int32)) optional(tensor(int64)) "
    "optional(tensor(uint8)) optional(tensor(uint16)) optional(tensor(uint32)) "
    "optional(tensor(uint64)) optional(tensor(bool)) optional(tensor(string)) "
    "optional(tensor(complex64)) optional(tensor(complex128)) optional(tensor(float4e2m1)) "
    "optional(tensor(float6e2m3)) optional(tensor(float6e3m2)) optional(tensor(float8e4m3fn)) "
    "optional(tensor(float8e4m3fnuz)) optional(tensor(float8e5m2)) "
    "optional(tensor(float8e5m2fnuz)) optional(tensor(float8e8m0)) optional(tensor(int4)) "
    "optional(tensor(uint4)) optional(tensor(int2)) optional(tensor(uint2)) "
    "optional(seq(tensor(float))) optional(seq(tensor(double))) optional(seq(tensor(float16))) "
    "optional(seq(tensor(bfloat16))) optional(seq(tensor(int8))) optional(seq(tensor(int16))) "
    "optional(seq(tensor(int32))) optional(seq(tensor(int64))) optional(seq(tensor(uint8))) "
    "optional(seq(tensor(uint16))) optional(seq(tensor(uint32))) optional(seq(tensor(uint64))) "
    "optional(seq(tensor(bool))) optional(seq(tensor(string))) optional(seq(tensor(complex64))) "
    "optional(seq(tensor(complex128))) optional(seq(tensor(float4e2m1))) "
    "optional(seq(tensor(float6e2m3))) optional(seq(tensor(float6e3m2))) "
    "optional(seq(tensor(float8e4m3fn))) optional(seq(tensor(float8e4m3fnuz))) "
    "optional(seq(tensor(float8e5m2))) optional(seq(tensor(float8e5m2fnuz))) "
    "optional(seq(tensor(float8e8m0))) optional(seq(tensor(int4))) optional(seq(tensor(uint4))) "
    "optional(seq(tensor(int2))) optional(seq(tensor(uint2)))";

// The element type of a sequence input.
Type element(InferContext& ctx, int input) {
  const Type& type = ctx.type(input);
  if (type.kind == Type::Kind::Unknown || !type.element) return {};
  if (type.kind != Type::Kind::Sequence) {
    ctx.fail(concat("input ", input, " is ", type.text(), "; expected a sequence"));
  }
  return *type.element;
}

// Of elements that may differ in shape: the element type alone.
Type loose(const Type& type) { return Type::tensor(type.dtype); }

void sequence_empty(InferContext& ctx) {
  const auto number = ctx.attr_int("dtype", static_cast<int64_t>(DType::Float));
  if (!dtype_is_valid(number)) ctx.fail(concat("dtype ", number, " is no element type"));
  ctx.set_type(0, Type::sequence(Type::tensor(static_cast<DType>(number))));
}

void sequence_construct(InferContext& ctx) {
  Type type = ctx.type(0);
  for (int i = 1; i < ctx.input_count(); ++i) {
    const auto& shape = ctx.shape(i);
    if (!shape || !type.shape || shape->size() != type.shape->size()) {
      type.shape = std::nullopt;
      continue;
    }
    for (size_t axis = 0; axis < shape->size(); ++axis) {
      if (!(*type.shape)[axis].same((*shape)[axis])) (*type.shape)[axis] = Dim();
    }
  }
  ctx.set_type(0, Type::sequence(type));
}

void sequence_insert(InferContext& ctx) {
  const Type held = element(ctx, 0);
  ctx.set_type(0, Type::sequence(loose(held.is_tensor() ? held : ctx.type(1))));
}

void sequence_at(InferContext& ctx) {
  const Type type = element(ctx, 0);
  if (type.kind != Type::Kind::Unknown) ctx.set_type(0, type);
}

void sequence_erase(InferContext& ctx) {
  if (ctx.type(0).kind != Type::Kind::Unknown) ctx.set_type(0, ctx.type(0));
}

void sequence_length(InferContext& ctx) { ctx.set(0, DType::Int64, Shape{}); }

void concat_from_sequence(InferContext& ctx) {
  const Type type = element(ctx, 0);
  if (!type.is_tensor()) return;
  const bool stack = ctx.attr_int("new_axis") != 0;
  if (!type.shape) return ctx.set(0, type.dtype);
  Shape shape = *type.shape;
  const auto rank = static_cast<int64_t>(shape.size()) + (stack ? 1 : 0);
  int64_t axis = ctx.attr_int("axis");
  if (axis < -rank || axis >= rank) {
    ctx.fail(concat("axis ", axis, " is outside [", -rank, ", ", rank, ")"));
  }
  if (axis < 0) axis += rank;
  if (stack) shape.insert(shape.begin() + axis, Dim());
  if (!stack) shape[static_cast<size_t>(axis)] = Dim();
  ctx.set(0, type.dtype, shape);
}

void split_to_sequence(InferContext& ctx) {
  Type type = ctx.type(0);
  if (!type.is_tensor()) return;
  if (!type.shape) return ctx.set_type(0, Type::sequence(type));
  const auto rank = static_cast<int64_t>(type.shape->size());
  int64_t axis = ctx.attr_int("axis");
  if (axis < -rank || axis >= rank) {
    ctx.fail(concat("axis ", axis, " is outside [", -rank, ", ", rank, ")"));
  }
  if (axis < 0) axis += rank;
  const bool whole = !ctx.has_input(1);
  if (whole && ctx.attr_int("keepdims", 1) == 0) {
    type.shape->erase(type.shape->begin() + axis);
  } else {
    (*type.shape)[static_cast<size_t>(axis)] = whole ? Dim(1) : Dim();
  }
  ctx.set_type(0, Type::sequence(type));
}

void optional_value(InferContext& ctx) {
  if (ctx.has_input(0)) {
    if (ctx.type(0).kind != Type::Kind::Unknown) ctx.set_type(0, Type::optional(ctx.type(0)));
    return;
  }
  const Type* type = ctx.node().attributes.get<Type>("type");
  if (!type) ctx.fail("has neither an input nor the attribute type");
  ctx.set_type(0, Type::optional(*type));
}

void optional_has_element(InferContext& ctx) { ctx.set(0, DType::Bool, Shape{}); }

void optional_get_element(InferContext& ctx) {
  const Type& type = ctx.type(0);
  if (type.kind == Type::Kind::Unknown) return;
  if (type.kind != Type::Kind::Optional) return ctx.set_type(0, type);
  if (type.element) ctx.set_type(0, *type.element);
}

}  // namespace

OpList sequence_ops() {
  return {
      {.name = "SequenceEmpty",
       .since = 11,
       .inputs = {},
       .outputs = {{"output", "S"}},
       .types = {{"S", kSequences}},
       .attributes = {{"dtype", AttrDef::Int}},
       .shape = sequence_empty},
      {.name = "SequenceConstruct",
       .since = 11,
       .inputs = {{"inputs", "T", Param::Variadic}},
       .outputs = {{"output_sequence", "S"}},
       .types = {{"T", kSequenceTypes}, {"S", kSequences}},
       .shape = sequence_construct},
      {.name = "SequenceInsert",
       .since = 11,
       .inputs = {{"input_sequence", "S"}, {"tensor", "T"}, {"position", "I", Param::Optional}},
       .outputs = {{"output_sequence", "S"}},
       .types = {{"T", kSequenceTypes}, {"S", kSequences}, {"I", "int32 int64"}},
       .shape = sequence_insert},
      {.name = "SequenceAt",
       .since = 11,
       .inputs = {{"input_sequence", "S"}, {"position", "I"}},
       .outputs = {{"tensor", "T"}},
       .types = {{"S", kSequences}, {"T", kSequenceTypes}, {"I", "int32 int64"}},
       .shape = sequence_at},
      {.name = "SequenceErase",
       .since = 11,
       .inputs = {{"input_sequence", "S"}, {"position", "I", Param::Optional}},
       .outputs = {{"output_sequence", "S"}},
       .types = {{"S", kSequences}, {"I", "int32 int64"}},
       .shape = sequence_erase},
      {.name = "SequenceLength",
       .since = 11,
       .inputs = {{"input_sequence", "S"}},
       .outputs = {{"length", "I"}},
       .types = {{"S", kSequences}, {"I", "int64"}},
       .shape = sequence_length},
      {.name = "ConcatFromSequence",
       .since = 11,
       .inputs = {{"input_sequence", "S"}},
       .outputs = {{"concat_result", "T"}},
       .types = {{"S", kSequences}, {"T", kSequenceTypes}},
       .attributes = {{"axis", AttrDef::Int, true}, {"new_axis", AttrDef::Int, false, int64_t{0}}},
       .shape = concat_from_sequence},
      {.name = "SplitToSequence",
       .since = 24,
       .inputs = {{"input", "T"}, {"split", "I", Param::Optional}},
       .outputs = {{"output_sequence", "S"}},
       .types = {{"T", kSplitTensors}, {"I", "int32 int64"}, {"S", kSplitSequences}},
       .attributes = {{"axis", AttrDef::Int, false, int64_t{0}},
                      {"keepdims", AttrDef::Int, false, int64_t{1}}},
       .shape = split_to_sequence,
       .value_inputs = {1}},
      {.name = "Optional",
       .since = 28,
       .inputs = {{"input", "V", Param::Optional}},
       .outputs = {{"output", "O"}},
       .types = {{"V", kOptionalValues}, {"O", kOptionals}},
       .attributes = {{"type", AttrDef::Type}},
       .shape = optional_value},
      {.name = "OptionalHasElement",
       .since = 28,
       .inputs = {{"input", "O", Param::Optional}},
       .outputs = {{"output", "B"}},
       .types = {{"O", kMaybeOptionals}, {"B", "bool"}},
       .shape = optional_has_element},
      {.name = "OptionalGetElement",
       .since = 28,
       .inputs = {{"input", "O"}},
       .outputs = {{"output", "V"}},
       .types = {{"O", kMaybeOptionals}, {"V", kOptionalValues}},
       .shape = optional_get_element},
  };
}

}  // namespace tiercel
