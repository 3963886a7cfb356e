// Operators of the domain "tiercel" that passes make and no model file holds.
#include "ops/infer_values.h"
#include "ops/op_def.h"

namespace tiercel {

namespace {

// Every output has the broadcast shape of all inputs and the element type of the body's output.
void infer_pointwise(InferContext& c) {
  const auto* body = c.node().attributes.get<std::shared_ptr<Graph>>("body");
  if (!body) c.fail("attribute body is missing");
  const Graph& program = **body;
  if (static_cast<int>(program.inputs.size()) != c.input_count() ||
      static_cast<int>(program.outputs.size()) != c.output_count()) {
    c.fail("body and node differ in their number of inputs or outputs");
  }
  std::optional<Shape> shape = Shape{};
  for (int i = 0; i < c.input_count() && shape; ++i) {
    if (!c.has_shape(i)) {
      shape.reset();
    } else {
      shape = broadcast(*shape, *c.shape(i));
    }
  }
  for (int i = 0; i < c.output_count(); ++i) {
    const ValueId out = program.outputs[static_cast<size_t>(i)];
    if (c.has_output(i)) c.set(i, program.value(out).type.dtype, shape);
  }
}

void infer_real_parts(InferContext& c) {
  const DType part = c.dtype(0) == DType::Complex64 ? DType::Float : DType::Double;
  for (int i = 0; i < 2; ++i) c.set(i, part, c.shape(0));
}

void infer_of_real_parts(InferContext& c) {
  c.set(0, c.dtype(0) == DType::Float ? DType::Complex64 : DType::Complex128, c.shape(0));
}

}  // namespace

OpList internal_ops() {
  return {
      // A DAG of elementwise operators over operands that broadcast to one shape, run as one
      // pointwise program.
      {.domain = "tiercel",
       .name = "Pointwise",
       .inputs = {{"operands", "T", Param::Variadic, false, 0}},
       .outputs = {{"results", "T", Param::Variadic, false}},
       .types = {{"T",
                  "float16 bfloat16 float double int8 int16 int32 int64 uint8 uint16 uint32 "
                  "uint64 bool float8e4m3fn float8e4m3fnuz float8e5m2 float8e5m2fnuz float8e8m0"}},
       .attributes = {{"body", AttrDef::Graph, true}},
       .shape = infer_pointwise,
       .facts = kElementwise},
      // Complex numbers taken apart, and put together.
      {.domain = "tiercel",
       .name = "RealParts",
       .inputs = {{"x", "T"}},
       .outputs = {{"real", "P"}, {"imaginary", "P"}},
       .types = {{"T", "complex64 complex128"}, {"P", "float double"}},
       .shape = infer_real_parts},
      {.domain = "tiercel",
       .name = "OfRealParts",
       .inputs = {{"real", "P"}, {"imaginary", "P"}},
       .outputs = {{"y", "T"}},
       .types = {{"T", "complex64 complex128"}, {"P", "float double"}},
       .shape = infer_of_real_parts},
      // The same tensor in another provider's memory.
      {.domain = "tiercel",
       .name = "Copy",
       .inputs = {{"here", "T"}},
       .outputs = {{"there", "T"}},
       .types = {{"T", kAllTensors}},
       .shape = same_as_first},
  };
}

}  // namespace tiercel
