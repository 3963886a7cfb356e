// Operators that run subgraphs: what their bodies receive and what comes out.
#include <algorithm>

#include "ops/families.h"
#include "ops/op_def.h"

namespace tiercel {
namespace {

constexpr std::string_view kAnyValue =
    "float double float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool "
    "string complex64 complex128 float4e2m1 float8e4m3fn float8e4m3fnuz float8e5m2 "
    "float8e5m2fnuz float8e8m0 int4 uint4 int2 uint2 seq(tensor(float)) seq(tensor(double)) "
    "seq(tensor(float16)) seq(tensor(bfloat16)) seq(tensor(int8)) seq(tensor(int16)) "
    "seq(tensor(int32)) seq(tensor(int64)) seq(tensor(uint8)) seq(tensor(uint16)) "
    "seq(tensor(uint32)) seq(tensor(uint64)) seq(tensor(bool)) seq(tensor(string)) "
    "seq(tensor(complex64)) seq(tensor(complex128)) seq(tensor(float4e2m1)) "
    "seq(tensor(float8e4m3fn)) seq(tensor(float8e4m3fnuz)) seq(tensor(float8e5m2)) "
    "seq(tensor(float8e5m2fnuz)) seq(tensor(float8e8m0)) seq(tensor(int4)) seq(tensor(uint4)) "
    "seq(tensor(int2)) seq(tensor(uint2)) optional(tensor(float)) optional(tensor(double)) "
    "optional(tensor(float16)) optional(tensor(bfloat16)) optional(tensor(int8)) "
    "optional(tensor(int16)) optional(tensor(int32)) optional(tensor(int64)) "
    "optional(tensor(uint8)) optional(tensor(uint16)) optional(tensor(uint32)) "
    "optional(tensor(uint64)) optional(tensor(bool)) optional(tensor(string)) "
    "optional(tensor(complex64)) optional(tensor(complex128)) optional(tensor(float4e2m1)) "
    "optional(tensor(float8e4m3fn)) optional(tensor(float8e4m3fnuz)) "
    "optional(tensor(float8e5m2)) optional(tensor(float8e5m2fnuz)) "
    "optional(tensor(float8e8m0)) optional(tensor(int4)) optional(tensor(uint4)) "
    "optional(tensor(int2)) optional(tensor(uint2)) optional(seq(tensor(float))) "
    "optional(seq(tensor(double))) optional(seq(tensor(float16))) "
    "optional(seq(tensor(bfloat16))) optional(seq(tensor(int8))) optional(seq(tensor(int16))) "
    "optional(seq(tensor(int32))) optional(seq(tensor(int64))) optional(seq(tensor(uint8))) "
    "optional(seq(tensor(uint16))) optional(seq(tensor(uint32))) "
    "optional(seq(tensor(uint64))) optional(seq(tensor(bool))) optional(seq(tensor(string))) "
    "optional(seq(tensor(complex64))) optional(seq(tensor(complex128)))";

constexpr std::string_view kAnyTensor =
    "float double float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool "
    "string complex64 complex128 float4e2m1 float8e4m3fn float8e4m3fnuz float8e5m2 "
    "float8e5m2fnuz float8e8m0 int4 uint4 int2 uint2";

constexpr std::string_view kMapSequences =
    "seq(tensor(float)) seq(tensor(double)) seq(tensor(float16)) seq(tensor(int8)) "
    "seq(tensor(int16)) seq(tensor(int32)) seq(tensor(int64)) seq(tensor(uint8)) "
    "seq(tensor(uint16)) seq(tensor(uint32)) seq(tensor(uint64)) seq(tensor(bool)) "
    "seq(tensor(string)) seq(tensor(complex64)) seq(tensor(complex128))";

constexpr std::string_view kMapValues =
    "float double float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool string "
    "complex64 complex128 "
    "seq(tensor(float)) seq(tensor(double)) seq(tensor(float16)) seq(tensor(int8)) "
    "seq(tensor(int16)) seq(tensor(int32)) seq(tensor(int64)) seq(tensor(uint8)) "
    "seq(tensor(uint16)) seq(tensor(uint32)) seq(tensor(uint64)) seq(tensor(bool)) "
    "seq(tensor(string)) seq(tensor(complex64)) seq(tensor(complex128))";

// Bodies are inferred when a model is loaded; at run the executor plans them by themselves.
bool at_run(const InferContext& ctx) { return ctx.at_most(Dim(1)).known(); }

Graph& body_of(InferContext& ctx, std::string_view attribute) {
  const auto* body = ctx.node().attributes.get<std::shared_ptr<Graph>>(attribute);
  if (!body || !*body) ctx.fail(concat("attribute ", attribute, " holds no graph"));
  return **body;
}

// The type of a value that may come from either side.
Type join(const Type& a, const Type& b) {
  if (a.kind == Type::Kind::Unknown) return b;
  if (b.kind == Type::Kind::Unknown) return a;
  if (a.kind != b.kind || a.dtype != b.dtype) return {};
  Type out = a;
  if (a.element && b.element)
    out.element = std::make_shared<const Type>(join(*a.element, *b.element));
  if (!a.shape || !b.shape || a.shape->size() != b.shape->size()) {
    out.shape = std::nullopt;
    return out;
  }
  for (size_t i = 0; i < a.shape->size(); ++i) {
    if (!(*a.shape)[i].same((*b.shape)[i])) (*out.shape)[i] = Dim();
  }
  return out;
}

bool same_extents(const std::optional<Shape>& a, const std::optional<Shape>& b) {
  return a && b &&
         std::equal(a->begin(), a->end(), b->begin(), b->end(),
                    [](const Dim& x, const Dim& y) { return x.same(y); });
}

// A body's input or capture is what the outer graph gives it; a declared type stays where the
// outer graph knows less.
void give(InferContext& ctx, Graph& body, ValueId id, const Type& type) {
  ValueInfo& value = body.value(id);
  if (type.kind == Type::Kind::Unknown) return;
  if (value.type.kind == Type::Kind::Unknown) {
    value.type = type;
    return;
  }
  const bool optional = type.kind == Type::Kind::Optional;
  if (value.type.kind != type.kind) {
    if (optional || value.type.kind == Type::Kind::Optional) return;
    ctx.fail(concat("the body takes ", value.name, " as ", value.type.text(), "; it is given ",
                    type.text()));
  }
  if (type.is_tensor() && value.type.dtype != type.dtype && value.type.dtype != DType::Undefined &&
      type.dtype != DType::Undefined) {
    ctx.fail(concat("the body takes ", value.name, " as ", value.type.text(), "; it is given ",
                    type.text()));
  }
  if (value.type.dtype == DType::Undefined) value.type.dtype = type.dtype;
  if (!value.type.element) value.type.element = type.element;
  if (type.shape) value.type.shape = type.shape;
}

void infer_body(InferContext& ctx, Graph& body) {
  for (const Capture& capture : body.captures) {
    const ValueInfo& outer = ctx.graph().value(capture.outer);
    give(ctx, body, capture.inner, outer.type);
    if (outer.known) body.value(capture.inner).known = outer.known;
  }
  for (NodeId id : body.order) {
    Node& node = body.node(id);
    if (!node.removed) infer_node(body, node);
  }
}

Type output_type(const Graph& body, size_t i) { return body.value(body.outputs[i]).type; }

void expect_outputs(InferContext& ctx, const Graph& body, size_t count, std::string_view name) {
  if (body.outputs.size() < count) {
    ctx.fail(concat(name, " has ", body.outputs.size(), " outputs; expected ", count));
  }
}

// A branch that is never taken gets what types it can: it need not fit its captures.
void infer_untaken(InferContext& ctx, Graph& body) {
  try {
    infer_body(ctx, body);
  } catch (const Error&) {
    return;
  }
}

void if_shape(InferContext& ctx) {
  if (at_run(ctx)) return;
  Graph& then_branch = body_of(ctx, "then_branch");
  Graph& else_branch = body_of(ctx, "else_branch");
  const auto wanted = static_cast<size_t>(ctx.output_count());
  expect_outputs(ctx, then_branch, wanted, "then_branch");
  expect_outputs(ctx, else_branch, wanted, "else_branch");
  const Tensor* condition = ctx.constant(0);
  const bool decided = condition && condition->dtype() == DType::Bool && condition->size() == 1;
  const bool taken = decided && *condition->data<bool>();
  if (decided) infer_untaken(ctx, taken ? else_branch : then_branch);
  if (!decided || taken) infer_body(ctx, then_branch);
  if (!decided || !taken) infer_body(ctx, else_branch);
  for (size_t i = 0; i < wanted; ++i) {
    Type type;
    if (!decided) type = join(output_type(then_branch, i), output_type(else_branch, i));
    if (decided) type = output_type(taken ? then_branch : else_branch, i);
    if (type.kind != Type::Kind::Unknown && ctx.has_output(static_cast<int>(i))) {
      ctx.set_type(static_cast<int>(i), std::move(type));
    }
  }
}

// The carried values' types with only those shapes that the body hands back as it received them:
// by induction they hold in every iteration.
std::vector<Type> invariant_types(InferContext& ctx, const Graph& body, int carried) {
  std::vector<Type> types, loose;
  for (int i = 0; i < carried; ++i) {
    types.push_back(ctx.type(i + 2));
    loose.push_back(types.back());
    loose.back().shape = std::nullopt;
    if (loose.back().element) {
      Type element = *loose.back().element;
      element.shape = std::nullopt;
      loose.back().element = std::make_shared<const Type>(std::move(element));
    }
  }
  Graph trial = clone(body);
  try {
    for (int i = 0; i < carried; ++i) {
      give(ctx, trial, trial.inputs[static_cast<size_t>(i) + 2], types[static_cast<size_t>(i)]);
    }
    infer_body(ctx, trial);
  } catch (const Error&) {
    return loose;  // the initial shapes are not those of later iterations
  }
  for (size_t i = 0; i < types.size(); ++i) {
    const Type made = output_type(trial, i + 1);
    if (!made.is_tensor() || !same_extents(types[i].shape, made.shape)) return loose;
  }
  return types;
}

void loop_shape(InferContext& ctx) {
  if (at_run(ctx)) return;
  Graph& body = body_of(ctx, "body");
  const int carried = std::max(0, ctx.input_count() - 2);
  if (body.inputs.size() != static_cast<size_t>(carried) + 2) {
    ctx.fail(concat("the body has ", body.inputs.size(), " inputs; expected ", carried + 2));
  }
  if (ctx.output_count() < carried) {
    ctx.fail(concat("has ", ctx.output_count(), " outputs for ", carried, " carried values"));
  }
  expect_outputs(ctx, body, static_cast<size_t>(ctx.output_count()) + 1, "the body");
  give(ctx, body, body.inputs[0], Type::tensor(DType::Int64, Shape{}));
  give(ctx, body, body.inputs[1], Type::tensor(DType::Bool, Shape{}));
  const std::vector<Type> types = invariant_types(ctx, body, carried);
  for (int i = 0; i < carried; ++i) {
    give(ctx, body, body.inputs[static_cast<size_t>(i) + 2], types[static_cast<size_t>(i)]);
  }
  infer_body(ctx, body);
  for (int i = 0; i < ctx.output_count(); ++i) {
    if (!ctx.has_output(i)) continue;
    Type type = output_type(body, static_cast<size_t>(i) + 1);
    if (i < carried) {
      type = join(ctx.type(i + 2), type);
    } else if (type.is_tensor() && type.shape) {
      type.shape->insert(type.shape->begin(), Dim());
    }
    if (type.kind != Type::Kind::Unknown) ctx.set_type(i, std::move(type));
  }
}

int64_t list_entry(InferContext& ctx, std::string_view name, int i) {
  const auto list = ctx.attr_ints(name);
  return list && static_cast<size_t>(i) < list->size() ? (*list)[static_cast<size_t>(i)] : 0;
}

int64_t axis_of(InferContext& ctx, int64_t axis, size_t rank) {
  const auto extent = static_cast<int64_t>(rank);
  if (axis < -extent || axis >= extent) {
    ctx.fail(concat("scan axis ", axis, " is outside [", -extent, ", ", extent, ")"));
  }
  return axis < 0 ? axis + extent : axis;
}

// Gives the body one slice of every scan input; returns the sequence length.
Dim give_slices(InferContext& ctx, Graph& body, int states, int scans) {
  Dim length;
  for (int i = 0; i < scans; ++i) {
    Type type = ctx.type(states + i);
    if (type.is_tensor() && type.shape) {
      const int64_t axis = axis_of(ctx, list_entry(ctx, "scan_input_axes", i), type.shape->size());
      const Dim extent = (*type.shape)[static_cast<size_t>(axis)];
      if (length.known() && extent.known() && !length.same(extent)) {
        ctx.fail(
            concat("scan input ", i, " has ", extent.value(), " slices, another ", length.value()));
      }
      if (!length.known()) length = extent;
      type.shape->erase(type.shape->begin() + axis);
    }
    give(ctx, body, body.inputs[static_cast<size_t>(states + i)], type);
  }
  return length;
}

void scan_shape(InferContext& ctx) {
  if (at_run(ctx)) return;
  Graph& body = body_of(ctx, "body");
  const int64_t scans = ctx.attr_int("num_scan_inputs");
  if (scans < 1 || scans > ctx.input_count()) {
    ctx.fail(concat("num_scan_inputs is ", scans, "; the node has ", ctx.input_count(), " inputs"));
  }
  const int states = ctx.input_count() - static_cast<int>(scans);
  if (body.inputs.size() != static_cast<size_t>(ctx.input_count())) {
    ctx.fail(concat("the body has ", body.inputs.size(), " inputs; expected ", ctx.input_count()));
  }
  if (ctx.output_count() < states) {
    ctx.fail(concat("has ", ctx.output_count(), " outputs for ", states, " state values"));
  }
  expect_outputs(ctx, body, static_cast<size_t>(ctx.output_count()), "the body");
  for (int i = 0; i < states; ++i)
    give(ctx, body, body.inputs[static_cast<size_t>(i)], ctx.type(i));
  const Dim length = give_slices(ctx, body, states, static_cast<int>(scans));
  infer_body(ctx, body);
  for (int i = 0; i < ctx.output_count(); ++i) {
    if (!ctx.has_output(i)) continue;
    Type type = output_type(body, static_cast<size_t>(i));
    if (i < states) {
      type = join(ctx.type(i), type);
    } else if (type.is_tensor() && type.shape) {
      const int64_t axis =
          axis_of(ctx, list_entry(ctx, "scan_output_axes", i - states), type.shape->size() + 1);
      type.shape->insert(type.shape->begin() + axis, length);
    }
    if (type.kind != Type::Kind::Unknown) ctx.set_type(i, std::move(type));
  }
}

void sequence_map(InferContext& ctx) {
  if (at_run(ctx)) return;
  Graph& body = body_of(ctx, "body");
  if (body.inputs.size() != static_cast<size_t>(ctx.input_count())) {
    ctx.fail(concat("the body has ", body.inputs.size(), " inputs; expected ", ctx.input_count()));
  }
  expect_outputs(ctx, body, static_cast<size_t>(ctx.output_count()), "the body");
  for (int i = 0; i < ctx.input_count(); ++i) {
    const Type& type = ctx.type(i);
    const bool sequence = type.kind == Type::Kind::Sequence && type.element;
    give(ctx, body, body.inputs[static_cast<size_t>(i)], sequence ? *type.element : type);
  }
  infer_body(ctx, body);
  for (int i = 0; i < ctx.output_count(); ++i) {
    const Type type = output_type(body, static_cast<size_t>(i));
    if (type.is_tensor() && ctx.has_output(i)) ctx.set_type(i, Type::sequence(type));
  }
}

}  // namespace

OpList control_flow_ops() {
  return {
      {.name = "If",
       .since = 25,
       .inputs = {{"cond", "B"}},
       .outputs = {{"outputs", "V", Param::Variadic, false}},
       .types = {{"V", kAnyValue}, {"B", "bool"}},
       .attributes = {{"else_branch", AttrDef::Graph, true}, {"then_branch", AttrDef::Graph, true}},
       .shape = if_shape,
       .facts = kControlFlow},
      {.name = "Loop",
       .since = 25,
       .inputs = {{"M", "I", Param::Optional},
                  {"cond", "B", Param::Optional},
                  {"v_initial", "V", Param::Variadic, false, 0}},
       .outputs = {{"v_final_and_scan_outputs", "V", Param::Variadic, false}},
       .types = {{"V", kAnyValue}, {"I", "int64"}, {"B", "bool"}},
       .attributes = {{"body", AttrDef::Graph, true}},
       .shape = loop_shape,
       .facts = kControlFlow},
      {.name = "Scan",
       .since = 25,
       .inputs = {{"initial_state_and_scan_inputs", "V", Param::Variadic, false}},
       .outputs = {{"final_state_and_scan_outputs", "V", Param::Variadic, false}},
       .types = {{"V", kAnyTensor}},
       .attributes = {{"scan_input_axes", AttrDef::Ints},
                      {"scan_output_axes", AttrDef::Ints},
                      {"scan_output_directions", AttrDef::Ints},
                      {"scan_input_directions", AttrDef::Ints},
                      {"num_scan_inputs", AttrDef::Int, true},
                      {"body", AttrDef::Graph, true}},
       .shape = scan_shape,
       .facts = kControlFlow},
      {.name = "SequenceMap",
       .since = 17,
       .inputs = {{"input_sequence", "S"}, {"additional_inputs", "V", Param::Variadic, false, 0}},
       .outputs = {{"out_sequence", "S", Param::Variadic, false}},
       .types = {{"S", kMapSequences}, {"V", kMapValues}},
       .attributes = {{"body", AttrDef::Graph, true}},
       .shape = sequence_map,
       .facts = kControlFlow},
  };
}

}  // namespace tiercel
