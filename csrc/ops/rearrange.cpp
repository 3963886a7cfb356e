// Operators that move or reinterpret elements, and those that make tensors out of shapes.
#include <algorithm>
#include <cmath>

#include "ops/infer_values.h"

namespace tiercel {
namespace {

// The extent that -1 stands for: all elements over the product of the other extents. Extents that
// occur on both sides cancel first, so that symbols need no arithmetic.
Dim solve_extent(InferContext& ctx, Shape from, const Shape& to, size_t at) {
  Shape rest;
  for (size_t i = 0; i < to.size(); ++i) {
    if (i == at) continue;
    auto twin = std::find_if(from.begin(), from.end(), [&](const Dim& d) {
      return d.same(to[i]) && !(d.known() && d.value() == 0);
    });
    if (twin != from.end()) {
      from.erase(twin);
    } else {
      rest.push_back(to[i]);
    }
  }
  const Dim all = product(from), others = product(rest);
  if (!all.known() || !others.known()) return floor_div(all, others);
  if (others.value() == 0) {
    ctx.fail(
        concat("shape ", shape_text(to), " has -1 next to an extent of 0: it has no solution"));
  }
  if (all.value() % others.value() != 0) {
    ctx.fail(concat("input has shape ", shape_text(*ctx.shape(0)), ", which -1 cannot fill up: ",
                    all.value(), " is not a multiple of ", others.value()));
  }
  return all.value() / others.value();
}

Shape reshape_target(InferContext& ctx, const std::vector<Dim>& target) {
  const bool allow_zero = ctx.attr_int("allowzero") != 0;
  Shape out = target;
  std::optional<size_t> solve;
  for (size_t i = 0; i < target.size(); ++i) {
    if (!target[i].known()) continue;
    const int64_t extent = target[i].value();
    if (extent == -1) {
      if (solve) ctx.fail("shape has more than one -1");
      solve = i;
    } else if (extent < 0) {
      ctx.fail(concat("shape has the extent ", extent, "; expected -1, 0 or a positive number"));
    } else if (extent == 0 && !allow_zero) {
      if (ctx.has_shape(0) && i >= ctx.shape(0)->size()) {
        ctx.fail(concat("shape copies extent ", i, " of an input of rank ", ctx.shape(0)->size()));
      }
      out[i] = ctx.has_shape(0) ? (*ctx.shape(0))[i] : Dim();
    }
  }
  if (solve) {
    out[*solve] = ctx.has_shape(0) ? solve_extent(ctx, *ctx.shape(0), out, *solve) : Dim();
  } else if (ctx.has_shape(0)) {
    const Dim from = product(*ctx.shape(0)), to = product(out);
    if (from.known() && to.known() && !from.same(to)) {
      ctx.fail(concat("input of shape ", shape_text(*ctx.shape(0)), " has ", from.value(),
                      " elements, shape ", shape_text(out), " asks for ", to.value()));
    }
  }
  return out;
}

void reshape(InferContext& ctx) {
  std::optional<Shape> out;
  if (const auto target = ctx.elements(1)) {
    out = reshape_target(ctx, *target);
  } else if (const auto rank = list_length(ctx, 1)) {
    out = Shape(static_cast<size_t>(*rank));
  }
  set_like_first(ctx, out);
  pass_elements(ctx, 0, out);
}

void flatten(InferContext& ctx) {
  if (!ctx.has_shape(0)) return set_like_first(ctx, Shape(2));
  const Shape in = *ctx.shape(0);
  const auto rank = static_cast<int64_t>(in.size());
  int64_t axis = ctx.attr_int("axis", 1);
  if (axis != rank) axis = axis_in(ctx, axis, rank);
  const std::span<const Dim> dims(in);
  const auto cut = static_cast<size_t>(axis);
  set_like_first(ctx, Shape{product(dims.first(cut)), product(dims.subspan(cut))});
}

std::optional<Shape> squeezed(InferContext& ctx) {
  if (!ctx.has_shape(0)) return std::nullopt;
  const Shape in = *ctx.shape(0);
  std::vector<bool> drop(in.size(), false);
  if (ctx.has_input(1)) {
    const auto axes = ctx.integers(1);
    if (!axes) {
      const auto count = list_length(ctx, 1);
      if (!count || *count > static_cast<int64_t>(in.size())) return std::nullopt;
      return Shape(in.size() - static_cast<size_t>(*count));
    }
    for (int64_t axis : axes_in(ctx, *axes, static_cast<int64_t>(in.size()))) {
      const Dim& extent = in[static_cast<size_t>(axis)];
      if (extent.known() && extent.value() != 1) {
        ctx.fail(concat("axis ", axis, " has extent ", extent.value(), "; only 1 can be squeezed"));
      }
      drop[static_cast<size_t>(axis)] = true;
    }
  } else {
    for (size_t i = 0; i < in.size(); ++i) {
      if (!in[i].known()) return std::nullopt;
      drop[i] = in[i].value() == 1;
    }
  }
  Shape out;
  for (size_t i = 0; i < in.size(); ++i) {
    if (!drop[i]) out.push_back(in[i]);
  }
  return out;
}

void squeeze(InferContext& ctx) {
  const auto out = squeezed(ctx);
  set_like_first(ctx, out);
  pass_elements(ctx, 0, out);
}

void unsqueeze(InferContext& ctx) {
  std::optional<Shape> out;
  const auto axes = ctx.integers(1);
  if (ctx.has_shape(0) && axes) {
    const Shape in = *ctx.shape(0);
    const size_t rank = in.size() + axes->size();
    std::vector<bool> added(rank, false);
    for (int64_t axis : axes_in(ctx, *axes, static_cast<int64_t>(rank))) {
      added[static_cast<size_t>(axis)] = true;
    }
    out.emplace();
    size_t next = 0;
    for (size_t i = 0; i < rank; ++i) out->push_back(added[i] ? Dim(1) : in[next++]);
  } else if (const auto count = list_length(ctx, 1); count && ctx.has_shape(0)) {
    out = Shape(ctx.shape(0)->size() + static_cast<size_t>(*count));
  }
  set_like_first(ctx, out);
  pass_elements(ctx, 0, out);
}

void identity(InferContext& ctx) {
  ctx.set_type(0, ctx.type(0));
  if (ctx.has_shape(0)) pass_elements(ctx, 0, ctx.shape(0));
}

void transpose(InferContext& ctx) {
  const auto perm = ctx.attr_ints("perm");
  if (!ctx.has_shape(0)) {
    if (perm) return set_like_first(ctx, Shape(perm->size()));
    return set_like_first(ctx, std::nullopt);
  }
  const Shape in = *ctx.shape(0);
  const auto rank = static_cast<int64_t>(in.size());
  Shape out(in.rbegin(), in.rend());
  if (perm) {
    if (static_cast<int64_t>(perm->size()) != rank) {
      ctx.fail(concat("perm has ", perm->size(), " axes, the input has rank ", rank));
    }
    const auto axes = axes_in(ctx, *perm, rank);
    for (size_t i = 0; i < axes.size(); ++i) out[i] = in[static_cast<size_t>(axes[i])];
  }
  set_like_first(ctx, out);
  pass_elements(ctx, 0, out);
}

void expand(InferContext& ctx) {
  const auto target = ctx.elements(1);
  if (!target) {
    const auto rank = list_length(ctx, 1);
    if (!ctx.has_shape(0) || !rank) return set_like_first(ctx, std::nullopt);
    return set_like_first(ctx, Shape(std::max<size_t>(ctx.shape(0)->size(), *rank)));
  }
  for (const Dim& extent : *target) {
    if (extent.known() && extent.value() < 0) {
      ctx.fail(concat("shape has the extent ", extent.value(), "; expected 0 or more"));
    }
  }
  if (!ctx.has_shape(0)) return set_like_first(ctx, std::nullopt);
  const Shape out = broadcast(*ctx.shape(0), *target);
  set_like_first(ctx, out);
  const auto known = ctx.elements(0);
  const auto count = small_list(out);
  if (!known || !count) return;
  if (known->size() == 1) {
    ctx.set_elements(0, std::vector<Dim>(static_cast<size_t>(*count), known->front()));
  } else {
    pass_elements(ctx, 0, out);
  }
}

void tile(InferContext& ctx) {
  if (!ctx.has_shape(0)) return set_like_first(ctx, std::nullopt);
  Shape out = *ctx.shape(0);
  const auto repeats = ctx.elements(1);
  if (!repeats) return set_like_first(ctx, Shape(out.size()));
  if (repeats->size() != out.size()) {
    ctx.fail(concat("repeats has ", repeats->size(), " entries, the input has rank ", out.size()));
  }
  for (size_t i = 0; i < out.size(); ++i) {
    const Dim& times = (*repeats)[i];
    if (times.known() && times.value() < 0) ctx.fail(concat("repeats has ", times.value()));
    out[i] = out[i] * times;
  }
  set_like_first(ctx, out);
  const auto known = ctx.elements(0);
  const auto count = small_list(out);
  if (!known || known->empty() || !count || out.empty()) return;
  std::vector<Dim> tiled;
  for (size_t i = 0; i < static_cast<size_t>(*count); ++i) {
    tiled.push_back((*known)[i % known->size()]);
  }
  ctx.set_elements(0, std::move(tiled));
}

const Shape& image_shape(InferContext& ctx) {
  const Shape& in = *ctx.shape(0);
  if (in.size() != 4) ctx.fail(concat("input has rank ", in.size(), "; expected [N, C, H, W]"));
  if (ctx.attr_int("blocksize") < 1) {
    ctx.fail(concat("blocksize is ", ctx.attr_int("blocksize"), "; expected 1 or more"));
  }
  return in;
}

Dim exact_div(InferContext& ctx, const Dim& extent, int64_t divisor) {
  if (extent.known() && extent.value() % divisor != 0) {
    ctx.fail(concat("extent ", extent.value(), " is not a multiple of ", divisor));
  }
  return floor_div(extent, divisor);
}

void depth_to_space(InferContext& ctx) {
  if (!ctx.has_shape(0)) return set_like_first(ctx, Shape(4));
  const Shape in = image_shape(ctx);
  const int64_t b = ctx.attr_int("blocksize");
  const Dim square = Dim(b) * Dim(b);
  const Dim channels = exact_div(ctx, in[1], square.value());
  set_like_first(ctx, Shape{in[0], channels, in[2] * b, in[3] * b});
}

void space_to_depth(InferContext& ctx) {
  if (!ctx.has_shape(0)) return set_like_first(ctx, Shape(4));
  const Shape in = image_shape(ctx);
  const int64_t b = ctx.attr_int("blocksize");
  const Dim square = Dim(b) * Dim(b);
  set_like_first(ctx,
                 Shape{in[0], in[1] * square, exact_div(ctx, in[2], b), exact_div(ctx, in[3], b)});
}

void bit_cast(InferContext& ctx) {
  const int64_t to = ctx.attr_int("to");
  if (!dtype_is_valid(to)) ctx.fail(concat("to is ", to, ", which is no element type"));
  const auto target = static_cast<DType>(to);
  if (ctx.dtype(0) != DType::Undefined && dtype_bits(target) != dtype_bits(ctx.dtype(0))) {
    ctx.fail(concat("cannot reinterpret ", dtype_name(ctx.dtype(0)), " as ", dtype_name(target),
                    ": the widths differ"));
  }
  ctx.set(0, target, ctx.shape(0));
}

void reverse_sequence(InferContext& ctx) {
  if (ctx.has_shape(0)) {
    const Shape& in = *ctx.shape(0);
    const auto rank = static_cast<int64_t>(in.size());
    const int64_t batch = axis_in(ctx, ctx.attr_int("batch_axis", 1), rank);
    const int64_t time = axis_in(ctx, ctx.attr_int("time_axis", 0), rank);
    if (batch == time) ctx.fail(concat("batch_axis and time_axis are both ", time));
    const auto lengths = list_length(ctx, 1);
    const Dim& sequences = in[static_cast<size_t>(batch)];
    if (lengths && sequences.known() && *lengths != sequences.value()) {
      ctx.fail(concat("sequence_lens has ", *lengths, " entries, the batch axis has extent ",
                      sequences.value()));
    }
  }
  same_as_first(ctx);
}

}  // namespace

OpList rearrange_ops() {
  return {
      {.name = "Reshape",
       .since = 25,
       .inputs = {{"data", "T"}, {"shape", "tensor(int64)"}},
       .outputs = {{"reshaped", "T"}},
       .types = {{"T", kAllTensors}},
       .attributes = {{"allowzero", AttrDef::Int, false, int64_t{0}}},
       .shape = reshape,
       .facts = kAlias,
       .value_inputs = {1}},
      {.name = "Flatten",
       .since = 25,
       .inputs = {{"input", "T"}},
       .outputs = {{"output", "T"}},
       .types = {{"T", kAllTensors}},
       .attributes = {{"axis", AttrDef::Int, false, int64_t{1}}},
       .shape = flatten,
       .facts = kAlias},
      {.name = "Squeeze",
       .since = 25,
       .inputs = {{"data", "T"}, {"axes", "tensor(int64)", Param::Optional}},
       .outputs = {{"squeezed", "T"}},
       .types = {{"T", kAllTensors}},
       .shape = squeeze,
       .facts = kAlias,
       .value_inputs = {1}},
      {.name = "Unsqueeze",
       .since = 25,
       .inputs = {{"data", "T"}, {"axes", "tensor(int64)"}},
       .outputs = {{"expanded", "T"}},
       .types = {{"T", kAllTensors}},
       .shape = unsqueeze,
       .facts = kAlias,
       .value_inputs = {1}},
      {.name = "Identity",
       .since = 25,
       .inputs = {{"input", "V"}},
       .outputs = {{"output", "V"}},
       .types =
           {{"V",
             "float double float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool "
             "string complex64 complex128 float4e2m1 float8e4m3fn float8e4m3fnuz float8e5m2 "
             "float8e5m2fnuz float8e8m0 int2 int4 optional(seq(tensor(bool))) "
             "optional(seq(tensor(complex128))) optional(seq(tensor(complex64))) "
             "optional(seq(tensor(double))) optional(seq(tensor(float))) "
             "optional(seq(tensor(float16))) optional(seq(tensor(int16))) "
             "optional(seq(tensor(int32))) optional(seq(tensor(int64))) "
             "optional(seq(tensor(int8))) optional(seq(tensor(string))) "
             "optional(seq(tensor(uint16))) optional(seq(tensor(uint32))) "
             "optional(seq(tensor(uint64))) optional(seq(tensor(uint8))) optional(tensor(bool)) "
             "optional(tensor(complex128)) optional(tensor(complex64)) optional(tensor(double)) "
             "optional(tensor(float)) optional(tensor(float16)) optional(tensor(int16)) "
             "optional(tensor(int32)) optional(tensor(int64)) optional(tensor(int8)) "
             "optional(tensor(string)) optional(tensor(uint16)) optional(tensor(uint32)) "
             "optional(tensor(uint64)) optional(tensor(uint8)) seq(tensor(bool)) "
             "seq(tensor(complex128)) seq(tensor(complex64)) seq(tensor(double)) "
             "seq(tensor(float)) seq(tensor(float16)) seq(tensor(int16)) seq(tensor(int32)) "
             "seq(tensor(int64)) seq(tensor(int8)) seq(tensor(string)) seq(tensor(uint16)) "
             "seq(tensor(uint32)) seq(tensor(uint64)) seq(tensor(uint8)) uint2 uint4"}},
       .shape = identity,
       .facts = kAlias | kIdempotent},
      {.name = "Transpose",
       .since = 25,
       .inputs = {{"data", "T"}},
       .outputs = {{"transposed", "T"}},
       .types = {{"T", kAllTensors}},
       .attributes = {{"perm", AttrDef::Ints}},
       .shape = transpose},
      {.name = "Expand",
       .since = 13,
       .inputs = {{"input", "T"}, {"shape", "tensor(int64)"}},
       .outputs = {{"output", "T"}},
       .types = {{"T", kStandardTensors}},
       .shape = expand,
       .value_inputs = {1}},
      {.name = "Tile",
       .since = 13,
       .inputs = {{"input", "T"}, {"repeats", "T1"}},
       .outputs = {{"output", "T"}},
       .types = {{"T", kStandardTensors}, {"T1", "int64"}},
       .shape = tile,
       .value_inputs = {1}},
      {.name = "DepthToSpace",
       .since = 28,
       .inputs = {{"input", "T"}},
       .outputs = {{"output", "T"}},
       .types = {{"T", kStandardTensors}},
       .attributes = {{"mode", AttrDef::String, false, std::string("DCR")},
                      {"blocksize", AttrDef::Int, true}},
       .shape = depth_to_space},
      {.name = "SpaceToDepth",
       .since = 28,
       .inputs = {{"input", "T"}},
       .outputs = {{"output", "T"}},
       .types = {{"T", kStandardTensors}},
       .attributes = {{"mode", AttrDef::String, false, std::string("DCR")},
                      {"blocksize", AttrDef::Int, true}},
       .shape = space_to_depth},
      {.name = "ReverseSequence",
       .since = 28,
       .inputs = {{"input", "T"}, {"sequence_lens", "tensor(int64)"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", kStandardTensors}},
       .attributes = {{"batch_axis", AttrDef::Int, false, int64_t{1}},
                      {"time_axis", AttrDef::Int, false, int64_t{0}}},
       .shape = reverse_sequence},
      {.name = "BitCast",
       .since = 26,
       .inputs = {{"input", "T1"}},
       .outputs = {{"output", "T2"}},
       .types = {{"T1",
                  "float double float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 "
                  "bool complex64 complex128 float4e2m1 float8e4m3fn float8e4m3fnuz float8e5m2 "
                  "float8e5m2fnuz float8e8m0 int2 int4 uint2 uint4"},
                 {"T2",
                  "float double float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 "
                  "bool complex64 complex128 float4e2m1 float8e4m3fn float8e4m3fnuz float8e5m2 "
                  "float8e5m2fnuz float8e8m0 int2 int4 uint2 uint4"}},
       .attributes = {{"to", AttrDef::Int, true}},
       .shape = bit_cast,
       .facts = kAlias},
  };
}

}  // namespace tiercel
