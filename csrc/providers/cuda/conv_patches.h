// Which tiles convolutions by tensor cores take, where they run by the kernels of conv_patch.cu.
#pragma once
#include <optional>

#include "providers/cuda/conv_shapes.h"

namespace tiercel::cuda {

constexpr int64_t kPatchBytes = 32;  // of the channels of a place that are in a patch at once

// As in kernels/cuda/conv_patch.cu.
struct PatchArgs {
  ConvArgs c;
  int32_t bits, lines, places;
  int32_t step[kSpatial];
  void* sums;
};

struct PatchPlan {
  PatchArgs args{};
  int64_t filters = 0, points = 0;  // of a tile
  int64_t blocks = 0;
  int64_t parts = 1;  // of the channels, each with sums of its own
};

// The tiles that a GPU of so many multiprocessors is done with first, for items of so many bytes;
// nullopt: no patch fits, or few channels would waste it.
[[nodiscard]] std::optional<PatchPlan> plan_patches(const ConvArgs& c, int64_t item,
                                                    int64_t multiprocessors);

}  // namespace tiercel::cuda
