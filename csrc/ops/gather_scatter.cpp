// Operators that read or write elements at given indices.
#include "ops/infer_values.h"

namespace tiercel {
namespace {

// What Gather with `indices` reads from a known list.
void gather_elements_of_list(InferContext& ctx) {
  const auto known = ctx.elements(0);
  const auto indices = ctx.integers(1);
  if (!known || !indices || !ctx.has_shape(1) || ctx.shape(1)->size() > 1) return;
  if (ctx.shape(0)->size() != 1) return;
  const auto count = static_cast<int64_t>(known->size());
  std::vector<Dim> out;
  for (int64_t index : *indices) {
    if (index < -count || index >= count) {
      ctx.fail(concat("index ", index, " is outside [", -count, ", ", count, ")"));
    }
    out.push_back((*known)[static_cast<size_t>(index < 0 ? index + count : index)]);
  }
  if (out.size() <= kMaxKnown) ctx.set_elements(0, std::move(out));
}

void gather(InferContext& ctx) {
  if (!ctx.has_shape(0)) return set_like_first(ctx, std::nullopt);
  const Shape data = *ctx.shape(0);
  const auto rank = static_cast<int64_t>(data.size());
  const auto axis = axis_in(ctx, ctx.attr_int("axis"), rank);
  if (!ctx.has_shape(1)) return set_like_first(ctx, std::nullopt);
  const Shape indices = *ctx.shape(1);
  Shape out(data.begin(), data.begin() + axis);
  out.insert(out.end(), indices.begin(), indices.end());
  out.insert(out.end(), data.begin() + axis + 1, data.end());
  set_like_first(ctx, out);
  gather_elements_of_list(ctx);
}

void expect_rank(InferContext& ctx, int input, size_t rank, const char* name) {
  if (ctx.has_shape(input) && ctx.shape(input)->size() != rank) {
    ctx.fail(concat(name, " has rank ", ctx.shape(input)->size(), "; expected ", rank));
  }
}

void gather_elements(InferContext& ctx) {
  if (ctx.has_shape(0)) {
    const size_t rank = ctx.shape(0)->size();
    const auto axis =
        static_cast<size_t>(axis_in(ctx, ctx.attr_int("axis"), static_cast<int64_t>(rank)));
    expect_rank(ctx, 1, rank, "indices");
    for (size_t i = 0; ctx.has_shape(1) && i < rank; ++i) {
      const Dim &have = (*ctx.shape(0))[i], &want = (*ctx.shape(1))[i];
      if (i != axis && have.known() && want.known() && want.value() > have.value()) {
        ctx.fail(concat("indices has extent ", want.value(), " on axis ", i, ", data has ",
                        have.value()));
      }
    }
  }
  set_like_first(ctx, ctx.has_shape(1) ? ctx.shape(1) : std::nullopt);
}

void gather_nd(InferContext& ctx) {
  if (!ctx.has_shape(0) || !ctx.has_shape(1)) return set_like_first(ctx, std::nullopt);
  const Shape data = *ctx.shape(0), indices = *ctx.shape(1);
  const auto rank = static_cast<int64_t>(data.size());
  const int64_t batch = ctx.attr_int("batch_dims");
  if (indices.empty()) ctx.fail("indices is a scalar; expected rank 1 or more");
  if (batch < 0 || batch >= rank || batch >= static_cast<int64_t>(indices.size())) {
    ctx.fail(concat("batch_dims is ", batch, "; expected less than the ranks of data (", rank,
                    ") and indices (", indices.size(), ")"));
  }
  for (int64_t i = 0; i < batch; ++i) {
    const Dim &a = data[static_cast<size_t>(i)], &b = indices[static_cast<size_t>(i)];
    if (a.known() && b.known() && !a.same(b)) {
      ctx.fail(concat("batch axis ", i, " has extent ", a.value(), " in data and ", b.value(),
                      " in indices"));
    }
  }
  if (!indices.back().known()) return set_like_first(ctx, std::nullopt);
  const int64_t depth = indices.back().value();
  if (depth < 1 || depth > rank - batch) {
    ctx.fail(concat("indices address ", depth, " axes; data has ", rank - batch,
                    " behind the batch axes"));
  }
  Shape out(indices.begin(), indices.end() - 1);
  out.insert(out.end(), data.begin() + batch + depth, data.end());
  set_like_first(ctx, out);
}

void scatter_elements(InferContext& ctx) {
  if (ctx.has_shape(0)) {
    const size_t rank = ctx.shape(0)->size();
    axis_in(ctx, ctx.attr_int("axis"), static_cast<int64_t>(rank));
    expect_rank(ctx, 1, rank, "indices");
    expect_rank(ctx, 2, rank, "updates");
  }
  if (ctx.has_shape(1) && ctx.has_shape(2)) {
    const auto indices = concrete(*ctx.shape(1)), updates = concrete(*ctx.shape(2));
    if (indices && updates && *indices != *updates) {
      ctx.fail(concat("indices has shape ", dims_text(*indices), ", updates ", dims_text(*updates),
                      "; they must agree"));
    }
  }
  same_as_first(ctx);
}

void scatter_nd(InferContext& ctx) {
  if (ctx.has_shape(0) && ctx.has_shape(1)) {
    const Shape data = *ctx.shape(0), indices = *ctx.shape(1);
    if (indices.empty()) ctx.fail("indices is a scalar; expected rank 1 or more");
    const Dim depth = indices.back();
    if (depth.known()) {
      const auto rank = static_cast<int64_t>(data.size());
      if (depth.value() < 1 || depth.value() > rank) {
        ctx.fail(concat("indices address ", depth.value(), " axes; data has ", rank));
      }
      Shape want(indices.begin(), indices.end() - 1);
      want.insert(want.end(), data.begin() + depth.value(), data.end());
      const auto expected = concrete(want);
      const auto got = ctx.has_shape(2) ? concrete(*ctx.shape(2)) : std::nullopt;
      if (expected && got && *expected != *got) {
        ctx.fail(concat("updates has shape ", dims_text(*got), "; indices and data ask for ",
                        dims_text(*expected)));
      }
    }
  }
  same_as_first(ctx);
}

// How many a condition of `length` entries can select of `extent`.
Dim selected(InferContext& ctx, const Dim& extent, const Dim& length) {
  if (!extent.known() || !length.known()) return {};
  if (length.value() > extent.value()) {
    ctx.fail(
        concat("condition has ", length.value(), " entries for an extent of ", extent.value()));
  }
  return ctx.at_most(length);
}

void compress(InferContext& ctx) {
  if (!ctx.has_shape(0)) {
    return set_like_first(ctx, ctx.has_attr("axis") ? std::nullopt : std::optional(Shape(1)));
  }
  Shape out = *ctx.shape(0);
  expect_rank(ctx, 1, 1, "condition");
  const Dim condition = ctx.has_shape(1) ? ctx.shape(1)->front() : Dim();
  if (!ctx.has_attr("axis"))
    return set_like_first(ctx, Shape{selected(ctx, product(out), condition)});
  const auto axis =
      static_cast<size_t>(axis_in(ctx, ctx.attr_int("axis"), static_cast<int64_t>(out.size())));
  out[axis] = selected(ctx, out[axis], condition);
  set_like_first(ctx, out);
}

void one_hot(InferContext& ctx) {
  const DType dtype = ctx.dtype(2);
  if (ctx.has_shape(2)) {
    const auto values = concrete(*ctx.shape(2));
    if (values && *values != Dims{2}) {
      ctx.fail(concat("values has shape ", dims_text(*values), "; expected [2]"));
    }
  }
  if (!ctx.has_shape(0)) return ctx.set(0, dtype);
  Shape out = *ctx.shape(0);
  const auto rank = static_cast<int64_t>(out.size()) + 1;
  Dim depth;
  if (const auto known = ctx.elements(1); known && known->size() == 1) {
    depth = known->front();
  } else if (const auto number = numbers(ctx, 1); number && number->size() == 1) {
    depth = static_cast<int64_t>(number->front());
  }
  if (depth.known() && depth.value() < 0) ctx.fail(concat("depth is ", depth.value()));
  out.insert(out.begin() + axis_in(ctx, ctx.attr_int("axis", -1), rank), depth);
  ctx.set(0, dtype, out);
}

void tensor_scatter(InferContext& ctx) {
  if (ctx.has_shape(0)) {
    const Shape cache = *ctx.shape(0);
    const auto rank = static_cast<int64_t>(cache.size());
    const int64_t axis = axis_in(ctx, ctx.attr_int("axis", -2), rank);
    if (axis == 0) ctx.fail("axis is the batch axis; expected a later one");
    expect_rank(ctx, 1, cache.size(), "update");
    for (int64_t i = 0; ctx.has_shape(1) && i < rank; ++i) {
      const Dim &a = cache[static_cast<size_t>(i)], &b = (*ctx.shape(1))[static_cast<size_t>(i)];
      if (!a.known() || !b.known()) continue;
      if (i == axis ? b.value() > a.value() : !a.same(b)) {
        ctx.fail(concat("update of shape ", shape_text(*ctx.shape(1)),
                        " does not fit into a cache of shape ", shape_text(cache)));
      }
    }
    const auto writes = ctx.has_input(2) ? list_length(ctx, 2) : std::nullopt;
    if (writes && cache[0].known() && *writes != cache[0].value()) {
      ctx.fail(concat("write_indices has ", *writes, " entries, the batch ", cache[0].value()));
    }
  }
  same_as_first(ctx);
}

}  // namespace

OpList gather_scatter_ops() {
  return {
      {.name = "Gather",
       .since = 13,
       .inputs = {{"data", "T"}, {"indices", "Tind"}},
       .outputs = {{"output", "T"}},
       .types = {{"T", kStandardTensors}, {"Tind", "int32 int64"}},
       .attributes = {{"axis", AttrDef::Int, false, int64_t{0}}},
       .shape = gather},
      {.name = "GatherElements",
       .since = 13,
       .inputs = {{"data", "T"}, {"indices", "Tind"}},
       .outputs = {{"output", "T"}},
       .types = {{"T", kStandardTensors}, {"Tind", "int32 int64"}},
       .attributes = {{"axis", AttrDef::Int, false, int64_t{0}}},
       .shape = gather_elements},
      {.name = "GatherND",
       .since = 13,
       .inputs = {{"data", "T"}, {"indices", "tensor(int64)"}},
       .outputs = {{"output", "T"}},
       .types = {{"T", kStandardTensors}},
       .attributes = {{"batch_dims", AttrDef::Int, false, int64_t{0}}},
       .shape = gather_nd},
      {.name = "ScatterElements",
       .since = 18,
       .inputs = {{"data", "T"}, {"indices", "Tind"}, {"updates", "T"}},
       .outputs = {{"output", "T"}},
       .types = {{"T", kStandardTensors}, {"Tind", "int32 int64"}},
       .attributes = {{"reduction", AttrDef::String, false, std::string("none")},
                      {"axis", AttrDef::Int, false, int64_t{0}}},
       .shape = scatter_elements},
      {.name = "ScatterND",
       .since = 18,
       .inputs = {{"data", "T"}, {"indices", "tensor(int64)"}, {"updates", "T"}},
       .outputs = {{"output", "T"}},
       .types = {{"T", kStandardTensors}},
       .attributes = {{"reduction", AttrDef::String, false, std::string("none")}},
       .shape = scatter_nd},
      {.name = "Compress",
       .since = 28,
       .inputs = {{"input", "T"}, {"condition", "T1"}},
       .outputs = {{"output", "T"}},
       .types = {{"T", kStandardTensors}, {"T1", "bool"}},
       .attributes = {{"axis", AttrDef::Int}},
       .shape = compress,
       .facts = kDataDependent},
      {.name = "OneHot",
       .since = 28,
       .inputs = {{"indices", "T1"}, {"depth", "T2"}, {"values", "T3"}},
       .outputs = {{"output", "T3"}},
       .types = {{"T1", "float double float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64"},
                 {"T2", "float double float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64"},
                 {"T3", kStandardTensors}},
       .attributes = {{"axis", AttrDef::Int, false, int64_t{-1}}},
       .shape = one_hot,
       .value_inputs = {1}},
      {.name = "TensorScatter",
       .since = 24,
       .inputs = {{"past_cache", "T"},
                  {"update", "T"},
                  {"write_indices", "tensor(int64)", Param::Optional}},
       .outputs = {{"present_cache", "T"}},
       .types = {{"T",
                  "float double float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 "
                  "bool string complex64 complex128 float4e2m1 float8e4m3fn float8e4m3fnuz "
                  "float8e5m2 float8e5m2fnuz float8e8m0 int4 uint4"}},
       .attributes = {{"mode", AttrDef::String, false, std::string("linear")},
                      {"axis", AttrDef::Int, false, int64_t{-2}}},
       .shape = tensor_scatter},
  };
}

}  // namespace tiercel
