// Softmax, its relatives and the losses made of it.
#include "ops/expect.h"
#include "ops/families.h"
#include "ops/infer_values.h"

namespace tiercel {
namespace {

// The loss has the shape of the targets, or is a scalar when it is reduced.
std::optional<Shape> loss_shape(InferContext& ctx) {
  if (ctx.attr_string("reduction", "mean") != "none") return Shape{};
  return ctx.shape(1);
}

// Scores [batch, classes, d1 …], targets [batch, d1 …], weights [classes].
void loss(InferContext& ctx) {
  if (ctx.has_shape(0)) {
    const Shape& scores = *ctx.shape(0);
    if (scores.size() < 2) {
      ctx.fail(concat("scores have shape ", shape_text(scores), "; expected rank 2 or more"));
    }
    Shape targets = scores;
    targets.erase(targets.begin() + 1);
    expect_shape(ctx, 1, targets);
    expect_vectors(ctx, {2}, scores[1]);
  }
  ctx.set(0, ctx.dtype(0), loss_shape(ctx));
}

void cross_entropy(InferContext& ctx) {
  loss(ctx);
  if (ctx.has_output(1)) ctx.set(1, ctx.dtype(0), ctx.shape(0));
}

void along_axis(InferContext& ctx) {
  if (ctx.has_shape(0) && !ctx.shape(0)->empty()) {
    axis_in(ctx, ctx.attr_int("axis", -1), static_cast<int64_t>(ctx.shape(0)->size()));
  }
  same_as_first(ctx);
}

}  // namespace

OpList softmax_ops() {
  return {
      {.name = "Softmax",
       .since = 13,
       .inputs = {{"input", "T"}},
       .outputs = {{"output", "T"}},
       .types = {{"T", "float double float16 bfloat16"}},
       .attributes = {{"axis", AttrDef::Int, false, int64_t{-1}}},
       .shape = along_axis},
      {.name = "LogSoftmax",
       .since = 13,
       .inputs = {{"input", "T"}},
       .outputs = {{"output", "T"}},
       .types = {{"T", "float double float16 bfloat16"}},
       .attributes = {{"axis", AttrDef::Int, false, int64_t{-1}}},
       .shape = along_axis},
      {.name = "Hardmax",
       .since = 13,
       .inputs = {{"input", "T"}},
       .outputs = {{"output", "T"}},
       .types = {{"T", "float double float16 bfloat16"}},
       .attributes = {{"axis", AttrDef::Int, false, int64_t{-1}}},
       .shape = along_axis},
      {.name = "NegativeLogLikelihoodLoss",
       .since = 22,
       .inputs = {{"input", "T"}, {"target", "Tind"}, {"weight", "T", Param::Optional}},
       .outputs = {{"loss", "T"}},
       .types = {{"T", "float double float16 bfloat16"}, {"Tind", "int32 int64"}},
       .attributes = {{"ignore_index", AttrDef::Int},
                      {"reduction", AttrDef::String, false, std::string("mean")}},
       .shape = loss},
      {.name = "SoftmaxCrossEntropyLoss",
       .since = 13,
       .inputs = {{"scores", "T"}, {"labels", "Tind"}, {"weights", "T", Param::Optional}},
       .outputs = {{"output", "T"}, {"log_prob", "T", Param::Optional}},
       .types = {{"T", "float double float16 bfloat16"}, {"Tind", "int32 int64"}},
       .attributes = {{"ignore_index", AttrDef::Int},
                      {"reduction", AttrDef::String, false, std::string("mean")}},
       .shape = cross_entropy},
  };
}

}  // namespace tiercel
