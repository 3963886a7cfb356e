// The sliding window of convolutions and poolings over spatial axes.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "ops/op_def.h"

namespace tiercel {

// The sliding window of a node over its spatial axes, with defaults filled in and lengths checked.
struct Window {
  std::vector<Dim> kernel;
  std::vector<int64_t> strides, dilations, pads;
  std::string auto_pad;
  bool ceil_mode = false;
  // A pooling window may be larger than the padded axis by less than a stride: it is cut.
  bool pools = false;

  [[nodiscard]] bool same_padding() const {
    return auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER";
  }
};

// A list attribute with one entry per spatial axis (or `value` for each), every entry at least
// `least`.
[[nodiscard]] std::vector<int64_t> window_list(InferContext& ctx, const char* name, size_t count,
                                               int64_t least, int64_t value);
// The window of a node whose extents are `kernel`.
[[nodiscard]] Window window(InferContext& ctx, std::vector<Dim> kernel);
// Extent of the output of a window along spatial axis i.
[[nodiscard]] Dim slid(InferContext& ctx, const Window& w, size_t i, const Dim& in);
// Extents of the window: kernel_shape, and those of input `weight` (none: -1), which must agree.
[[nodiscard]] std::vector<Dim> kernel_of(InferContext& ctx, size_t spatial, int weight);

}  // namespace tiercel
