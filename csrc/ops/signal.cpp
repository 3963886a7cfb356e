// Fourier transforms, windows and mel filters.
#include "ops/families.h"
#include "ops/infer_values.h"
#include "ops/op_def.h"

namespace tiercel {
namespace {

DType output_dtype(InferContext& ctx) {
  const int64_t number = ctx.attr_int("output_datatype", 1);
  if (!dtype_is_valid(number)) ctx.fail(concat("output_datatype ", number, " is no element type"));
  return static_cast<DType>(number);
}

std::optional<int64_t> number(InferContext& ctx, int input) {
  if (!ctx.has_input(input)) return std::nullopt;
  const auto known = ctx.integers(input);
  if (!known || known->size() != 1) return std::nullopt;
  return known->front();
}

Dim size_of(InferContext& ctx, int input, const char* name) {
  const auto known = number(ctx, input);
  if (!known) return {};
  if (*known < 0) ctx.fail(concat(name, " is ", *known, "; expected 0 or more"));
  return *known;
}

void window(InferContext& ctx) { ctx.set(0, output_dtype(ctx), Shape{size_of(ctx, 0, "size")}); }

void mel_weight_matrix(InferContext& ctx) {
  const Dim bins = size_of(ctx, 0, "num_mel_bins");
  const Dim length = size_of(ctx, 1, "dft_length");
  const Dim spectrum = length.known() ? Dim(length.value() / 2 + 1) : Dim();
  ctx.set(0, output_dtype(ctx), Shape{spectrum, bins});
}

// The last axis holds 1 (real) or 2 (complex) numbers.
void dft(InferContext& ctx) {
  const DType dtype = ctx.dtype(0);
  if (!ctx.has_shape(0)) return ctx.set(0, dtype);
  Shape shape = *ctx.shape(0);
  const auto rank = static_cast<int64_t>(shape.size());
  if (rank < 2) ctx.fail(concat("input has rank ", rank, "; expected 2 or more"));
  const bool onesided = ctx.attr_int("onesided") != 0;
  const bool inverse = ctx.attr_int("inverse") != 0;
  const std::optional<int64_t> given =
      ctx.has_input(2) ? number(ctx, 2) : std::optional(int64_t{-2});
  if (!given) return ctx.set(0, dtype, Shape(shape.size()));
  const int64_t axis = *given < 0 ? *given + rank : *given;
  if (axis < 0 || axis >= rank - 1) {
    ctx.fail(concat("axis ", *given, " is outside the signal axes of rank ", rank));
  }
  Dim& along = shape[static_cast<size_t>(axis)];
  if (ctx.has_input(1))
    along = size_of(ctx, 1, "dft_length");
  else if (onesided && inverse)
    along = (along - Dim(1)) * Dim(2);
  if (onesided && !inverse) along = floor_div(along, Dim(2)) + Dim(1);
  shape.back() = onesided && inverse ? Dim(1) : Dim(2);
  ctx.set(0, dtype, shape);
}

void stft(InferContext& ctx) {
  const DType dtype = ctx.dtype(0);
  if (!ctx.has_shape(0)) return ctx.set(0, dtype);
  const Shape& signal = *ctx.shape(0);
  if (signal.size() < 2 || signal.size() > 3) {
    ctx.fail(concat("signal has rank ", signal.size(), "; expected [batch, length, 1 or 2]"));
  }
  Dim length;
  if (ctx.has_input(3)) {
    length = size_of(ctx, 3, "frame_length");
  } else if (ctx.has_shape(2) && ctx.shape(2)->size() == 1) {
    length = ctx.shape(2)->front();
  }
  const Dim step = size_of(ctx, 1, "frame_step");
  if (step.known() && step.value() < 1) ctx.fail("frame_step is 0; expected 1 or more");
  Dim frames;
  if (signal[1].known() && length.known() && step.known()) {
    if (signal[1].value() < length.value()) {
      ctx.fail(
          concat("a frame has ", length.value(), " samples, the signal only ", signal[1].value()));
    }
    frames = (signal[1].value() - length.value()) / step.value() + 1;
  }
  Dim bins = length;
  if (ctx.attr_int("onesided", 1) != 0) bins = floor_div(length, Dim(2)) + Dim(1);
  ctx.set(0, dtype, Shape{signal[0], frames, bins, 2});
}

}  // namespace

OpList signal_ops() {
  return {
      {.name = "HannWindow",
       .since = 17,
       .inputs = {{"size", "T1"}},
       .outputs = {{"output", "T2"}},
       .types = {{"T1", "int32 int64"}, {"T2", kNumbers}},
       .attributes = {{"output_datatype", AttrDef::Int, false, int64_t{1}},
                      {"periodic", AttrDef::Int, false, int64_t{1}}},
       .shape = window,
       .value_inputs = {0}},
      {.name = "HammingWindow",
       .since = 17,
       .inputs = {{"size", "T1"}},
       .outputs = {{"output", "T2"}},
       .types = {{"T1", "int32 int64"}, {"T2", kNumbers}},
       .attributes = {{"output_datatype", AttrDef::Int, false, int64_t{1}},
                      {"periodic", AttrDef::Int, false, int64_t{1}}},
       .shape = window,
       .value_inputs = {0}},
      {.name = "BlackmanWindow",
       .since = 17,
       .inputs = {{"size", "T1"}},
       .outputs = {{"output", "T2"}},
       .types = {{"T1", "int32 int64"}, {"T2", kNumbers}},
       .attributes = {{"output_datatype", AttrDef::Int, false, int64_t{1}},
                      {"periodic", AttrDef::Int, false, int64_t{1}}},
       .shape = window,
       .value_inputs = {0}},
      {.name = "MelWeightMatrix",
       .since = 17,
       .inputs = {{"num_mel_bins", "T1"},
                  {"dft_length", "T1"},
                  {"sample_rate", "T1"},
                  {"lower_edge_hertz", "T2"},
                  {"upper_edge_hertz", "T2"}},
       .outputs = {{"output", "T3"}},
       .types = {{"T1", "int32 int64"}, {"T2", "float double float16 bfloat16"}, {"T3", kNumbers}},
       .attributes = {{"output_datatype", AttrDef::Int, false, int64_t{1}}},
       .shape = mel_weight_matrix,
       .value_inputs = {0, 1}},
      {.name = "DFT",
       .since = 20,
       .inputs = {{"input", "T1"},
                  {"dft_length", "T2", Param::Optional},
                  {"axis", "tensor(int64)", Param::Optional}},
       .outputs = {{"output", "T1"}},
       .types = {{"T1", "float double float16 bfloat16"}, {"T2", "int32 int64"}},
       .attributes = {{"inverse", AttrDef::Int, false, int64_t{0}},
                      {"onesided", AttrDef::Int, false, int64_t{0}}},
       .shape = dft,
       .value_inputs = {1, 2}},
      {.name = "STFT",
       .since = 17,
       .inputs = {{"signal", "T1"},
                  {"frame_step", "T2"},
                  {"window", "T1", Param::Optional},
                  {"frame_length", "T2", Param::Optional}},
       .outputs = {{"output", "T1"}},
       .types = {{"T1", "float double float16 bfloat16"}, {"T2", "int32 int64"}},
       .attributes = {{"onesided", AttrDef::Int, false, int64_t{1}}},
       .shape = stft,
       .value_inputs = {1, 3}},
  };
}

}  // namespace tiercel
