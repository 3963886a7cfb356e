// The operators of com.microsoft: their definitions are rows of text, a file per family.
#pragma once
#include "ops/op_def.h"

namespace tiercel {

OpList contrib_attention_ops();
OpList contrib_layout_ops();
OpList contrib_matrix_ops();
OpList contrib_norm_ops();
OpList contrib_tensor_ops();

// Output types from the type parameters, for operators that become others when a model is loaded:
// an output has the element type of the first input of its parameter, or the only one admitted.
void contrib_types(InferContext&);

// An operator whose parameters are words, "name:type" with ? for optional, * for variadic and +
// for variadic of mixed types; type parameters "T = float double; M = int32"; and attributes
// "name:kind" with ! for required or =default.
[[nodiscard]] OpDef contrib_row(std::string_view name, std::string_view inputs,
                                std::string_view outputs, std::string_view types,
                                std::string_view attributes = "", ShapeFn shape = contrib_types,
                                uint32_t facts = 0);

}  // namespace tiercel
