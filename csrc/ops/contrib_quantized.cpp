// Quantised operators of com.microsoft.
#include "ops/families.h"
#include "ops/op_def.h"

namespace tiercel {

namespace {

constexpr std::string_view kBytes = "int8 uint8";
constexpr std::string_view kScaleTypes = "float float16";

void quantized_type_of_first(InferContext& ctx) { ctx.set(0, ctx.dtype(0)); }

// After (scale, zero point) the first tensor is input 2.
void type_of_zero_point(InferContext& ctx) {
  ctx.set(0, ctx.has_input(1) ? ctx.dtype(1) : DType::UInt8);
}

void float_result(InferContext& ctx) { ctx.set(0, DType::Float); }

void q_gemm(InferContext& ctx) { ctx.set(0, ctx.has_input(8) ? ctx.dtype(8) : DType::Float); }

// X, W [directions, input, 4·hidden], R, B, sequence_lens, initial_h, initial_c, P, W_scale,
// W_zero_point, R_scale, R_zero_point
void dynamic_quantize_lstm(InferContext& ctx) {
  const Dim directions = ctx.attr_string("direction", "forward") == "bidirectional" ? 2 : 1;
  Dim hidden;
  if (ctx.has_shape(2) && ctx.shape(2)->size() == 3) hidden = (*ctx.shape(2))[1];
  Dim sequence, batch;
  if (ctx.has_shape(0)) {
    if (ctx.shape(0)->size() != 3) ctx.fail("X has not the shape [sequence, batch, input]");
    sequence = (*ctx.shape(0))[0];
    batch = (*ctx.shape(0))[1];
  }
  if (ctx.has_output(0)) {
    ctx.set(0, DType::Float, Shape{sequence, directions, batch, hidden});
  }
  for (int i = 1; i < 3; ++i) {
    if (ctx.has_output(i)) ctx.set(i, DType::Float, Shape{directions, batch, hidden});
  }
}

OpDef quantized_row(std::string_view name, std::vector<Param> inputs, std::vector<Param> outputs,
                    std::vector<AttrDef> attributes, ShapeFn shape) {
  return {.domain = "com.microsoft",
          .name = name,
          .inputs = std::move(inputs),
          .outputs = std::move(outputs),
          .types = {{"T", kBytes},
                    {"T1", kBytes},
                    {"T2", kBytes},
                    {"TF", kScaleTypes},
                    {"TR", "int8 uint8 float"}},
          .attributes = std::move(attributes),
          .shape = shape};
}

std::vector<Param> two_operands() {
  return {{"A", "T"},
          {"A_scale", "tensor(float)"},
          optional("A_zero_point", "T"),
          {"B", "T"},
          {"B_scale", "tensor(float)"},
          optional("B_zero_point", "T"),
          {"C_scale", "tensor(float)"},
          optional("C_zero_point", "T")};
}

std::vector<Param> one_operand() {
  return {{"X", "T"},
          {"X_scale", "tensor(float)"},
          optional("X_zero_point", "T"),
          {"Y_scale", "tensor(float)"},
          optional("Y_zero_point", "T")};
}

void add_quantized_matrix_ops(OpList& ops) {
  ops.push_back(quantized_row("QGemm",
                              {{"A", "T1"},
                               {"a_scale", "tensor(float)"},
                               {"a_zero_point", "T1"},
                               {"B", "T2"},
                               {"b_scale", "tensor(float)"},
                               {"b_zero_point", "T2"},
                               optional("C", "tensor(int32)"),
                               optional("y_scale", "tensor(float)"),
                               optional("y_zero_point", "T")},
                              {{"Y", "TR"}},
                              {{"alpha", AttrDef::Float, false, 1.0},
                               {"transA", AttrDef::Int, false, int64_t{0}},
                               {"transB", AttrDef::Int, false, int64_t{0}}},
                              q_gemm));
  ops.push_back(quantized_row("MatMulIntegerToFloat",
                              {{"A", "T1"},
                               {"B", "T2"},
                               {"a_scale", "tensor(float)"},
                               {"b_scale", "tensor(float)"},
                               optional("a_zero_point", "T1"),
                               optional("b_zero_point", "T2"),
                               optional("bias", "tensor(float)")},
                              {{"Y", "tensor(float)"}}, {}, float_result));
  ops.push_back(quantized_row("DynamicQuantizeMatMul",
                              {{"A", "tensor(float)"},
                               {"B", "T2"},
                               {"b_scale", "tensor(float)"},
                               optional("b_zero_point", "T2"),
                               optional("bias", "tensor(float)")},
                              {{"Y", "tensor(float)"}}, {}, float_result));
  const std::vector<AttrDef> lstm = {{"clip", AttrDef::Float},
                                     {"activation_alpha", AttrDef::Floats},
                                     {"activation_beta", AttrDef::Floats},
                                     {"activations", AttrDef::Strings},
                                     {"direction", AttrDef::String, false, std::string("forward")},
                                     {"hidden_size", AttrDef::Int},
                                     {"input_forget", AttrDef::Int, false, int64_t{0}}};
  ops.push_back(quantized_row("DynamicQuantizeLSTM",
                              {{"X", "tensor(float)"},
                               {"W", "T2"},
                               {"R", "T2"},
                               optional("B", "tensor(float)"),
                               optional("sequence_lens", "tensor(int32)"),
                               optional("initial_h", "tensor(float)"),
                               optional("initial_c", "tensor(float)"),
                               optional("P", "tensor(float)"),
                               {"W_scale", "tensor(float)"},
                               {"W_zero_point", "T2"},
                               {"R_scale", "tensor(float)"},
                               {"R_zero_point", "T2"}},
                              {optional("Y", "tensor(float)"), optional("Y_h", "tensor(float)"),
                               optional("Y_c", "tensor(float)")},
                              lstm, dynamic_quantize_lstm));
}

}  // namespace

OpList contrib_quantized_ops() {
  OpList ops;
  ops.push_back(
      quantized_row("QLinearAdd", two_operands(), {{"C", "T"}}, {}, quantized_type_of_first));
  ops.push_back(
      quantized_row("QLinearMul", two_operands(), {{"C", "T"}}, {}, quantized_type_of_first));
  ops.push_back(
      quantized_row("QLinearSigmoid", one_operand(), {{"Y", "T"}}, {}, quantized_type_of_first));
  ops.push_back(quantized_row("QLinearLeakyRelu", one_operand(), {{"Y", "T"}},
                              {{"alpha", AttrDef::Float, false, 0.01}}, quantized_type_of_first));
  ops.push_back(quantized_row("QLinearGlobalAveragePool", one_operand(), {{"Y", "T"}},
                              {{"channels_last", AttrDef::Int, false, int64_t{0}}},
                              quantized_type_of_first));
  ops.push_back(quantized_row("QLinearAveragePool", one_operand(), {{"Y", "T"}},
                              {{"auto_pad", AttrDef::String, false, std::string("NOTSET")},
                               {"ceil_mode", AttrDef::Int, false, int64_t{0}},
                               {"count_include_pad", AttrDef::Int, false, int64_t{0}},
                               {"kernel_shape", AttrDef::Ints, true},
                               {"pads", AttrDef::Ints},
                               {"strides", AttrDef::Ints},
                               {"channels_last", AttrDef::Int, false, int64_t{0}}},
                              quantized_type_of_first));
  ops.push_back(
      quantized_row("QLinearSoftmax", one_operand(), {{"Y", "T"}},
                    {{"axis", AttrDef::Int, false, int64_t{-1}}, {"opset", AttrDef::Int, true}},
                    quantized_type_of_first));
  ops.push_back(quantized_row("QLinearConcat",
                              {{"Y_scale", "tensor(float)"},
                               {"Y_zero_point", "T"},
                               {"inputs", "TV", Param::Variadic, false}},
                              {{"Y", "T"}}, {{"axis", AttrDef::Int, true}}, type_of_zero_point));
  ops.back().types.push_back({"TV", "int8 uint8 float"});
  ops.push_back(quantized_row(
      "QuantizeLinear", {{"x", "TF"}, {"y_scale", "TF"}, optional("y_zero_point", "T")},
      {{"y", "T"}}, {{"axis", AttrDef::Int, false, int64_t{1}}}, [](InferContext& ctx) {
        ctx.set(0, ctx.has_input(2) ? ctx.dtype(2) : DType::UInt8, ctx.shape(0));
      }));
  ops.push_back(quantized_row("DequantizeLinear",
                              {{"x", "TX"}, {"x_scale", "TF"}, optional("x_zero_point", "TX")},
                              {{"y", "TF"}}, {{"axis", AttrDef::Int, false, int64_t{1}}},
                              [](InferContext& ctx) { ctx.set(0, ctx.dtype(1), ctx.shape(0)); }));
  ops.back().types.push_back({"TX", "int8 uint8 int16 uint16 int32"});
  add_quantized_matrix_ops(ops);
  return ops;
}

}  // namespace tiercel
