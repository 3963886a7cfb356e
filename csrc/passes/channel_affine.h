// Folds y * scale + shift per output channel into the constant weights of the linear node that
// makes y.
#pragma once
#include <optional>
#include <vector>

#include "ir/graph.h"

namespace tiercel::passes {

// Per-channel factors and terms; an empty list leaves that part out.
struct ChannelAffine {
  std::vector<double> scale;
  std::vector<double> shift;
};

// Channels of the output of Conv, ConvTranspose or Gemm with constant weights; nullopt when nothing
// can be folded there.
[[nodiscard]] std::optional<int64_t> foldable_channels(const Graph& graph, const Node& node);

// The node gets new weights and bias; its output is then the scaled and shifted one.
void fold_affine(Graph& graph, NodeId id, const ChannelAffine& affine);

// A constant that has one element per channel (axis 1 of rank `rank`) or one for all; nullopt
// otherwise.
[[nodiscard]] std::optional<std::vector<double>> per_channel(const Graph& graph, ValueId id,
                                                             int64_t rank, int64_t channels);

}  // namespace tiercel::passes
