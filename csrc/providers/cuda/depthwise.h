// How convolutions of single channels are cut, where they run by the kernels of depthwise.cu.
#pragma once
#include <optional>

#include "providers/cuda/conv_shapes.h"

namespace tiercel::cuda {

// As in kernels/cuda/depthwise.cu.
struct DepthwiseArgs {
  ConvArgs c;
  int32_t planes, lines, bands;
};

struct DepthwisePlan {
  DepthwiseArgs args{};
  int64_t blocks = 0;
};

// For a GPU of so many multiprocessors; nullopt: the windows are not those of a kernel, or their
// lines too long.
[[nodiscard]] std::optional<DepthwisePlan> plan_depthwise(const ConvArgs& c,
                                                          int64_t multiprocessors);

}  // namespace tiercel::cuda
