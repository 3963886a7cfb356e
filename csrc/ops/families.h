// The operator families: one list each, in the file of the same name.
#pragma once
#include "ops/op_def.h"

namespace tiercel {

OpList attention_ops();
OpList blocked_ops();
OpList concat_split_pad_ops();
OpList control_flow_ops();
OpList contrib_ops();
OpList contrib_quantized_ops();
OpList conv_pool_ops();
OpList elementwise_ops();
OpList gather_scatter_ops();
OpList generate_ops();
OpList image_ops();
OpList internal_ops();
OpList logic_ops();
OpList matmul_ops();
OpList ml_internal_ops();
OpList ml_ops();
OpList norm_ops();
OpList optimizer_ops();
OpList quantize_ops();
OpList random_ops();
OpList rearrange_ops();
OpList reduce_ops();
OpList resize_ops();
OpList rnn_internal_ops();
OpList rnn_ops();
OpList sequence_ops();
OpList signal_ops();
OpList softmax_ops();
OpList sort_select_ops();
OpList string_ops();

}  // namespace tiercel
