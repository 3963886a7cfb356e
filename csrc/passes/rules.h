// The families of pattern rules.
#pragma once
#include <vector>

#include "passes/pattern.h"

namespace tiercel::passes {

[[nodiscard]] std::vector<pattern::Rule> activation_rules();  // Gelu, HardSwish, Mish
[[nodiscard]] std::vector<pattern::Rule> norm_rules();  // LayerNormalization, RMSNormalization

// The body of an If whose condition is known takes the place of the node.
bool inline_branch(Graph& graph, NodeId id);

// Softmax(Q Kᵀ · scale + mask) V becomes Attention.
bool fuse_attention(Graph& graph);
// Attention between transposes that split and join heads takes [batch, sequence, heads * size]
// directly.
bool fuse_attention_heads(Graph& graph);

}  // namespace tiercel::passes
