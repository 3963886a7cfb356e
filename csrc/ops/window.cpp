// The sliding window of convolutions and poolings over spatial axes.
#include "ops/window.h"

namespace tiercel {

std::vector<int64_t> window_list(InferContext& ctx, const char* name, size_t count, int64_t least,
                                 int64_t value) {
  auto list = ctx.attr_ints(name);
  if (!list || list->empty()) return std::vector<int64_t>(count, value);
  if (list->size() != count) {
    ctx.fail(concat(name, " has ", list->size(), " entries; expected ", count));
  }
  for (int64_t v : *list) {
    if (v < least || v > INT32_MAX) ctx.fail(concat(name, " has the entry ", v));
  }
  return *list;
}

Window window(InferContext& ctx, std::vector<Dim> kernel) {
  const size_t spatial = kernel.size();
  Window w;
  w.kernel = std::move(kernel);
  w.strides = window_list(ctx, "strides", spatial, 1, 1);
  w.dilations = window_list(ctx, "dilations", spatial, 1, 1);
  w.auto_pad = ctx.attr_string("auto_pad", "NOTSET");
  w.ceil_mode = ctx.attr_int("ceil_mode") != 0;
  w.pads = window_list(ctx, "pads", 2 * spatial, INT32_MIN, 0);
  if (w.auto_pad == "VALID") w.pads.assign(2 * spatial, 0);
  if (w.auto_pad.empty()) w.auto_pad = "NOTSET";
  if (!w.same_padding() && w.auto_pad != "VALID" && w.auto_pad != "NOTSET") {
    ctx.fail(concat("auto_pad is \"", w.auto_pad,
                    "\"; expected NOTSET, SAME_UPPER, SAME_LOWER or VALID"));
  }
  return w;
}

Dim slid(InferContext& ctx, const Window& w, size_t i, const Dim& in) {
  const Dim stride = w.strides[i];
  if (w.same_padding()) return ceil_div(in, stride);
  const Dim reach = (w.kernel[i] - 1) * w.dilations[i] + 1;
  const int64_t before = w.pads[i], after = w.pads[i + w.kernel.size()];
  const Dim span = in + Dim(before + after) - reach;
  if (span.known() && span.value() < 0) {
    if (in.known() && in.value() == 0) return 0;
    if (w.pools && span.value() > -w.strides[i]) return 1;
    ctx.fail(concat("the window reaches over ", reach.text(), " elements of axis ", i + 2,
                    ", which has ", in.text(), " and a padding of ", before, " and ", after));
  }
  if (!w.ceil_mode) return floor_div(span, stride) + 1;
  const Dim out = ceil_div(span, stride) + 1;
  // Whether the last window starts in the end padding can be told of a symbol only when none can.
  const bool reaches_back = reach.known() && reach.value() >= after + w.strides[i];
  if (!out.known() && !reaches_back) return {};
  // A window that starts in the end padding is dropped.
  if (out.known() && (out.value() - 1) * w.strides[i] >= in.value() + before) return out - 1;
  return out;
}

std::vector<Dim> kernel_of(InferContext& ctx, size_t spatial, int weight) {
  std::vector<Dim> kernel(spatial);
  if (const auto listed = ctx.attr_ints("kernel_shape"); listed && !listed->empty()) {
    if (listed->size() != spatial) {
      ctx.fail(concat("kernel_shape has ", listed->size(), " entries; the input has ", spatial,
                      " spatial axes"));
    }
    for (int64_t k : *listed) {
      if (k < 1 || k > INT32_MAX) ctx.fail(concat("kernel_shape has the entry ", k));
    }
    kernel.assign(listed->begin(), listed->end());
  }
  if (weight < 0 || !ctx.has_shape(weight)) return kernel;
  const Shape& w = *ctx.shape(weight);
  for (size_t i = 0; i < spatial; ++i) {
    const Dim& extent = w[i + 2];
    if (kernel[i].known() && extent.known() && !kernel[i].same(extent)) {
      ctx.fail(concat("kernel_shape has ", kernel[i].value(), ", the weight ", extent.value(),
                      " on spatial axis ", i));
    }
    if (!extent.unknown()) kernel[i] = extent;
  }
  return kernel;
}

}  // namespace tiercel
