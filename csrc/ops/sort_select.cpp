// Operators that order elements or select them by value.
#include <algorithm>

#include "ops/infer_values.h"

namespace tiercel {
namespace {

void top_k(InferContext& ctx) {
  const DType dtype = ctx.dtype(0);
  if (!ctx.has_shape(0)) {
    if (ctx.has_output(0)) ctx.set(0, dtype);
    if (ctx.has_output(1)) ctx.set(1, DType::Int64);
    return;
  }
  Shape out = *ctx.shape(0);
  const auto axis =
      static_cast<size_t>(axis_in(ctx, ctx.attr_int("axis", -1), static_cast<int64_t>(out.size())));
  const auto k = ctx.elements(1);
  if (k && k->size() != 1) ctx.fail(concat("K has ", k->size(), " elements; expected one"));
  const Dim count = k ? k->front() : Dim();
  if (count.known() && count.value() < 0) ctx.fail(concat("K is ", count.value()));
  if (count.known() && out[axis].known() && count.value() > out[axis].value()) {
    ctx.fail(concat("K is ", count.value(), ", axis ", axis, " has extent ", out[axis].value()));
  }
  out[axis] = count;
  if (ctx.has_output(0)) ctx.set(0, dtype, out);
  if (ctx.has_output(1)) ctx.set(1, DType::Int64, out);
}

void unique(InferContext& ctx) {
  Dim inverse, bound;
  std::optional<Shape> out;
  if (ctx.has_attr("axis")) {
    if (ctx.has_shape(0)) {
      out = *ctx.shape(0);
      const auto axis = static_cast<size_t>(
          axis_in(ctx, ctx.attr_int("axis"), static_cast<int64_t>(out->size())));
      inverse = (*out)[axis];
      bound = ctx.at_most(inverse);
      (*out)[axis] = bound;
    }
  } else {
    if (ctx.has_shape(0)) inverse = product(*ctx.shape(0));
    bound = ctx.at_most(inverse);
    out = Shape{bound};
  }
  if (ctx.has_output(0)) ctx.set(0, ctx.dtype(0), out);
  if (ctx.has_output(1)) ctx.set(1, DType::Int64, Shape{bound});
  if (ctx.has_output(2)) ctx.set(2, DType::Int64, Shape{inverse});
  if (ctx.has_output(3)) ctx.set(3, DType::Int64, Shape{bound});
}

void non_zero(InferContext& ctx) {
  if (!ctx.has_shape(0)) return ctx.set(0, DType::Int64, Shape(2));
  const Shape& in = *ctx.shape(0);
  const Dim rank = static_cast<int64_t>(in.size());
  ctx.set(0, DType::Int64, Shape{rank, ctx.at_most(product(in))});
}

void non_max_suppression(InferContext& ctx) {
  for (int i = 0; i < 2; ++i) {
    if (ctx.has_shape(i) && ctx.shape(i)->size() != 3) {
      ctx.fail(
          concat(i == 0 ? "boxes" : "scores", " has rank ", ctx.shape(i)->size(), "; expected 3"));
    }
  }
  Dim bound;
  if (ctx.has_shape(0) && ctx.has_shape(1)) {
    const Shape &boxes = *ctx.shape(0), &scores = *ctx.shape(1);
    const bool clash = boxes[0].known() && scores[0].known() && !boxes[0].same(scores[0]);
    if (clash || (boxes[1].known() && scores[2].known() && !boxes[1].same(scores[2]))) {
      ctx.fail(concat("boxes has shape ", shape_text(boxes), ", scores ", shape_text(scores),
                      "; batches and boxes must agree"));
    }
    if (boxes[2].known() && boxes[2].value() != 4) {
      ctx.fail(concat("boxes have ", boxes[2].value(), " coordinates; expected 4"));
    }
    Dim each = boxes[1];
    const auto limit = ctx.has_input(2) ? ctx.integers(2) : std::vector<int64_t>{0};
    if (limit && limit->size() == 1 && each.known()) {
      each = std::min(each.value(), std::max<int64_t>(limit->front(), 0));
    }
    bound = ctx.at_most(boxes[0] * scores[1] * each);
  }
  ctx.set(0, DType::Int64, Shape{bound, 3});
}

}  // namespace

OpList sort_select_ops() {
  return {
      {.name = "TopK",
       .since = 24,
       .inputs = {{"X", "T"}, {"K", "tensor(int64)"}},
       .outputs = {{"Values", "T"}, {"Indices", "I"}},
       .types = {{"T", kNumbers}, {"I", "int64"}},
       .attributes = {{"sorted", AttrDef::Int, false, int64_t{1}},
                      {"largest", AttrDef::Int, false, int64_t{1}},
                      {"axis", AttrDef::Int, false, int64_t{-1}}},
       .shape = top_k,
       .value_inputs = {1}},
      {.name = "Unique",
       .since = 28,
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "T"},
                   {"indices", "tensor(int64)", Param::Optional},
                   {"inverse_indices", "tensor(int64)", Param::Optional},
                   {"counts", "tensor(int64)", Param::Optional}},
       .types = {{"T", kStandardTensors}},
       .attributes = {{"axis", AttrDef::Int}, {"sorted", AttrDef::Int, false, int64_t{1}}},
       .shape = unique,
       .facts = kDataDependent},
      {.name = "NonZero",
       .since = 13,
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "tensor(int64)"}},
       .types = {{"T", kStandardTensors}},
       .shape = non_zero,
       .facts = kDataDependent},
      {.name = "NonMaxSuppression",
       .since = 11,
       .inputs = {{"boxes", "tensor(float)"},
                  {"scores", "tensor(float)"},
                  {"max_output_boxes_per_class", "tensor(int64)", Param::Optional},
                  {"iou_threshold", "tensor(float)", Param::Optional},
                  {"score_threshold", "tensor(float)", Param::Optional}},
       .outputs = {{"selected_indices", "tensor(int64)"}},
       .attributes = {{"center_point_box", AttrDef::Int, false, int64_t{0}}},
       .shape = non_max_suppression,
       .facts = kDataDependent,
       .value_inputs = {2}},
  };
}

}  // namespace tiercel
