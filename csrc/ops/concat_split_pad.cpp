// Operators that join, cut and border tensors along axes.
#include <algorithm>

#include "ops/infer_values.h"

namespace tiercel {
namespace {

// Known elements of the joined lists; an input whose elements are unknown contributes unknowns when
// its length is known.
void concat_elements(InferContext& ctx, const Dim& total) {
  if (!total.known() || total.value() > kMaxKnown) return;
  std::vector<Dim> all;
  bool any = false;
  for (int i = 0; i < ctx.input_count(); ++i) {
    if (auto known = ctx.elements(i)) {
      any = true;
      all.insert(all.end(), known->begin(), known->end());
    } else {
      all.resize(all.size() + static_cast<size_t>(ctx.shape(i)->front().value()));
    }
  }
  if (any) ctx.set_elements(0, std::move(all));
}

void concat_shape(InferContext& ctx) {
  std::optional<Shape> out;
  bool whole = true;
  size_t at = 0;
  for (int i = 0; i < ctx.input_count(); ++i) {
    if (!ctx.has_shape(i)) {
      whole = false;
      continue;
    }
    const Shape in = *ctx.shape(i);
    if (!out) {
      at = static_cast<size_t>(axis_in(ctx, ctx.attr_int("axis"), static_cast<int64_t>(in.size())));
      out = in;
      continue;
    }
    if (in.size() != out->size()) {
      ctx.fail(concat("input ", i, " has shape ", shape_text(in), ", the inputs before it ",
                      shape_text(*out)));
    }
    for (size_t d = 0; d < in.size(); ++d) {
      Dim& have = (*out)[d];
      if (d == at) {
        have = have + in[d];
      } else if (have.known() && in[d].known() && !have.same(in[d])) {
        ctx.fail(concat("input ", i, " has shape ", shape_text(in), ", the inputs before it ",
                        shape_text(*out), "; axis ", d, " differs"));
      } else if (!have.known() && !in[d].unknown() && (have.unknown() || in[d].known())) {
        have = in[d];
      }
    }
  }
  if (out && !whole) (*out)[at] = Dim();
  set_like_first(ctx, out);
  if (out && whole && out->size() == 1) concat_elements(ctx, out->front());
}

std::vector<Dim> even_parts(InferContext& ctx, const Dim& extent) {
  const int count = ctx.output_count();
  const int64_t parts = ctx.attr_int("num_outputs", count);
  if (parts != count) ctx.fail(concat("num_outputs is ", parts, ", the node has ", count));
  const Dim part = ceil_div(extent, Dim(parts));
  std::vector<Dim> sizes(static_cast<size_t>(count), part);
  if (part.known()) {
    int64_t left = extent.value();
    for (Dim& size : sizes) {
      size = std::min(part.value(), left);
      left -= size.value();
    }
  } else if (!ctx.has_attr("num_outputs")) {
    for (Dim& size : sizes) size = floor_div(extent, Dim(parts));
  } else if (parts > 1) {
    sizes.back() = Dim();
  }
  return sizes;
}

std::vector<Dim> split_parts(InferContext& ctx, const Dim& extent) {
  if (!ctx.has_input(1)) return even_parts(ctx, extent);
  const auto known = ctx.elements(1);
  const auto count = static_cast<size_t>(ctx.output_count());
  if (!known) return std::vector<Dim>(count);
  if (known->size() != count) {
    ctx.fail(concat("split has ", known->size(), " entries, the node has ", count, " outputs"));
  }
  Dim sum = 0;
  for (const Dim& part : *known) {
    if (part.known() && part.value() < 0) ctx.fail(concat("split has the entry ", part.value()));
    sum = sum + part;
  }
  if (sum.known() && extent.known() && !sum.same(extent)) {
    ctx.fail(concat("split adds up to ", sum.value(), ", the axis has extent ", extent.value()));
  }
  return *known;
}

void split(InferContext& ctx) {
  const int count = ctx.output_count();
  if (!ctx.has_shape(0)) {
    for (int i = 0; i < count; ++i) {
      if (ctx.has_output(i)) ctx.set(i, ctx.dtype(0));
    }
    return;
  }
  Shape out = *ctx.shape(0);
  const auto axis =
      static_cast<size_t>(axis_in(ctx, ctx.attr_int("axis"), static_cast<int64_t>(out.size())));
  const auto parts = split_parts(ctx, out[axis]);
  const auto known = out.size() == 1 ? ctx.elements(0) : std::nullopt;
  size_t start = 0;
  bool placed = known.has_value();
  for (int i = 0; i < count; ++i) {
    const Dim& part = out[axis] = parts[static_cast<size_t>(i)];
    if (ctx.has_output(i)) ctx.set(i, ctx.dtype(0), out);
    placed = placed && part.known() && start + static_cast<size_t>(part.value()) <= known->size();
    if (!placed) continue;
    const auto from = known->begin() + static_cast<int64_t>(start);
    if (ctx.has_output(i)) ctx.set_elements(i, {from, from + part.value()});
    start += static_cast<size_t>(part.value());
  }
}

// One axis of Slice.
struct Cut {
  Dim start, end, step;
};

// A start or end: negative counts from the end, then clamped to the extent; going backwards to
// [0, extent) for a start (least = 0) and [-1, extent) for an end (least = -1).
std::optional<int64_t> clamped(const Dim& at, int64_t extent, bool backwards, int64_t least) {
  if (!at.known()) return std::nullopt;
  const int64_t v = at.value() < 0 ? std::max<int64_t>(at.value() + extent, -1) : at.value();
  if (backwards) return std::max(std::min(v, extent - 1), least);
  return std::clamp<int64_t>(v, 0, extent);
}

Dim cut_extent(const Cut& cut, const Dim& extent) {
  if (!cut.step.known()) return {};
  const int64_t step = cut.step.value();
  if (extent.known()) {
    if (extent.value() == 0) return 0;
    const auto start = clamped(cut.start, extent.value(), step < 0, 0);
    const auto end = clamped(cut.end, extent.value(), step < 0, -1);
    if (start && end) {
      const int64_t span = step > 0 ? *end - *start : *start - *end;
      if (span <= 0) return 0;
      const uint64_t stride =
          step > 0 ? static_cast<uint64_t>(step) : uint64_t{0} - static_cast<uint64_t>(step);
      return static_cast<int64_t>((static_cast<uint64_t>(span) - 1) / stride + 1);
    }
  }
  const bool from_start = cut.start.known() && cut.start.value() == 0;
  const bool to_end = cut.end.same(extent) || (cut.end.known() && cut.end.value() >= INT32_MAX);
  if (step == -1 && cut.start.known() && cut.start.value() == -1 && cut.end.known() &&
      cut.end.value() <= -INT32_MAX) {
    return extent;
  }
  if (step < 1) return {};
  if (from_start && to_end) return ceil_div(extent, cut.step);
  if (step != 1) return {};
  // A symbolic bound is taken to lie inside the axis: that is how masks and positions are cut.
  const bool counts_up = cut.start.symbolic() || (cut.start.known() && cut.start.value() >= 0);
  if (counts_up && cut.end.symbolic()) return cut.end - cut.start;
  if (to_end && cut.start.symbolic()) return extent - cut.start;
  if (!extent.symbolic()) return {};
  // x[k:] and x[:-k] of a symbolic extent, taking it to be at least k; x[-1:], taking it not to be
  // empty. What x[-k:] has otherwise is no number that constants may be held against.
  if (to_end && cut.start.known() && counts_up) return extent - cut.start;
  if (to_end && cut.start.known() && cut.start.value() == -1) return 1;
  if (from_start && cut.end.known() && cut.end.value() < 0) return extent + cut.end;
  return {};
}

void slice_elements(InferContext& ctx, const Cut& cut) {
  const auto known = ctx.elements(0);
  if (!known || !cut.step.known()) return;
  const auto extent = static_cast<int64_t>(known->size());
  const int64_t step = cut.step.value();
  const auto start = clamped(cut.start, extent, step < 0, 0),
             end = clamped(cut.end, extent, step < 0, -1);
  if (!start || !end) return;
  const Dim count = cut_extent(cut, extent);
  std::vector<Dim> out;
  int64_t at = *start;
  for (int64_t i = 0; i < count.value(); ++i) {
    out.push_back((*known)[static_cast<size_t>(at)]);
    if (i + 1 < count.value()) at += step;
  }
  ctx.set_elements(0, std::move(out));
}

struct SliceInputs {
  std::vector<Dim> starts, ends, steps;
  std::vector<int64_t> axes;
};

std::optional<SliceInputs> slice_inputs(InferContext& ctx, size_t rank) {
  SliceInputs in;
  std::optional<size_t> count;
  for (int i = 1; i < 5 && !count; ++i) {
    if (!ctx.has_input(i)) continue;
    if (const auto length = list_length(ctx, i)) count = static_cast<size_t>(*length);
  }
  if (!count) return std::nullopt;
  auto list = [&](int i) {
    auto known = ctx.elements(i).value_or(std::vector<Dim>(*count));
    // INT64_MIN, which "all the way back" is often written as, is no Dim.
    const Tensor* constant = ctx.constant(i);
    for (size_t j = 0; constant != nullptr && j < known.size(); ++j) {
      if (known[j].unknown()) known[j] = -INT64_MAX;
    }
    return known;
  };
  in.starts = list(1);
  in.ends = list(2);
  in.steps = ctx.has_input(4) ? list(4) : std::vector<Dim>(*count, Dim(1));
  std::vector<int64_t> axes;
  if (ctx.has_input(3)) {
    const auto given = ctx.integers(3);
    if (!given) return std::nullopt;
    axes = *given;
  } else {
    for (size_t i = 0; i < *count; ++i) axes.push_back(static_cast<int64_t>(i));
  }
  if (in.starts.size() != *count || in.ends.size() != *count || in.steps.size() != *count ||
      axes.size() != *count) {
    ctx.fail("starts, ends, axes and steps differ in length");
  }
  in.axes = axes_in(ctx, axes, static_cast<int64_t>(rank));
  return in;
}

void slice(InferContext& ctx) {
  if (!ctx.has_shape(0)) return set_like_first(ctx, std::nullopt);
  Shape out = *ctx.shape(0);
  const auto in = slice_inputs(ctx, out.size());
  if (!in) return set_like_first(ctx, Shape(out.size()));
  for (size_t i = 0; i < in->axes.size(); ++i) {
    const Cut cut{in->starts[i], in->ends[i], in->steps[i]};
    if (cut.step.known() && cut.step.value() == 0) ctx.fail("steps has the entry 0");
    Dim& extent = out[static_cast<size_t>(in->axes[i])];
    extent = cut_extent(cut, extent);
  }
  set_like_first(ctx, out);
  if (out.size() == 1 && in->axes.size() == 1) {
    slice_elements(ctx, {in->starts[0], in->ends[0], in->steps[0]});
  } else if (in->axes.empty()) {
    pass_elements(ctx, 0, out);
  }
}

void check_pad_mode(InferContext& ctx) {
  const std::string mode = ctx.attr_string("mode");
  if (mode != "constant" && mode != "reflect" && mode != "edge" && mode != "wrap") {
    ctx.fail(concat("mode is \"", mode, "\"; expected constant, reflect, edge or wrap"));
  }
}

void pad(InferContext& ctx) {
  check_pad_mode(ctx);
  if (!ctx.has_shape(0)) return set_like_first(ctx, std::nullopt);
  Shape out = *ctx.shape(0);
  std::vector<int64_t> axes;
  if (ctx.has_input(3)) {
    const auto given = ctx.integers(3);
    if (!given) return set_like_first(ctx, Shape(out.size()));
    axes = axes_in(ctx, *given, static_cast<int64_t>(out.size()));
  } else {
    for (size_t i = 0; i < out.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  }
  const auto pads = ctx.elements(1);
  if (pads && pads->size() != 2 * axes.size()) {
    ctx.fail(concat("pads has ", pads->size(), " entries; expected ", 2 * axes.size()));
  }
  for (size_t i = 0; i < axes.size(); ++i) {
    Dim& extent = out[static_cast<size_t>(axes[i])];
    extent = pads ? extent + (*pads)[i] + (*pads)[i + axes.size()] : Dim();
    if (extent.known() && extent.value() < 0) {
      ctx.fail(concat("pads cut axis ", axes[i], " down to ", extent.value()));
    }
  }
  set_like_first(ctx, out);
}

void center_crop_pad(InferContext& ctx) {
  if (!ctx.has_shape(0)) return set_like_first(ctx, std::nullopt);
  Shape out = *ctx.shape(0);
  std::vector<int64_t> axes;
  if (const auto given = ctx.attr_ints("axes")) {
    axes = axes_in(ctx, *given, static_cast<int64_t>(out.size()));
  } else {
    for (size_t i = 0; i < out.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  }
  const auto target = ctx.elements(1);
  if (target && target->size() != axes.size()) {
    ctx.fail(concat("shape has ", target->size(), " entries for ", axes.size(), " axes"));
  }
  for (size_t i = 0; i < axes.size(); ++i) {
    const Dim extent = target ? (*target)[i] : Dim();
    if (extent.known() && extent.value() < 0) ctx.fail(concat("shape has ", extent.value()));
    out[static_cast<size_t>(axes[i])] = extent;
  }
  set_like_first(ctx, out);
}

}  // namespace

OpList concat_split_pad_ops() {
  return {
      {.name = "Concat",
       .since = 13,
       .inputs = {{"inputs", "T", Param::Variadic, true, 1}},
       .outputs = {{"concat_result", "T"}},
       .types = {{"T", kStandardTensors}},
       .attributes = {{"axis", AttrDef::Int, true}},
       .shape = concat_shape,
       .facts = kJoins},
      {.name = "Split",
       .since = 18,
       .inputs = {{"input", "T"}, {"split", "tensor(int64)", Param::Optional}},
       .outputs = {{"outputs", "T", Param::Variadic, true, 1}},
       .types = {{"T", kStandardTensors}},
       .attributes = {{"num_outputs", AttrDef::Int}, {"axis", AttrDef::Int, false, int64_t{0}}},
       .shape = split,
       .facts = kCuts,
       .value_inputs = {1}},
      {.name = "Slice",
       .since = 13,
       .inputs = {{"data", "T"},
                  {"starts", "Tind"},
                  {"ends", "Tind"},
                  {"axes", "Tind", Param::Optional},
                  {"steps", "Tind", Param::Optional}},
       .outputs = {{"output", "T"}},
       .types = {{"T", kStandardTensors}, {"Tind", "int32 int64"}},
       .shape = slice,
       .value_inputs = {1, 2, 3, 4}},
      {.name = "Pad",
       .since = 25,
       .inputs = {{"data", "T"},
                  {"pads", "tensor(int64)"},
                  {"constant_value", "T", Param::Optional},
                  {"axes", "Tind", Param::Optional}},
       .outputs = {{"output", "T"}},
       .types = {{"T", kAllTensors}, {"Tind", "int32 int64"}},
       .attributes = {{"mode", AttrDef::String, false, std::string("constant")}},
       .shape = pad,
       .value_inputs = {1, 3}},
      {.name = "CenterCropPad",
       .since = 18,
       .inputs = {{"input_data", "T"}, {"shape", "Tind"}},
       .outputs = {{"output_data", "T"}},
       .types = {{"T", kStandardTensors}, {"Tind", "int32 int64"}},
       .attributes = {{"axes", AttrDef::Ints}},
       .shape = center_crop_pad,
       .value_inputs = {1}},
  };
}

}  // namespace tiercel
