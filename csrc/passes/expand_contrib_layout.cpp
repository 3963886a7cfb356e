// Convolutions and pooling of com.microsoft, channels last or fused, and its image operators.
#include "passes/activate.h"

namespace tiercel {
namespace {

bool fused_conv(Graph& graph, NodeId id) {
  Composer e(graph, id);
  std::vector<ValueId> inputs = {e.input(0), e.input(1)};
  if (e.has(2)) inputs.push_back(e.input(2));
  const ValueId y =
      e.op("Conv", std::move(inputs), e.attributes_but({"activation", "activation_params"}));
  return e.finish({activated_by_params(e, e.sum(y, e.input(3)))});
}

bool nhwc_conv(Graph& graph, NodeId id) {
  Composer e(graph, id);
  std::vector<ValueId> inputs = {e.channels_first(e.input(0)), e.input(1)};
  if (e.has(2)) inputs.push_back(e.input(2));
  ValueId y =
      e.op("Conv", std::move(inputs), e.attributes_but({"activation", "activation_params"}));
  if (e.has(3)) y = e.add(y, e.channels_first(e.input(3)));
  return e.finish({e.channels_last(activated_by_params(e, y))});
}

bool nhwc_max_pool(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const ValueId y = e.op("MaxPool", {e.channels_first(e.input(0))}, e.node().attributes);
  return e.finish({e.channels_last(y)});
}

bool q_linear_conv(Graph& graph, NodeId id) {
  Composer e(graph, id);
  std::vector<ValueId> inputs = e.node().inputs;
  if (!e.flag("channels_last")) {
    return e.finish({e.op("QLinearConv", std::move(inputs), e.attributes_but({"channels_last"}))});
  }
  inputs[0] = e.channels_first(inputs[0]);
  const ValueId y = e.op("QLinearConv", std::move(inputs), e.attributes_but({"channels_last"}));
  return e.finish({e.channels_last(y)});
}

// Whatever the pads, the result without them is cut at both ends of each spatial axis.
bool conv_transpose_with_pads(Graph& graph, NodeId id) {
  Composer e(graph, id);
  std::vector<ValueId> inputs = {e.input(0), e.input(1)};
  if (e.has(3)) inputs.push_back(e.input(3));
  const ValueId y = e.op("ConvTranspose", std::move(inputs), e.node().attributes);
  if (!e.has(2)) return e.finish({y});
  const int64_t spatial = e.rank(y, "X") - 2;
  std::vector<int64_t> axes;
  for (int64_t i = 0; i < spatial; ++i) axes.push_back(i + 2);
  const ValueId begin = e.slice(e.input(2), 0, 0, spatial);
  const ValueId extents = e.op("Shape", {y}, with("start", int64_t{2}));
  const ValueId end = e.sub(extents, e.slice(e.input(2), 0, spatial, 2 * spatial));
  return e.finish({e.op("Slice", {y, begin, end, e.ints(axes)})});
}

bool grid_sample(Graph& graph, NodeId id) {
  Composer e(graph, id);
  e.expect_text("mode", {"bilinear", "nearest", "bicubic"});
  Attributes attributes = e.node().attributes;
  const std::string mode = e.text("mode");
  attributes.set("mode", std::string(mode == "bilinear"  ? "linear"
                                     : mode == "bicubic" ? "cubic"
                                                         : "nearest"));
  return e.finish({e.op("GridSample", {e.input(0), e.input(1)}, std::move(attributes))});
}

bool pad(Graph& graph, NodeId id) {
  Composer e(graph, id);
  std::vector<ValueId> inputs = {e.input(0), e.flat(e.input(1))};
  if (e.has(2)) inputs.push_back(e.scalar_of(e.input(2)));
  return e.finish({e.op("Pad", std::move(inputs), e.node().attributes)});
}

// Where along one side of the image the crops are sampled, in pixels: [rois, size].
ValueId crop_positions(Composer& e, int64_t axis, ValueId pixels) {
  const ValueId low = e.slice(e.input(1), 1, axis, axis + 1);
  const ValueId high = e.slice(e.input(1), 1, axis + 2, axis + 3);
  const ValueId size = e.cast(e.slice(e.input(3), 0, axis, axis + 1), DType::Int64);
  const DType dtype = e.dtype(e.input(0));
  const ValueId one = e.number(dtype, 1), last = e.sub(pixels, one);
  const ValueId steps = e.sub(e.cast(size, dtype), one);
  const ValueId single = e.op("Equal", {size, e.ints({1})});
  const ValueId span = e.mul(e.sub(high, low), last);
  const ValueId step = e.div(span, e.op("Max", {steps, one}));
  const ValueId many = e.add(e.mul(low, last), e.mul(e.cast(e.range(size), dtype), step));
  const ValueId middle = e.mul(e.scaled(e.add(low, high), 0.5), last);
  return e.where(single, middle, many);
}

// Pixels as the coordinates of GridSample with aligned corners: -1 to 1.
ValueId as_grid(Composer& e, ValueId positions, ValueId pixels) {
  const DType dtype = e.dtype(positions);
  const ValueId last = e.op("Max", {e.sub(pixels, e.number(dtype, 1)), e.number(dtype, 1)});
  return e.shifted(e.div(e.scaled(positions, 2), last), -1);
}

ValueId within(Composer& e, ValueId positions, ValueId pixels) {
  const DType dtype = e.dtype(positions);
  const ValueId last = e.sub(pixels, e.number(dtype, 1));
  return e.op("And", {e.op("GreaterOrEqual", {positions, e.number(dtype, 0)}),
                      e.op("LessOrEqual", {positions, last})});
}

bool crop_and_resize(Graph& graph, NodeId id) {
  Composer e(graph, id);
  e.expect_text("mode", {"bilinear", "nearest"});
  const ValueId x = e.input(0);
  const DType dtype = e.dtype(x);
  const ValueId height = e.cast(e.extent(x, 2), dtype), width = e.cast(e.extent(x, 3), dtype);
  ValueId rows = crop_positions(e, 0, height), columns = crop_positions(e, 1, width);
  const ValueId inside = e.op("And", {e.unsqueeze(within(e, rows, height), {2}),
                                      e.unsqueeze(within(e, columns, width), {1})});
  const bool nearest = e.text("mode") == "nearest";
  if (nearest) {  // halves go up
    rows = e.op("Floor", {e.shifted(rows, 0.5)});
    columns = e.op("Floor", {e.shifted(columns, 0.5)});
  }
  const ValueId y = e.unsqueeze(as_grid(e, rows, height), {2, 3});
  const ValueId across = e.unsqueeze(as_grid(e, columns, width), {1, 3});
  const ValueId zeros = e.scaled(e.add(y, across), 0);
  const ValueId grid = e.concat_of({e.add(zeros, across), e.add(zeros, y)}, 3);
  Attributes attributes = with("align_corners", int64_t{1});
  attributes.set("mode", std::string(nearest ? "nearest" : "linear"));
  attributes.set("padding_mode", std::string("border"));
  const ValueId images = e.gather(x, e.input(2), 0);
  const ValueId crops = e.op("GridSample", {images, grid}, std::move(attributes));
  const ValueId outside = e.number(dtype, e.real("extrapolation_value"));
  return e.finish({e.where(e.unsqueeze(inside, {1}), crops, outside)});
}

constexpr Expansion kLayout[] = {
    {"com.microsoft", "FusedConv", fused_conv},
    {"com.microsoft", "NhwcConv", nhwc_conv},
    {"com.microsoft", "NhwcFusedConv", nhwc_conv},
    {"com.microsoft", "NhwcMaxPool", nhwc_max_pool},
    {"com.microsoft", "QLinearConv", q_linear_conv},
    {"com.microsoft", "ConvTransposeWithDynamicPads", conv_transpose_with_pads},
    {"com.microsoft", "GridSample", grid_sample},
    {"com.microsoft", "Pad", pad},
    {"com.microsoft", "CropAndResize", crop_and_resize},
};

}  // namespace

std::span<const Expansion> contrib_layout_expansions() { return kLayout; }

}  // namespace tiercel
