// Attention, positions and gated recurrences of com.microsoft.
#include "ops/contrib.h"

namespace tiercel {

OpList contrib_attention_ops() {
  return {
      contrib_row(
          "Attention",
          "input:T weights:T bias:T? mask_index:M? past:T? attention_bias:T? "
          "past_sequence_length:M?",
          "output:T present:T?", "T = float float16 bfloat16; M = int32",
          "do_rotary:int mask_filter_value:float num_heads:int! past_present_share_buffer:int "
          "qkv_hidden_sizes:ints rotary_embedding_dim:int scale:float unidirectional:int=0"),
      contrib_row(
          "CausalConvWithState", "input:T weight:T bias:T? past_state:T?",
          "output:T present_state:T state_update:T?", "T = float float16 bfloat16",
          "activation:string=none channels_last:int=0 dilation:int=1 input_channel_offset:int=0 "
          "input_channels:int=0 ndim:int=1 state_channels_last:int=-1 state_length:int=0 "
          "state_update_capacity:int=0 state_window:int=0"),
      contrib_row(
          "DecoderMaskedMultiHeadAttention",
          "query:T key:T? value:T? mask_index:M? attention_bias:T? past_key:T? past_value:T? "
          "past_sequence_length:M? beam_width:M? cache_indirection:M? bias:T?",
          "output:T present_key:T? present_value:T? qk:QK?",
          "T = float float16; QK = float float16; M = int32",
          "mask_filter_value:float num_heads:int! output_qk:int past_present_share_buffer:int "
          "scale:float"),
      contrib_row("GatedRelativePositionBias",
                  "query_layer:T query_bias:T rel_pos:T weight:T bias:T eco_a:T token_offset:M?",
                  "output:T", "T = float float16; M = int32", "num_heads:int!"),
      contrib_row("GemmaRotaryEmbedding", "emb:U q:T q_rot:T k:T k_rot:T", "output1:T output2:T",
                  "T = float16; U = float"),
      contrib_row(
          "GroupQueryAttention",
          "query:T key:T? value:T? past_key:T_CACHE? past_value:T_CACHE? seqlens_k:M "
          "total_sequence_length:M cos_cache:T? sin_cache:T? position_ids:tensor(int64)? "
          "attention_bias:T? head_sink:T? k_scale:T_KV_SCALE? v_scale:T_KV_SCALE? q_norm_weight:T? "
          "k_norm_weight:T? query_seqlens:M?",
          "output:T present_key:T_CACHE? present_value:T_CACHE? output_qk:T?",
          "T = float16 bfloat16 float; T_CACHE = float float16 bfloat16 uint8 int8 float8e4m3fn; "
          "T_KV_SCALE = float; M = int32",
          "causal:int=1 do_rotary:int k_norm_epsilon:float k_quant_type:string=NONE "
          "kv_cache_bit_width:int kv_num_heads:int! local_window_size:int=-1 num_heads:int! "
          "q_norm_epsilon:float qk_norm_epsilon:float=1e-06 qk_output:int=0 rotary_interleaved:int "
          "scale:float sliding_window_cache:int=0 smooth_softmax:int=-1 softcap:float "
          "v_quant_type:string=NONE"),
      contrib_row(
          "LinearAttention", "query:T key:T value:T past_state:S? decay:T? beta:T?",
          "output:T present_state:S", "T = float float16 bfloat16; S = float float16 bfloat16",
          "chunk_size:int=64 kv_num_heads:int! q_num_heads:int! scale:float=0.0 state_window:int=0 "
          "update_rule:string=gated_delta"),
      contrib_row("LinearAttentionGate", "a:T dt_bias:TF decay_scale:TF b:T?", "decay:T beta:T?",
                  "T = float float16 bfloat16; TF = float"),
      contrib_row("MRotaryEmbedding", "input:T position_ids:M cos_cache:T sin_cache:T", "output:T",
                  "T = float float16 bfloat16; M = int64",
                  "interleaved:int is_packed_batching:int mrope_layout:int mrope_section:ints! "
                  "num_heads:int rotary_embedding_dim:int scale:float"),
      contrib_row(
          "MultiHeadAttention",
          "query:T key:T? value:T? bias:T? key_padding_mask:M? attention_bias:T? past_key:T? "
          "past_value:T? past_sequence_length:M? cache_indirection:M?",
          "output:T present_key:T? present_value:T? qk:QK?",
          "T = float float16 bfloat16; QK = float float16 bfloat16; M = int32",
          "mask_filter_value:float num_heads:int! scale:float unidirectional:int=0"),
      contrib_row(
          "PackedAttention",
          "input:T weights:T bias:T token_offset:M cumulative_sequence_length:M attention_bias:T?",
          "output:T", "T = float float16; M = int32",
          "num_heads:int! qkv_hidden_sizes:ints scale:float"),
      contrib_row("PackedMultiHeadAttention",
                  "query:T key:T? value:T? bias:T? token_offset:M cumulative_sequence_length:M "
                  "attention_bias:T?",
                  "output:T", "T = float float16; M = int32",
                  "mask_filter_value:float num_heads:int! scale:float"),
      contrib_row(
          "QAttention",
          "input:T1 weight:T2 bias:T3 input_scale:T3 weight_scale:T3 mask_index:T4? "
          "input_zero_point:T1? weight_zero_point:T2? past:T3?",
          "output:T3 present:T3?",
          "T1 = int8 uint8; T2 = int8 uint8; T3 = float float16; T4 = int32",
          "do_rotary:int mask_filter_value:float num_heads:int! past_present_share_buffer:int "
          "scale:float unidirectional:int=0"),
      contrib_row("RelativePositionBias", "bias_table:T query_length:U key_length:U", "output:T",
                  "T = float float16; U = int64", "is_bidirectional:int=0 max_distance:int!"),
      contrib_row("RemovePadding", "input:T sequence_token_count:M",
                  "output:T token_offset:M cumulated_seq_len:M max_seq_len:M",
                  "T = float float16; M = int32"),
      contrib_row("RestorePadding", "input:T token_offset:M", "output:T",
                  "T = float float16; M = int32"),
      contrib_row("RotaryEmbedding", "input:T position_ids:M cos_cache:T sin_cache:T", "output:T",
                  "T = float float16 bfloat16; M = int64",
                  "interleaved:int is_packed_batching:int num_heads:int rotary_embedding_dim:int "
                  "scale:float"),
      contrib_row(
          "SparseAttention",
          "query:T key:T? value:T? past_key:T past_value:T block_row_indices:M block_col_indices:M "
          "total_sequence_length:M key_total_sequence_lengths:M cos_cache:T? sin_cache:T?",
          "output:T present_key:T present_value:T", "T = float float16 bfloat16; M = int32",
          "do_rotary:int kv_num_heads:int! num_heads:int! rotary_interleaved:int scale:float "
          "sparse_block_size:int!"),
      contrib_row(
          "GatedDeltaNet",
          "query:T key:T? value:T? cu_seqlens:TI? decay:TG? beta:TG? initial_state:TS? a_log:TS? "
          "dt_bias:TS? capture_count:TI? state_update_active:TI?",
          "output:T final_state:TS? state_update:TS?",
          "T = float float16 bfloat16; TS = float; TG = float float16 bfloat16; TI = int32",
          "beta_activation:string=none chunk_size:int=64 gate_activation:string=none "
          "gate_lower_bound:float=-5.0 qk_l2_norm:int=0 scale:float=0.0 "
          "state_update_capacity:int=0 "
          "update_rule:string=gated_delta"),
      contrib_row(
          "VarlenCausalConvWithState",
          "input:T weight:T cumulative_sequence_length:M bias:T? initial_state:T capture_count:M? "
          "kernel_delta:T? previous_mask:T?",
          "output:T final_state:T state_update:T?", "T = float float16 bfloat16; M = int32",
          "activation:string=none delta_offset:int=0 dilation:int=1 group_size:int=1 "
          "state_update_capacity:int=0"),
  };
}

}  // namespace tiercel
