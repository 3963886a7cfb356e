// Gradients and optimiser steps of ai.onnx.preview.training: what they take and give.
#include "ops/families.h"
#include "ops/op_def.h"

namespace tiercel {

namespace {

constexpr std::string_view kTraining = "ai.onnx.preview.training";

// Inputs R, T, then the tensors, their gradients and `states` lists of states; outputs: the new
// tensors, then their new states.
void optimize(InferContext& ctx, int states) {
  const int lists = states + 2;
  const int given = ctx.input_count() - 2;
  if (given <= 0 || given % lists != 0) {
    ctx.fail(concat("has ", given, " inputs after R and T; expected a multiple of ", lists));
  }
  const int count = given / lists;
  if (ctx.output_count() != count * (states + 1)) {
    ctx.fail(concat("has ", ctx.output_count(), " outputs; expected ", count * (states + 1)));
  }
  for (int i = 0; i < ctx.output_count(); ++i) {
    const int like = i < count ? 2 + i : 2 + count + i;
    ctx.set(i, ctx.dtype(like), ctx.shape(like));
  }
}

void one_state(InferContext& ctx) { optimize(ctx, 1); }
void two_states(InferContext& ctx) { optimize(ctx, 2); }

// A derivative has the type of the variable: the first inputs are the variables.
void gradient(InferContext& ctx) {
  for (int i = 0; i < ctx.output_count() && i < ctx.input_count(); ++i) {
    if (ctx.has_output(i)) ctx.set_type(i, ctx.type(i));
  }
}

OpDef optimizer(std::string_view name, ShapeFn shape, std::vector<AttrDef> attributes) {
  return {.domain = kTraining,
          .name = name,
          .since = 1,
          .inputs = {{"R", "T1"}, {"T", "T2"}, {"inputs", "T3", Param::Variadic, false}},
          .outputs = {{"outputs", "T3", Param::Variadic, false}},
          .types = {{"T1", "float double"}, {"T2", "int64"}, {"T3", "float double"}},
          .attributes = std::move(attributes),
          .shape = shape};
}

}  // namespace

OpList optimizer_ops() {
  return {
      optimizer("Adagrad", one_state,
                {{"norm_coefficient", AttrDef::Float, false, 0.0},
                 {"decay_factor", AttrDef::Float, false, 0.0},
                 {"epsilon", AttrDef::Float, false, 1e-6}}),
      optimizer("Momentum", one_state,
                {{"norm_coefficient", AttrDef::Float, true},
                 {"beta", AttrDef::Float, true},
                 {"mode", AttrDef::String, true},
                 {"alpha", AttrDef::Float, true}}),
      optimizer("Adam", two_states,
                {{"epsilon", AttrDef::Float, false, 1e-6},
                 {"norm_coefficient_post", AttrDef::Float, false, 0.0},
                 {"norm_coefficient", AttrDef::Float, false, 0.0},
                 {"beta", AttrDef::Float, false, 0.999},
                 {"alpha", AttrDef::Float, false, 0.9}}),
      {.domain = kTraining,
       .name = "Gradient",
       .since = 1,
       .inputs = {{"Inputs", "T1", Param::Variadic, false}},
       .outputs = {{"Outputs", "T2", Param::Variadic, false}},
       .types = {{"T1",
                  "float double float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool "
                  "string complex64 complex128"},
                 {"T2", "float double float16"}},
       .attributes = {{"xs", AttrDef::Strings, true},
                      {"y", AttrDef::String, true},
                      {"zs", AttrDef::Strings}},
       .shape = gradient},
  };
}

}  // namespace tiercel
