// Operators that resample images: Resize, grids and regions of interest.
#include <algorithm>
#include <cmath>

#include "ops/infer_values.h"

namespace tiercel {
namespace {

bool one_of(const std::string& text, std::initializer_list<std::string_view> choices) {
  return std::find(choices.begin(), choices.end(), text) != choices.end();
}

void check_modes(InferContext& ctx) {
  auto check = [&](std::string_view name, std::initializer_list<std::string_view> choices) {
    const std::string value = ctx.attr_string(name);
    if (!one_of(value, choices)) ctx.fail(concat(name, " is \"", value, "\", which is no choice"));
  };
  check("mode", {"nearest", "linear", "cubic"});
  check("coordinate_transformation_mode",
        {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
         "tf_crop_and_resize"});
  check("nearest_mode", {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"});
  check("keep_aspect_ratio_policy", {"stretch", "not_larger", "not_smaller"});
}

bool given(InferContext& ctx, int input) {
  return ctx.has_input(input) && list_length(ctx, input).value_or(1) != 0;
}

// floor(extent · scale), exact for whole scales and their reciprocals of symbolic extents.
Dim scaled(InferContext& ctx, const Dim& extent, double scale) {
  if (!(scale > 0) || std::isinf(scale)) ctx.fail(concat("scale ", scale, "; expected above 0"));
  if (extent.known()) {
    const double out = std::floor(static_cast<double>(extent.value()) * scale);
    if (out > 9e15) ctx.fail(concat("scale ", scale, " is too large"));
    return static_cast<int64_t>(out);
  }
  const double whole = std::round(scale), parts = std::round(1 / scale);
  if (whole == scale && whole < 1e6) return extent * static_cast<int64_t>(whole);
  if (1 / parts == scale && parts < 1e6) return floor_div(extent, static_cast<int64_t>(parts));
  return {};
}

void resize_by_scales(InferContext& ctx, Shape& out, const std::vector<int64_t>& axes) {
  const auto scales = numbers(ctx, 2);
  if (scales && scales->size() != axes.size()) {
    ctx.fail(concat("scales has ", scales->size(), " entries for ", axes.size(), " axes"));
  }
  // As in every implementation, the region of interest moves the samples and not the extent.
  for (size_t i = 0; i < axes.size(); ++i) {
    Dim& extent = out[static_cast<size_t>(axes[i])];
    extent = scales ? scaled(ctx, extent, (*scales)[i]) : Dim();
  }
}

void resize_to_sizes(InferContext& ctx, Shape& out, const std::vector<int64_t>& axes) {
  const auto sizes = ctx.elements(3);
  if (sizes && sizes->size() != axes.size()) {
    ctx.fail(concat("sizes has ", sizes->size(), " entries for ", axes.size(), " axes"));
  }
  const std::string policy = ctx.attr_string("keep_aspect_ratio_policy");
  std::optional<double> common;
  if (policy != "stretch" && sizes) {
    for (size_t i = 0; i < axes.size(); ++i) {
      const Dim &extent = out[static_cast<size_t>(axes[i])], &size = (*sizes)[i];
      if (!extent.known() || !size.known() || extent.value() == 0) {
        common.reset();
        break;
      }
      const double s = static_cast<double>(size.value()) / static_cast<double>(extent.value());
      common = !common ? s : policy == "not_larger" ? std::min(*common, s) : std::max(*common, s);
    }
  }
  for (size_t i = 0; i < axes.size(); ++i) {
    Dim& extent = out[static_cast<size_t>(axes[i])];
    if (!sizes) {
      extent = Dim();
    } else if (policy == "stretch") {
      extent = (*sizes)[i];
    } else if (common) {
      extent =
          static_cast<int64_t>(std::floor(*common * static_cast<double>(extent.value()) + 0.5));
    } else {
      extent = Dim();
    }
    if (extent.known() && extent.value() < 0) ctx.fail(concat("sizes has ", extent.value()));
  }
}

void resize(InferContext& ctx) {
  check_modes(ctx);
  if (!ctx.has_shape(0)) return set_like_first(ctx, std::nullopt);
  Shape out = *ctx.shape(0);
  if (out.empty()) ctx.fail("X is a scalar; expected rank 1 or more");
  std::vector<int64_t> axes;
  if (const auto listed = ctx.attr_ints("axes")) {
    axes = axes_in(ctx, *listed, static_cast<int64_t>(out.size()));
  } else {
    for (size_t i = 0; i < out.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  }
  if (given(ctx, 3)) {
    if (given(ctx, 2)) ctx.fail("has both scales and sizes; expected one of them");
    resize_to_sizes(ctx, out, axes);
  } else if (given(ctx, 2)) {
    resize_by_scales(ctx, out, axes);
  } else {
    ctx.fail("has neither scales nor sizes");
  }
  set_like_first(ctx, out);
}

void grid_sample(InferContext& ctx) {
  if (!ctx.has_shape(0)) return set_like_first(ctx, std::nullopt);
  const Shape in = *ctx.shape(0);
  if (in.size() < 3) ctx.fail(concat("X has rank ", in.size(), "; expected 3 or more"));
  Shape out(in.size());
  out[0] = in[0];
  out[1] = in[1];
  if (ctx.has_shape(1)) {
    const Shape& grid = *ctx.shape(1);
    if (grid.size() != in.size()) {
      ctx.fail(concat("grid has rank ", grid.size(), ", X has rank ", in.size()));
    }
    const auto spatial = static_cast<int64_t>(in.size()) - 2;
    if (grid.back().known() && grid.back().value() != spatial) {
      ctx.fail(concat("grid has ", grid.back().value(), " coordinates; expected ", spatial));
    }
    if (grid[0].known() && in[0].known() && !grid[0].same(in[0])) {
      ctx.fail(concat("grid has batch ", grid[0].value(), ", X has ", in[0].value()));
    }
    std::copy(grid.begin() + 1, grid.end() - 1, out.begin() + 2);
  }
  set_like_first(ctx, out);
}

void affine_grid(InferContext& ctx) {
  const auto size = ctx.elements(1);
  if (!size) {
    const auto rank = list_length(ctx, 1);
    return set_like_first(ctx,
                          rank ? std::optional(Shape(static_cast<size_t>(*rank))) : std::nullopt);
  }
  if (size->size() != 4 && size->size() != 5) {
    ctx.fail(concat("size has ", size->size(), " entries; expected 4 or 5"));
  }
  const auto spatial = static_cast<int64_t>(size->size()) - 2;
  if (ctx.has_shape(0)) {
    const auto theta = concrete(*ctx.shape(0));
    if (theta && (theta->size() != 3 || (*theta)[1] != spatial || (*theta)[2] != spatial + 1)) {
      ctx.fail(concat("theta has shape ", dims_text(*theta), "; expected [N, ", spatial, ", ",
                      spatial + 1, "]"));
    }
    if (theta && (*size)[0].known() && (*theta)[0] != (*size)[0].value()) {
      ctx.fail(concat("theta has ", (*theta)[0], " matrices, size asks for ", (*size)[0].value()));
    }
  }
  Shape out{(*size)[0]};
  out.insert(out.end(), size->begin() + 2, size->end());
  out.emplace_back(spatial);
  set_like_first(ctx, out);
}

// [regions, channels, height, width]
void pooled_regions(InferContext& ctx, int64_t columns, int64_t height, int64_t width) {
  if (height < 1 || width < 1) {
    ctx.fail(concat("output is ", height, " × ", width, "; expected 1 or more"));
  }
  Shape out(4);
  if (ctx.has_shape(0)) {
    const Shape& in = *ctx.shape(0);
    if (in.size() != 4) ctx.fail(concat("X has rank ", in.size(), "; expected [N, C, H, W]"));
    out[1] = in[1];
  }
  if (ctx.has_shape(1)) {
    const Shape& rois = *ctx.shape(1);
    if (rois.size() != 2 || (rois[1].known() && rois[1].value() != columns)) {
      ctx.fail(concat("rois has shape ", shape_text(rois), "; expected [regions, ", columns, "]"));
    }
    out[0] = rois[0];
  }
  out[2] = height;
  out[3] = width;
  set_like_first(ctx, out);
}

void roi_align(InferContext& ctx) {
  pooled_regions(ctx, 4, ctx.attr_int("output_height", 1), ctx.attr_int("output_width", 1));
  const auto batches = list_length(ctx, 2);
  if (batches && ctx.has_shape(1) && ctx.shape(1)->front().known() &&
      ctx.shape(1)->front().value() != *batches) {
    ctx.fail(concat("batch_indices has ", *batches, " entries for ", ctx.shape(1)->front().value(),
                    " rois"));
  }
}

void max_roi_pool(InferContext& ctx) {
  const auto pooled = ctx.attr_ints("pooled_shape");
  if (!pooled || pooled->size() != 2) ctx.fail("pooled_shape: expected two integers");
  pooled_regions(ctx, 5, (*pooled)[0], (*pooled)[1]);
}

}  // namespace

OpList resize_ops() {
  return {
      {.name = "Resize",
       .since = 19,
       .inputs = {{"X", "T1"},
                  {"roi", "T2", Param::Optional},
                  {"scales", "tensor(float)", Param::Optional},
                  {"sizes", "tensor(int64)", Param::Optional}},
       .outputs = {{"Y", "T1"}},
       .types = {{"T1", kStandardTensors}, {"T2", "float double float16"}},
       .attributes = {{"keep_aspect_ratio_policy", AttrDef::String, false, std::string("stretch")},
                      {"axes", AttrDef::Ints},
                      {"antialias", AttrDef::Int, false, int64_t{0}},
                      {"extrapolation_value", AttrDef::Float, false, 0.0},
                      {"exclude_outside", AttrDef::Int, false, int64_t{0}},
                      {"nearest_mode", AttrDef::String, false, std::string("round_prefer_floor")},
                      {"coordinate_transformation_mode", AttrDef::String, false,
                       std::string("half_pixel")},
                      {"cubic_coeff_a", AttrDef::Float, false, -0.75},
                      {"mode", AttrDef::String, false, std::string("nearest")}},
       .shape = resize,
       .value_inputs = {1, 2, 3}},
      {.name = "GridSample",
       .since = 22,
       .inputs = {{"X", "T1"}, {"grid", "T2"}},
       .outputs = {{"Y", "T1"}},
       .types = {{"T1", kStandardTensors}, {"T2", kFloats}},
       .attributes = {{"align_corners", AttrDef::Int, false, int64_t{0}},
                      {"padding_mode", AttrDef::String, false, std::string("zeros")},
                      {"mode", AttrDef::String, false, std::string("linear")}},
       .shape = grid_sample},
      {.name = "AffineGrid",
       .since = 20,
       .inputs = {{"theta", "T1"}, {"size", "T2"}},
       .outputs = {{"grid", "T1"}},
       .types = {{"T1", kFloats}, {"T2", "int64"}},
       .attributes = {{"align_corners", AttrDef::Int, false, int64_t{0}}},
       .shape = affine_grid,
       .value_inputs = {1}},
      {.name = "RoiAlign",
       .since = 22,
       .inputs = {{"X", "T1"}, {"rois", "T1"}, {"batch_indices", "T2"}},
       .outputs = {{"Y", "T1"}},
       .types = {{"T1", kFloats}, {"T2", "int64"}},
       .attributes = {{"coordinate_transformation_mode", AttrDef::String, false,
                       std::string("half_pixel")},
                      {"mode", AttrDef::String, false, std::string("avg")},
                      {"output_height", AttrDef::Int, false, int64_t{1}},
                      {"sampling_ratio", AttrDef::Int, false, int64_t{0}},
                      {"output_width", AttrDef::Int, false, int64_t{1}},
                      {"spatial_scale", AttrDef::Float, false, 1.0}},
       .shape = roi_align},
      {.name = "MaxRoiPool",
       .since = 22,
       .inputs = {{"X", "T"}, {"rois", "T"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", kFloats}},
       .attributes = {{"spatial_scale", AttrDef::Float, false, 1.0},
                      {"pooled_shape", AttrDef::Ints, true}},
       .shape = max_roi_pool},
  };
}

}  // namespace tiercel
