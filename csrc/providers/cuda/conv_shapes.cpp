// Where the windows of convolutions lie, as the kernels of conv.cu and conv_bytes.cu take it.
#include "providers/cuda/conv_shapes.h"

#include <algorithm>

#include "base/error.h"

namespace tiercel::cuda {
namespace {

int64_t entry(const std::vector<int64_t>& list, size_t i, int64_t otherwise) {
  return list.empty() ? otherwise : list[i];
}

}  // namespace

ConvWindow::ConvWindow(const Node& node)
    : auto_pad(node.attributes.get_or<std::string>("auto_pad", "NOTSET")),
      transposed(node.op_type == "ConvTranspose"),
      groups(node.attributes.get_or<int64_t>("group", 1)) {
  const auto list = [&](const char* name) {
    const auto* found = node.attributes.get<std::vector<int64_t>>(name);
    return found == nullptr ? std::vector<int64_t>() : *found;
  };
  strides = list("strides");
  dilations = list("dilations");
  pads = list("pads");
  output_padding = list("output_padding");
  output_shape = !list("output_shape").empty();
}

int64_t ConvWindow::stride(size_t i) const { return entry(strides, i, 1); }
int64_t ConvWindow::dilation(size_t i) const { return entry(dilations, i, 1); }

int64_t ConvWindow::before(size_t i, int64_t in, int64_t out, int64_t kernel) const {
  if (auto_pad == "VALID" && !output_shape) return 0;
  const bool upper = auto_pad == "SAME_UPPER";
  const bool fitted = upper || auto_pad == "SAME_LOWER" || (transposed && output_shape);
  if (!fitted) return entry(pads, i, 0);
  const int64_t reach = (kernel - 1) * dilation(i) + 1;
  int64_t total = transposed ? (in - 1) * stride(i) + reach + entry(output_padding, i, 0) - out
                             : (out - 1) * stride(i) + reach - in;
  total = std::max<int64_t>(total, 0);
  return upper ? total / 2 : (total + 1) / 2;
}

int32_t conv_word(int64_t value) {
  if (value < INT32_MIN || value > INT32_MAX) {
    throw_error(ErrorKind::EPFail, "CUDAExecutionProvider: an extent of a convolution is ", value,
                "; at most ", INT32_MAX);
  }
  return static_cast<int32_t>(value);
}

ConvArgs conv_args(const ConvWindow& window, const TclTensor& x, const TclTensor& w,
                   const TclTensor& y) {
  for (const int64_t items : {x.size, y.size}) static_cast<void>(conv_word(items));
  ConvArgs args{};
  args.batch = conv_word(x.dims[0]);
  args.groups = conv_word(window.groups);
  args.channels = conv_word(x.dims[1] / window.groups);
  args.filters = conv_word(y.dims[1] / window.groups);
  const auto spatial = static_cast<size_t>(x.rank) - 2;
  for (size_t i = 0; i < kSpatial; ++i) {
    args.size[i] = args.out[i] = args.kernel[i] = args.stride[i] = args.dilation[i] = 1;
  }
  for (size_t i = 0; i < spatial; ++i) {
    const size_t to = kSpatial - spatial + i;
    const int64_t in = x.dims[i + 2], out = y.dims[i + 2], kernel = w.dims[i + 2];
    args.size[to] = conv_word(in);
    args.out[to] = conv_word(out);
    args.kernel[to] = conv_word(kernel);
    args.stride[to] = conv_word(window.stride(i));
    args.dilation[to] = conv_word(window.dilation(i));
    args.pad[to] = conv_word(window.before(i, in, out, kernel));
  }
  return args;
}

std::optional<std::string> spatial_refused(const Type& x) {
  if (!x.shape) return "its rank is not known";
  if (x.shape->size() < 3 || x.shape->size() > 2 + kSpatial) return "more than three spatial axes";
  return std::nullopt;
}

}  // namespace tiercel::cuda
