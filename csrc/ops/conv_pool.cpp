// Operators that slide windows over spatial axes: convolutions and poolings.
#include <algorithm>

#include "ops/infer_values.h"
#include "ops/window.h"

namespace tiercel {
namespace {

int64_t group_of(InferContext& ctx) {
  const int64_t group = ctx.attr_int("group", 1);
  if (group < 1) ctx.fail(concat("group is ", group, "; expected 1 or more"));
  return group;
}

void expect_weight(InferContext& ctx, int weight, size_t rank, int64_t group, const Dim& channels) {
  const Shape& w = *ctx.shape(weight);
  if (w.size() != rank) {
    ctx.fail(concat("weight has rank ", w.size(), ", input has rank ", rank));
  }
  if (w[1].known() && channels.known() && w[1].value() * group != channels.value()) {
    ctx.fail(concat("weight has ", w[1].value(), " input channels per group and group is ", group,
                    ", input has ", channels.value(), " channels"));
  }
  if (w[0].known() && w[0].value() % group != 0) {
    ctx.fail(
        concat("weight has ", w[0].value(), " output channels, not a multiple of group ", group));
  }
}

// Y of a convolution of X (input 0) with the weight at `weight`.
void convolve(InferContext& ctx, int weight, int bias, DType dtype) {
  if (!ctx.has_shape(0)) {
    return ctx.set(
        0, dtype,
        ctx.has_shape(weight) ? std::optional(Shape(ctx.shape(weight)->size())) : std::nullopt);
  }
  const Shape in = *ctx.shape(0);
  if (in.size() < 3) ctx.fail(concat("input has rank ", in.size(), "; expected 3 or more"));
  const int64_t group = group_of(ctx);
  Shape out(in.size());
  out[0] = in[0];
  if (ctx.has_shape(weight)) {
    expect_weight(ctx, weight, in.size(), group, in[1]);
    out[1] = ctx.shape(weight)->front();
  }
  if (bias >= 0 && ctx.has_input(bias)) {
    const auto length = list_length(ctx, bias);
    if (length && out[1].known() && *length != out[1].value()) {
      ctx.fail(concat("bias has ", *length, " entries for ", out[1].value(), " channels"));
    }
  }
  const Window w = window(ctx, kernel_of(ctx, in.size() - 2, weight));
  for (size_t i = 0; i + 2 < in.size(); ++i) out[i + 2] = slid(ctx, w, i, in[i + 2]);
  ctx.set(0, dtype, out);
}

void conv(InferContext& ctx) { convolve(ctx, 1, 2, ctx.dtype(0)); }

// A quantisation parameter is one number, or one for each output channel of the weight.
void expect_per_channel(InferContext& ctx, int input, int weight, const char* name) {
  if (!ctx.has_shape(input) || !ctx.has_shape(weight)) return;
  const Dim count = product(*ctx.shape(input)), channels = ctx.shape(weight)->front();
  if (!count.known() || count.value() == 1) return;
  if (channels.known() && !count.same(channels)) {
    ctx.fail(concat(name, " has ", count.value(), " elements; expected one, or one for each of ",
                    channels.text(), " output channels"));
  }
}

void expect_one(InferContext& ctx, int input, const char* name) {
  if (!ctx.has_shape(input)) return;
  const Dim count = product(*ctx.shape(input));
  if (count.known() && count.value() != 1) {
    ctx.fail(concat(name, " has ", count.value(), " elements; expected one"));
  }
}

void conv_integer(InferContext& ctx) {
  convolve(ctx, 1, -1, DType::Int32);
  expect_one(ctx, 2, "x_zero_point");
  expect_per_channel(ctx, 3, 1, "w_zero_point");
}

void q_linear_conv(InferContext& ctx) {
  convolve(ctx, 3, 8, ctx.dtype(7));
  expect_one(ctx, 1, "x_scale");
  expect_one(ctx, 2, "x_zero_point");
  expect_per_channel(ctx, 4, 3, "w_scale");
  expect_per_channel(ctx, 5, 3, "w_zero_point");
  expect_one(ctx, 6, "y_scale");
  expect_one(ctx, 7, "y_zero_point");
}

// [batch, channels, output positions ...], where they are known.
void expect_maps(InferContext& ctx, int input, const char* name, const Shape& want) {
  if (!ctx.has_shape(input)) return;
  const Shape& got = *ctx.shape(input);
  bool agrees = got.size() == want.size();
  for (size_t i = 0; agrees && i < got.size(); ++i) {
    agrees = !got[i].known() || !want[i].known() || got[i].same(want[i]);
  }
  if (!agrees) {
    ctx.fail(concat(name, " has shape ", shape_text(got), "; expected ", shape_text(want)));
  }
}

void deform_conv(InferContext& ctx) {
  convolve(ctx, 1, 3, ctx.dtype(0));
  if (!ctx.has_shape(0) || !ctx.has_shape(1)) return;
  const Shape in = *ctx.shape(0);
  const int64_t groups = ctx.attr_int("offset_group", 1);
  if (groups < 1 || (in[1].known() && in[1].value() % groups != 0)) {
    ctx.fail(concat("offset_group is ", groups, "; expected a divisor of ", in[1].text()));
  }
  const Window w = window(ctx, kernel_of(ctx, in.size() - 2, 1));
  const Dim taps = product(w.kernel) * groups;
  Shape want{in[0], taps};
  for (size_t i = 0; i + 2 < in.size(); ++i) want.push_back(slid(ctx, w, i, in[i + 2]));
  expect_maps(ctx, 4, "mask", want);
  want[1] = taps * (static_cast<int64_t>(in.size()) - 2);
  expect_maps(ctx, 2, "offset", want);
}

void conv_transpose(InferContext& ctx) {
  const DType dtype = ctx.dtype(0);
  if (!ctx.has_shape(0)) return ctx.set(0, dtype);
  const Shape in = *ctx.shape(0);
  if (in.size() < 3) ctx.fail(concat("input has rank ", in.size(), "; expected 3 or more"));
  const size_t spatial = in.size() - 2;
  Shape out(in.size());
  out[0] = in[0];
  if (ctx.has_shape(1)) {
    const Shape& weight = *ctx.shape(1);
    if (weight.size() != in.size()) {
      ctx.fail(concat("weight has rank ", weight.size(), ", input has rank ", in.size()));
    }
    if (weight[0].known() && in[1].known() && !weight[0].same(in[1])) {
      ctx.fail(
          concat("weight has ", weight[0].value(), " input channels, input has ", in[1].value()));
    }
    const int64_t group = group_of(ctx);
    if (in[1].known() && in[1].value() % group != 0) {
      ctx.fail(concat(in[1].value(), " channels are not a multiple of group ", group));
    }
    out[1] = weight[1] * group;
    const auto bias = ctx.has_input(2) ? list_length(ctx, 2) : std::nullopt;
    if (bias && out[1].known() && *bias != out[1].value()) {
      ctx.fail(concat("bias has ", *bias, " entries for ", out[1].value(), " channels"));
    }
  }
  const Window w = window(ctx, kernel_of(ctx, spatial, 1));
  const auto extra = window_list(ctx, "output_padding", spatial, 0, 0);
  auto shape = ctx.attr_ints("output_shape");
  if (shape && shape->size() == in.size()) shape->erase(shape->begin(), shape->begin() + 2);
  if (shape && !shape->empty() && shape->size() != spatial) {
    ctx.fail(concat("output_shape has ", shape->size(), " entries; expected ", spatial));
  }
  for (size_t i = 0; i < spatial; ++i) {
    const Dim &x = in[i + 2], stride = w.strides[i];
    Dim& y = out[i + 2];
    if (shape && !shape->empty()) {
      y = (*shape)[i];
    } else if (w.same_padding()) {
      y = x * stride;
    } else {
      const Dim reach = (w.kernel[i] - 1) * w.dilations[i] + 1;
      y = (x - 1) * stride + reach + Dim(extra[i] - w.pads[i] - w.pads[i + spatial]);
    }
    if (y.known() && y.value() < 0) ctx.fail(concat("axis ", i + 2, " would get ", y.value()));
  }
  ctx.set(0, dtype, out);
}

void pool(InferContext& ctx) {
  const DType dtype = ctx.dtype(0);
  std::optional<Shape> out;
  if (ctx.has_shape(0)) {
    const Shape in = *ctx.shape(0);
    if (in.size() < 3) ctx.fail(concat("input has rank ", in.size(), "; expected 3 or more"));
    Window w = window(ctx, kernel_of(ctx, in.size() - 2, -1));
    w.pools = true;
    out = Shape{in[0], in[1]};
    for (size_t i = 0; i + 2 < in.size(); ++i) out->push_back(slid(ctx, w, i, in[i + 2]));
  } else if (const auto kernel = ctx.attr_ints("kernel_shape")) {
    out = Shape(kernel->size() + 2);
  }
  if (ctx.has_output(0)) ctx.set(0, dtype, out);
  if (ctx.has_output(1)) ctx.set(1, DType::Int64, out);
}

void global_pool(InferContext& ctx) {
  if (!ctx.has_shape(0)) return set_like_first(ctx, std::nullopt);
  Shape out = *ctx.shape(0);
  if (out.size() < 3) ctx.fail(concat("input has rank ", out.size(), "; expected 3 or more"));
  std::fill(out.begin() + 2, out.end(), Dim(1));
  set_like_first(ctx, out);
}

void max_unpool(InferContext& ctx) {
  if (!ctx.has_shape(0)) return set_like_first(ctx, std::nullopt);
  Shape out = *ctx.shape(0);
  if (out.size() < 3) ctx.fail(concat("input has rank ", out.size(), "; expected 3 or more"));
  expect_maps(ctx, 1, "I", out);
  if (ctx.has_input(2)) {
    const auto target = ctx.elements(2);
    if (target && target->size() != out.size()) {
      ctx.fail(concat("output_shape has ", target->size(), " entries; expected ", out.size()));
    }
    return set_like_first(ctx, target ? Shape(*target) : Shape(out.size()));
  }
  const size_t spatial = out.size() - 2;
  const Window w = window(ctx, kernel_of(ctx, spatial, -1));
  for (size_t i = 0; i < spatial; ++i) {
    Dim& y = out[i + 2];
    y = (y - 1) * w.strides[i] + w.kernel[i] - Dim(w.pads[i] + w.pads[i + spatial]);
    if (y.known() && y.value() < 0) ctx.fail(concat("axis ", i + 2, " would get ", y.value()));
  }
  set_like_first(ctx, out);
}

void col2_im(InferContext& ctx) {
  const auto image = ctx.elements(1);
  const auto block = ctx.elements(2);
  if (!image) {
    const auto spatial = list_length(ctx, 1);
    if (!spatial) return set_like_first(ctx, std::nullopt);
    return set_like_first(ctx, Shape(static_cast<size_t>(*spatial) + 2));
  }
  Shape out(2);
  if (ctx.has_shape(0)) {
    const Shape& in = *ctx.shape(0);
    if (in.size() != 3) ctx.fail(concat("input has rank ", in.size(), "; expected 3"));
    out[0] = in[0];
    if (block) {
      const Dim taps = product(*block);
      if (taps.known() &&
          (taps.value() < 1 || (in[1].known() && in[1].value() % taps.value() != 0))) {
        ctx.fail(
            concat("axis 1 of ", in[1].text(), " is not a multiple of a block of ", taps.text()));
      }
      out[1] = floor_div(in[1], taps);
    }
  }
  if (block && block->size() != image->size()) {
    ctx.fail(concat("block_shape has ", block->size(), " entries, image_shape ", image->size()));
  }
  out.insert(out.end(), image->begin(), image->end());
  set_like_first(ctx, out);
  if (!block || !ctx.has_shape(0)) return;
  const Window w = window(ctx, *block);
  Dim blocks = 1;
  for (size_t i = 0; i < image->size(); ++i) blocks = blocks * slid(ctx, w, i, (*image)[i]);
  const Dim& got = ctx.shape(0)->back();
  if (blocks.known() && got.known() && !blocks.same(got)) {
    ctx.fail(concat("input has ", got.value(), " blocks, image and window give ", blocks.value()));
  }
}

}  // namespace

OpList conv_pool_ops() {
  return {
      {.name = "Conv",
       .since = 22,
       .inputs = {{"X", "T"}, {"W", "T"}, {"B", "T", Param::Optional}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", kFloats}},
       .attributes = {{"group", AttrDef::Int, false, int64_t{1}},
                      {"pads", AttrDef::Ints},
                      {"auto_pad", AttrDef::String, false, std::string("NOTSET")},
                      {"strides", AttrDef::Ints},
                      {"dilations", AttrDef::Ints},
                      {"kernel_shape", AttrDef::Ints}},
       .shape = conv},
      {.name = "ConvTranspose",
       .since = 22,
       .inputs = {{"X", "T"}, {"W", "T"}, {"B", "T", Param::Optional}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", kFloats}},
       .attributes = {{"group", AttrDef::Int, false, int64_t{1}},
                      {"auto_pad", AttrDef::String, false, std::string("NOTSET")},
                      {"strides", AttrDef::Ints},
                      {"pads", AttrDef::Ints},
                      {"output_padding", AttrDef::Ints},
                      {"dilations", AttrDef::Ints},
                      {"output_shape", AttrDef::Ints},
                      {"kernel_shape", AttrDef::Ints}},
       .shape = conv_transpose},
      {.name = "ConvInteger",
       .since = 10,
       .inputs = {{"x", "T1"},
                  {"w", "T2"},
                  {"x_zero_point", "T1", Param::Optional},
                  {"w_zero_point", "T2", Param::Optional}},
       .outputs = {{"y", "T3"}},
       .types = {{"T1", "int8 uint8"}, {"T2", "int8 uint8"}, {"T3", "int32"}},
       .attributes = {{"group", AttrDef::Int, false, int64_t{1}},
                      {"pads", AttrDef::Ints},
                      {"strides", AttrDef::Ints},
                      {"dilations", AttrDef::Ints},
                      {"kernel_shape", AttrDef::Ints},
                      {"auto_pad", AttrDef::String, false, std::string("NOTSET")}},
       .shape = conv_integer},
      {.name = "QLinearConv",
       .since = 10,
       .inputs = {{"x", "T1"},
                  {"x_scale", "tensor(float)"},
                  {"x_zero_point", "T1"},
                  {"w", "T2"},
                  {"w_scale", "tensor(float)"},
                  {"w_zero_point", "T2"},
                  {"y_scale", "tensor(float)"},
                  {"y_zero_point", "T3"},
                  {"B", "T4", Param::Optional}},
       .outputs = {{"y", "T3"}},
       .types = {{"T1", "int8 uint8"}, {"T2", "int8 uint8"}, {"T3", "int8 uint8"}, {"T4", "int32"}},
       .attributes = {{"group", AttrDef::Int, false, int64_t{1}},
                      {"pads", AttrDef::Ints},
                      {"strides", AttrDef::Ints},
                      {"dilations", AttrDef::Ints},
                      {"kernel_shape", AttrDef::Ints},
                      {"auto_pad", AttrDef::String, false, std::string("NOTSET")}},
       .shape = q_linear_conv},
      {.name = "DeformConv",
       .since = 22,
       .inputs = {{"X", "T"},
                  {"W", "T"},
                  {"offset", "T"},
                  {"B", "T", Param::Optional},
                  {"mask", "T", Param::Optional}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", kFloats}},
       .attributes = {{"strides", AttrDef::Ints},
                      {"pads", AttrDef::Ints},
                      {"offset_group", AttrDef::Int, false, int64_t{1}},
                      {"kernel_shape", AttrDef::Ints},
                      {"group", AttrDef::Int, false, int64_t{1}},
                      {"dilations", AttrDef::Ints}},
       .shape = deform_conv},
      {.name = "MaxPool",
       .since = 22,
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "T"}, {"Indices", "I", Param::Optional}},
       .types = {{"T", "float double float16 bfloat16 int8 uint8"}, {"I", "int64"}},
       .attributes = {{"storage_order", AttrDef::Int, false, int64_t{0}},
                      {"dilations", AttrDef::Ints},
                      {"ceil_mode", AttrDef::Int, false, int64_t{0}},
                      {"pads", AttrDef::Ints},
                      {"auto_pad", AttrDef::String, false, std::string("NOTSET")},
                      {"strides", AttrDef::Ints},
                      {"kernel_shape", AttrDef::Ints, true}},
       .shape = pool},
      {.name = "AveragePool",
       .since = 22,
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", kFloats}},
       .attributes = {{"count_include_pad", AttrDef::Int, false, int64_t{0}},
                      {"dilations", AttrDef::Ints},
                      {"ceil_mode", AttrDef::Int, false, int64_t{0}},
                      {"pads", AttrDef::Ints},
                      {"auto_pad", AttrDef::String, false, std::string("NOTSET")},
                      {"strides", AttrDef::Ints},
                      {"kernel_shape", AttrDef::Ints, true}},
       .shape = pool},
      {.name = "LpPool",
       .since = 22,
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", kFloats}},
       .attributes = {{"p", AttrDef::Int, false, int64_t{2}},
                      {"pads", AttrDef::Ints},
                      {"auto_pad", AttrDef::String, false, std::string("NOTSET")},
                      {"ceil_mode", AttrDef::Int, false, int64_t{0}},
                      {"dilations", AttrDef::Ints},
                      {"strides", AttrDef::Ints},
                      {"kernel_shape", AttrDef::Ints, true}},
       .shape = pool},
      {.name = "GlobalAveragePool",
       .since = 22,
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", kFloats}},
       .shape = global_pool},
      {.name = "GlobalMaxPool",
       .since = 22,
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", kFloats}},
       .shape = global_pool},
      {.name = "GlobalLpPool",
       .since = 22,
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", kFloats}},
       .attributes = {{"p", AttrDef::Int, false, int64_t{2}}},
       .shape = global_pool},
      {.name = "MaxUnpool",
       .since = 22,
       .inputs = {{"X", "T1"}, {"I", "T2"}, {"output_shape", "T2", Param::Optional}},
       .outputs = {{"output", "T1"}},
       .types = {{"T1", kFloats}, {"T2", "int64"}},
       .attributes = {{"pads", AttrDef::Ints},
                      {"strides", AttrDef::Ints},
                      {"kernel_shape", AttrDef::Ints, true}},
       .shape = max_unpool,
       .value_inputs = {2}},
      {.name = "Col2Im",
       .since = 18,
       .inputs = {{"input", "T"},
                  {"image_shape", "tensor(int64)"},
                  {"block_shape", "tensor(int64)"}},
       .outputs = {{"output", "T"}},
       .types = {{"T", kStandardTensors}},
       .attributes = {{"strides", AttrDef::Ints},
                      {"pads", AttrDef::Ints},
                      {"dilations", AttrDef::Ints}},
       .shape = col2_im,
       .value_inputs = {1, 2}},
  };
}

}  // namespace tiercel
