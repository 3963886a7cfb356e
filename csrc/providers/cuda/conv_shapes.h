// Where the windows of convolutions lie, as the kernels of conv.cu and conv_bytes.cu take it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "tiercel/kernel.h"

namespace tiercel::cuda {

constexpr size_t kSpatial = 3;

// As in kernels/cuda/conv.cuh.
struct ConvArgs {
  int32_t batch, groups, channels, filters;
  int32_t size[kSpatial], out[kSpatial], kernel[kSpatial];
  int32_t stride[kSpatial], dilation[kSpatial], pad[kSpatial];

  [[nodiscard]] int64_t points() const { return int64_t{out[0]} * out[1] * out[2]; }
  [[nodiscard]] int64_t volume() const { return int64_t{kernel[0]} * kernel[1] * kernel[2]; }
  // Items of one plane of the image.
  [[nodiscard]] int64_t plane() const { return int64_t{size[0]} * size[1] * size[2]; }
};

// The attributes of a node, which say where windows lie.
struct ConvWindow {
  std::vector<int64_t> strides, dilations, pads, output_padding;
  std::string auto_pad;
  bool output_shape = false, transposed = false;
  int64_t groups = 1;

  explicit ConvWindow(const Node& node);
  [[nodiscard]] int64_t stride(size_t i) const;
  [[nodiscard]] int64_t dilation(size_t i) const;
  // The padding before spatial axis i.
  [[nodiscard]] int64_t before(size_t i, int64_t in, int64_t out, int64_t kernel) const;
};

// Throws Error(EPFail) where a number is too large for 32 bits.
[[nodiscard]] int32_t conv_word(int64_t value);
// Extents of one to three axes.
[[nodiscard]] ConvArgs conv_args(const ConvWindow& window, const TclTensor& x, const TclTensor& w,
                                 const TclTensor& y);
// nullopt: the rank of x is known, and has axes for such a convolution.
[[nodiscard]] std::optional<std::string> spatial_refused(const Type& x);

}  // namespace tiercel::cuda
