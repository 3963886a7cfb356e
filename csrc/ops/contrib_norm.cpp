// Activations and normalisations of com.microsoft.
#include "ops/contrib.h"

namespace tiercel {

namespace {

// ONNX Runtime put it into the standard's domain.
OpDef simplified_layer_norm() {
  OpDef def = contrib_row("SimplifiedLayerNormalization", "X:T scale:V", "Y:V inv_std_var:U?",
                          "T = float double float16 bfloat16; V = float double float16 bfloat16; "
                          "U = float double",
                          "axis:int=-1 epsilon:float=1e-05 stash_type:int=1");
  def.domain = "";
  return def;
}

}  // namespace

OpList contrib_norm_ops() {
  return {
      simplified_layer_norm(),
      contrib_row("BiasAdd", "X:T bias:T skip:T", "Y:T", "T = float16 float"),
      contrib_row(
          "BiasDropout", "data:T bias:T residual:T? ratio:T1? training_mode:T2?",
          "output:T mask:T2?",
          "T = float16 float double bfloat16; T1 = float16 float double bfloat16; T2 = bool",
          "seed:int"),
      contrib_row("BiasGelu", "A:T B:T", "C:T", "T = float16 float double bfloat16"),
      contrib_row("BiasSoftmax", "data:T bias:T", "output:T", "T = float16 float double",
                  "axis:int=1 is_inner_broadcast:int!"),
      contrib_row("BiasSplitGelu", "X:T bias:T", "Y:T", "T = float16 float"),
      contrib_row(
          "BitmaskBiasDropout", "data:T bias:T residual:T? ratio:T1? training_mode:T2?",
          "output:T mask:T3?",
          "T = float16 float double bfloat16; T1 = float16 float double bfloat16; T2 = bool; T3 = "
          "uint32",
          "seed:int"),
      contrib_row(
          "BitmaskDropout", "data:T ratio:T1? training_mode:T2?", "output:T mask:T3?",
          "T = float16 float double bfloat16; T1 = float16 float double bfloat16; T2 = bool; T3 = "
          "uint32",
          "seed:int"),
      contrib_row("BranchwiseRMSNorm", "X:T scale:M?", "Y:T",
                  "T = float float16 bfloat16; M = float float16 bfloat16",
                  "epsilon:float=1e-05 num_branches:int=0"),
      contrib_row(
          "EmbedLayerNormalization",
          "input_ids:T1 segment_ids:T1? word_embedding:T position_embedding:T segment_embedding:T? "
          "gamma:T beta:T mask:T1? position_ids:T1?",
          "output:T mask_index:T1? embedding_sum:T?", "T1 = int32; T = float float16",
          "epsilon:float=1e-12 mask_index_type:int"),
      contrib_row("EngramGate",
                  "key:T query:T value:T key_norm_scale:T query_norm_scale:T conv_norm_scale:T?",
                  "output:T gated_value_normed:T?", "T = float float16 bfloat16",
                  "epsilon:float=1e-05"),
      contrib_row("FastGelu", "X:T bias:T?", "Y:T", "T = float double float16 bfloat16"),
      contrib_row("GatedAdd", "X:T Y:T gate:T gate_weight:T?", "output:T",
                  "T = float float16 bfloat16"),
      contrib_row("GatedRMSNorm", "X:T scale:T gate:T", "Y:T", "T = float float16 bfloat16",
                  "activation:string=silu epsilon:float=1e-05"),
      contrib_row("Gelu", "X:T", "Y:T", "T = float16 float double bfloat16"),
      contrib_row("GroupNorm", "X:T gamma:M beta:M", "Y:T", "T = float16 float; M = float16 float",
                  "activation:int! channels_last:int=1 epsilon:float=1e-05 groups:int!"),
      contrib_row("HyperConnectionPostMix", "streams:T block_output:T post_mix:M stream_mix:M?",
                  "output:T", "T = float float16 bfloat16; M = float float16 bfloat16",
                  "num_branches:int=0"),
      contrib_row("HyperConnectionPreMix", "streams:T pre_mix:M", "output:T",
                  "T = float float16 bfloat16; M = float float16 bfloat16",
                  "num_branches:int=0 reduction_scale:float=1.0"),
      contrib_row(
          "QEmbedLayerNormalization",
          "input_ids:T1 segment_ids:T1? word_embedding_quant:T2 position_embedding_quant:T2 "
          "segment_embedding:T2? gamma_quant:T2 beta_quant:T2 mask:T1? word_embedding_scale:T "
          "position_embedding_scale:T segment_embedding_scale:T? gamma_scale:T beta_scale:T "
          "word_embedding_zero_point:T2 position_embedding_zero_point:T2 "
          "segment_embedding_zero_point:T2? gamma_zero_point:T2 beta_zero_point:T2",
          "layernorm_out:T mask_index_out:T1", "T1 = int32; T2 = int8 uint8; T = float",
          "epsilon:float=1e-12"),
      contrib_row("QuickGelu", "X:T", "Y:T", "T = float16 float double bfloat16",
                  "alpha:float=1.702"),
      contrib_row("ScaledSiLU", "X:T scale:M?", "Y:T",
                  "T = float float16 bfloat16; M = float float16 bfloat16", "alpha:float=1.0"),
      contrib_row("SkipGroupNorm", "X:T gamma:M beta:M skip:T bias:T?", "Y:T S:T?",
                  "T = float16 float; M = float16 float",
                  "activation:int! channels_last:int=1 epsilon:float=1e-05 groups:int!"),
      contrib_row("SkipLayerNormalization", "input:T skip:T gamma:T beta:T? bias:T?",
                  "output:T mean:U? inv_std_var:U? input_skip_bias_sum:T?",
                  "T = float float16 bfloat16; U = float", "epsilon:float=1e-12"),
      contrib_row("SkipSimplifiedLayerNormalization", "input:T skip:T gamma:T bias:T?",
                  "output:T mean:U? inv_std_var:U? input_skip_bias_sum:T?",
                  "T = float float16 bfloat16; U = float", "epsilon:float=1e-12"),
      contrib_row("SwiGLU", "gate:T up:T?", "output:T", "T = float16 bfloat16 float",
                  "activation_alpha:float=1.0 activation_beta:float=0.0 limit:float=0.0 "
                  "round_activation:int=0"),
  };
}

}  // namespace tiercel
