// Quantised operators of com.microsoft.
#include "ops/contrib.h"
#include "ops/families.h"

namespace tiercel {

namespace {

void q_gemm(InferContext& ctx) { ctx.set(0, ctx.has_input(8) ? ctx.dtype(8) : DType::Float); }

void quantize_linear(InferContext& ctx) {
  ctx.set(0, ctx.has_input(2) ? ctx.dtype(2) : DType::UInt8, ctx.shape(0));
}

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

}  // namespace

OpList contrib_quantized_ops() {
  return {
      contrib_row("DequantizeLinear", "x:T1 x_scale:T2 x_zero_point:T1?", "y:T2",
                  "T1 = int8 uint8 int16 uint16 int32 int4 uint4; T2 = float16 float", "axis:int"),
      contrib_row("DynamicQuantizeLSTM",
                  "X:T W:T2 R:T2 B:T? sequence_lens:T1? initial_h:T? initial_c:T? P:T? W_scale:T "
                  "W_zero_point:T2 R_scale:T R_zero_point:T2",
                  "Y:T? Y_h:T? Y_c:T?", "T = float; T1 = int32; T2 = uint8 int8",
                  "activation_alpha:floats activation_beta:floats activations:strings clip:float "
                  "direction:string=forward hidden_size:int input_forget:int=0",
                  dynamic_quantize_lstm),
      contrib_row("DynamicQuantizeMatMul", "A:T1 B:T2 b_scale:T1 b_zero_point:T2? bias:T1?", "Y:T1",
                  "T1 = float; T2 = int8 uint8"),
      contrib_row("MatMulIntegerToFloat",
                  "A:T1 B:T2 a_scale:T3 b_scale:T3 a_zero_point:T1? b_zero_point:T2? bias:T3?",
                  "Y:T3", "T1 = int8 uint8; T2 = int8 uint8; T3 = float float16"),
      contrib_row("MulInteger", "A:T A_zero_point:T? B:T B_zero_point:T?", "C:T1",
                  "T = uint8 int8; T1 = int32"),
      contrib_row(
          "QGemm",
          "A:TA a_scale:T a_zero_point:TA B:TB b_scale:T b_zero_point:TB C:TC? y_scale:T? "
          "y_zero_point:TYZ?",
          "Y:TY",
          "T = float; TA = uint8 int8; TB = uint8 int8; TC = int32; TYZ = uint8 int8; TY = float "
          "uint8 int8",
          "alpha:float=1.0 transA:int=0 transB:int=0", q_gemm),
      contrib_row(
          "QLinearAdd",
          "A:T A_scale:tensor(float) A_zero_point:T? B:T B_scale:tensor(float) B_zero_point:T? "
          "C_scale:tensor(float) C_zero_point:T?",
          "C:T", "T = uint8 int8"),
      contrib_row(
          "QLinearAveragePool",
          "X:T x_scale:tensor(float) x_zero_point:T? y_scale:tensor(float) y_zero_point:T?", "Y:T",
          "T = uint8 int8",
          "auto_pad:string=NOTSET ceil_mode:int=0 channels_last:int=0 count_include_pad:int=0 "
          "kernel_shape:ints! pads:ints strides:ints"),
      contrib_row("QLinearConcat", "Y_scale:TF Y_zero_point:T8 inputs:TV+", "Y:T8",
                  "T8 = uint8 int8; TF = float; TV = uint8 int8 float", "axis:int!"),
      contrib_row("QLinearGlobalAveragePool",
                  "X:T x_scale:tensor(float) x_zero_point:T y_scale:tensor(float) y_zero_point:T",
                  "Y:T", "T = uint8 int8", "channels_last:int=0"),
      contrib_row("QLinearLeakyRelu",
                  "X:T X_scale:tensor(float) X_zero_point:T? Y_scale:tensor(float) Y_zero_point:T?",
                  "Y:T", "T = uint8 int8", "alpha:float=0.01"),
      contrib_row(
          "QLinearMul",
          "A:T A_scale:tensor(float) A_zero_point:T? B:T B_scale:tensor(float) B_zero_point:T? "
          "C_scale:tensor(float) C_zero_point:T?",
          "C:T", "T = uint8 int8"),
      contrib_row("QLinearReduceMean",
                  "data:T data_scale:tensor(float) data_zero_point:T? reduced_scale:tensor(float) "
                  "reduced_zero_point:T?",
                  "reduced:T", "T = uint8 int8", "axes:ints! keepdims:int!"),
      contrib_row("QLinearSigmoid",
                  "X:T X_scale:tensor(float) X_zero_point:T? Y_scale:tensor(float) Y_zero_point:T?",
                  "Y:T", "T = uint8 int8"),
      contrib_row("QLinearSoftmax",
                  "X:T X_scale:tensor(float) x_zero_point:T? y_scale:tensor(float) y_zero_point:T",
                  "Y:T", "T = uint8 int8", "axis:int=-1 opset:int!"),
      contrib_row(
          "QLinearWhere",
          "condition:B X:T x_scale:TF x_zero_point:T Y:T y_scale:TF y_zero_point:T z_scale:TF "
          "z_zero_point:T",
          "Z:T", "B = bool; TF = float; T = uint8 int8"),
      contrib_row("QuantizeLinear", "x:T1 y_scale:T1 y_zero_point:T2?", "y:T2",
                  "T1 = float16 float; T2 = int8 uint8 int16 uint16 int4 uint4", "axis:int",
                  quantize_linear),
      contrib_row("ReduceSumInteger", "data:T1", "reduced:T2", "T1 = int8 uint8; T2 = int32 uint32",
                  "axes:ints! keepdims:int!"),
  };
}

}  // namespace tiercel
