// Matrix products of com.microsoft, with activations, of packed weights, and of experts.
#include "ops/contrib.h"

namespace tiercel {

namespace {

void inverse(InferContext& ctx) {
  const auto& shape = ctx.shape(0);
  if (shape && shape->size() < 2) ctx.fail("X has fewer than 2 axes; expected square matrices");
  const size_t n = shape ? shape->size() : 0;
  if (shape && (*shape)[n - 1].known() && (*shape)[n - 2].known() &&
      !(*shape)[n - 1].same((*shape)[n - 2])) {
    ctx.fail(concat("X has shape ", shape_text(*shape), "; expected square matrices"));
  }
  ctx.set(0, ctx.dtype(0), shape);
}

}  // namespace

OpList contrib_matrix_ops() {
  return {
      contrib_row("CDist", "A:T B:T", "C:T", "T = float double", "metric:string=sqeuclidean"),
      contrib_row(
          "FusedGemm", "A:T B:T C:T?", "Y:T", "T = float16 float double uint32 uint64 int32 int64",
          "activation:string activation_alpha:float activation_beta:float activation_gamma:float "
          "alpha:float=1.0 beta:float=1.0 transA:int=0 transB:int=0"),
      contrib_row("FusedMatMul", "A:T B:T", "Y:T", "T = float16 float double bfloat16",
                  "alpha:float=1.0 transA:int=0 transB:int=0 transBatchA:int=0 transBatchB:int=0"),
      contrib_row(
          "FusedMatMulActivation", "A:T B:T", "Y:T", "T = float16 float double bfloat16",
          "activation:string! activation_alpha:float activation_axis:int activation_beta:float "
          "activation_gamma:float alpha:float=1.0 transA:int=0 transB:int=0 transBatchA:int=0 "
          "transBatchB:int=0"),
      contrib_row(
          "GatherBlockQuantized", "data:T1 indices:Tind scales:T2 zero_points:T1?", "output:T2",
          "T1 = int4 uint4 uint8 float8e4m3fn float8e4m3fnuz float8e5m2 float8e5m2fnuz float4e2m1; "
          "T2 = float float16 bfloat16; Tind = int32 int64",
          "bits:int=4 block_size:int=128 gather_axis:int=0 quantize_axis:int=1"),
      contrib_row("GemmFastGelu", "X:T W:T bias:T?", "Y:T", "T = float float16 bfloat16"),
      contrib_row("Inverse", "X:T", "Y:T", "T = float16 float double", "", inverse),
      contrib_row("MatMulBnb4", "A:T1 B:T2 absmax:T1", "Y:T1",
                  "T1 = float float16 bfloat16; T2 = uint8",
                  "K:int! N:int! block_size:int! quant_type:int! training_mode:int=0 transB:int=1"),
      contrib_row("MatMulInteger16", "A:T1 B:T2", "Y:T3",
                  "T1 = int16 uint16; T2 = int16 uint16; T3 = int32 uint32"),
      contrib_row(
          "MatMulNBits", "A:T1 B:T2 scales:T1 zero_points:T3? g_idx:T4? bias:T1?", "Y:T1",
          "T1 = float float16 bfloat16; T2 = uint8; T3 = uint8 float16 float bfloat16; T4 = int32",
          "K:int! N:int! accuracy_level:int=0 bits:int=4 block_size:int! weight_prepacked:int=0"),
      contrib_row(
          "MatMulNBitsMlp",
          "A:T1 skip:T1? norm_scale:T1? gate_B:T2 gate_scales:T1 gate_bias:T1? up_B:T2 "
          "up_scales:T1 "
          "up_bias:T1?",
          "Y:T1 input_skip_bias_sum:T1?", "T1 = float float16 bfloat16; T2 = uint8",
          "K:int! N:int! accuracy_level:int=0 activation:string! bits:int=4 block_size:int! "
          "epsilon:float=1e-05"),
      contrib_row(
          "MatMulNBitsQkv",
          "A:T1 skip:T1? norm_scale:T1 q_B:T2 q_scales:T1 q_bias:T1? k_B:T2 k_scales:T1 k_bias:T1? "
          "v_B:T2 v_scales:T1 v_bias:T1?",
          "Q:T1 K:T1 V:T1 input_skip_bias_sum:T1?", "T1 = float float16 bfloat16; T2 = uint8",
          "K:int! Nkv:int! Nq:int! accuracy_level:int=0 bits:int=4 block_size:int! "
          "epsilon:float=1e-06"),
      contrib_row(
          "MoE",
          "input:T router_probs:T fc1_experts_weights:T fc1_experts_bias:T? fc2_experts_weights:T "
          "fc2_experts_bias:T? fc3_experts_weights:T? fc3_experts_bias:T?",
          "output:T", "T = float float16 bfloat16",
          "activation_alpha:float=1.0 activation_beta:float=0.0 activation_type:string=relu "
          "k:int=1 "
          "normalize_routing_weights:int=0 swiglu_fusion:int=0 swiglu_limit:float "
          "swiglu_limit_after_activation:int=0 use_sparse_mixer:int=0"),
      contrib_row("MoEGroupRouter", "logits:T expert_bias:TF projection_weight:T?",
                  "router_probs:T? selection_scores:TF? router_weights:TF?",
                  "T = float float16 bfloat16; TF = float",
                  "group_topk:int=2 n_group:int=1 router_sentinel:float=-10000.0 top_k:int! "
                  "topk_group:int=1"),
      contrib_row(
          "QMoE",
          "input:T router_probs:T fc1_experts_weights:T1 fc1_scales:T2? fc1_experts_bias:T? "
          "fc2_experts_weights:T1 fc2_scales:T2? fc2_experts_bias:T? fc3_experts_weights:T1? "
          "fc3_scales:T2? fc3_experts_bias:T? fc1_zero_points:T1? fc2_zero_points:T1? "
          "fc3_zero_points:T1? router_weights:T? fc1_global_scale:T4? fc2_global_scale:T4? "
          "fc1_act_scale:T4? fc2_act_scale:T4? fc1_act_block_scale:T2? fc2_act_block_scale:T2?",
          "output:T",
          "T = float float16 bfloat16; T1 = uint8 float8e4m3fn; T2 = float float16 bfloat16 "
          "float8e8m0 float8e4m3fn; T4 = float",
          "accuracy_level:int=0 activation_alpha:float=1.0 activation_beta:float=0.0 "
          "activation_type:string=relu block_size:int expert_weight_bits:int=4 "
          "fc1_expert_weight_bits:int fc2_expert_weight_bits:int fc3_expert_weight_bits:int "
          "k:int=1 "
          "normalize_routing_weights:int=0 quant_type:string=int swiglu_fusion:int=0 "
          "swiglu_limit:float swiglu_limit_after_activation:int=0 use_sparse_mixer:int=0 "
          "weights_prepacked:int=-1"),
      contrib_row("TransposeMatMul", "A:T B:T", "Y:T", "T = float16 float double bfloat16",
                  "alpha:float=1.0 transA:int=0 transB:int=0"),
      contrib_row("MatMulNBitsQLoRA",
                  "X:T W:TQ scales:T lora_A:TQ lora_A_scales:T lora_B:TQ lora_B_scales:T", "Y:T",
                  "T = float16 float; TQ = uint8",
                  "K:int! N:int! accuracy_level:int=0 bits:int=4 block_size:int=32 lora_bits:int=8 "
                  "lora_block_size:int=32"),
  };
}

}  // namespace tiercel
