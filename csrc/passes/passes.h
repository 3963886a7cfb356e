// Every pass of the pipeline: graph to better graph, true when it changed something.
#pragma once
#include "passes/pass.h"

namespace tiercel::passes {

bool infer(Graph& graph, PassContext& context);  // types, shapes and known elements
bool expand(Graph& graph,
            PassContext& context);  // operators made of others become the nodes that they mean
bool fold(Graph& graph, PassContext& context);  // constant folding
bool cse(Graph& graph, PassContext& context);   // equal nodes and equal small constants become one
bool dce(Graph& graph, PassContext& context);   // nodes and values that nothing uses
bool simplify(Graph& graph,
              PassContext& context);  // nodes that do nothing, chains that one node does
bool fuse_batch_norm(Graph& graph,
                     PassContext& context);  // into Conv, ConvTranspose, Gemm, or Mul and Add
// Pad into the pads of convolutions and pools.
bool fuse_pad(Graph& graph, PassContext& context);
bool fuse_patterns(Graph& graph,
                   PassContext& context);  // rules: Gelu, LayerNormalization, Attention …
// Quantising and dequantising at once becomes rounding, elementwise.
bool fuse_quantize_conv(Graph& graph, PassContext& context);
bool fuse_quantize_matmul(Graph& graph, PassContext& context);
bool fuse_quantize(Graph& graph, PassContext& context);
// Single nodes by cheaper ones: Pow by multiplying, transposed convolution without overlap.
bool lower(Graph& graph, PassContext& context);
// Nodes of floats between conversions from and to 16 bits, as nodes of 16 bits.
bool narrow(Graph& graph, PassContext& context);
// Transposes into the matrix products that read the result.
bool fuse_transpose(Graph& graph, PassContext& context);
// Leave for kernels to multiply in fewer bits.
bool allow_bfloat16(Graph& graph, PassContext& context);
// Convolutions and what lies between them in blocks of channels.
bool layout(Graph& graph, PassContext& context);
bool fuse_pointwise(Graph& graph,
                    PassContext& context);  // elementwise DAGs as one node or as epilogue
// Sums of 16-bit floats that add up from node to node, as floats between programs.
bool widen(Graph& graph, PassContext& context);

}  // namespace tiercel::passes
