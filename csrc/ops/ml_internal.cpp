// What expansions of machine-learning operators are made of: trees' scores and labels from scores.
#include "ops/families.h"
#include "ops/op_def.h"

namespace tiercel {

namespace {

void tree_scores(InferContext& ctx) {
  const auto& x = ctx.shape(0);
  if (x && x->size() != 2) ctx.fail(concat("X has rank ", x->size(), "; expected [N, C]"));
  ctx.set(0, ctx.dtype(0), Shape{x ? (*x)[0] : Dim(), ctx.attr_int("n_targets", 1)});
}

void class_scores(InferContext& ctx) {
  const auto& scores = ctx.shape(0);
  if (scores && scores->size() != 2) {
    ctx.fail(concat("scores have rank ", scores->size(), "; expected [N, classes]"));
  }
  const bool text = ctx.has_attr("classlabels_strings");
  const Dim rows = scores ? (*scores)[0] : Dim();
  const bool pair = ctx.attr_string("rule", "argmax") == "pair";
  if (ctx.has_output(0)) ctx.set(0, text ? DType::String : DType::Int64, Shape{rows});
  if (!ctx.has_output(1)) return;
  ctx.set(1, DType::Float, Shape{rows, pair ? Dim(2) : scores ? (*scores)[1] : Dim()});
}

}  // namespace

OpList ml_internal_ops() {
  return {
      {.domain = "tiercel",
       .name = "TreeEnsembleScores",
       .inputs = {{"X", "T"},
                  {"values", "T"},
                  {"links", "tensor(int32)"},
                  {"roots", "tensor(int32)"},
                  {"targets", "tensor(int32)"},
                  {"weights", "T"},
                  {"base", "T"}},
       .outputs = {{"scores", "T"}},
       .types = {{"T", "float double"}},
       .attributes = {{"aggregate_function", AttrDef::String, false, std::string("SUM")},
                      {"n_targets", AttrDef::Int, true},
                      {"max_feature", AttrDef::Int, true},
                      {"mode", AttrDef::Int, true},
                      {"reach", AttrDef::Int, true},
                      {"direct", AttrDef::Int, true},
                      {"missing", AttrDef::Int, true}},
       .shape = tree_scores},
      {.domain = "tiercel",
       .name = "ClassScores",
       .inputs = {{"scores", "tensor(float)"}},
       .outputs = {{"Y", "T"}, {"Z", "tensor(float)"}},
       .types = {{"T", "int64 string"}},
       .attributes = {{"classlabels_int64s", AttrDef::Ints},
                      {"classlabels_strings", AttrDef::Strings},
                      {"post_transform", AttrDef::String, false, std::string("NONE")},
                      {"rule", AttrDef::String, false, std::string("argmax")},
                      {"column", AttrDef::Int, false, int64_t{0}},
                      {"threshold", AttrDef::Float, false, 0.0},
                      {"complement", AttrDef::Int, false, int64_t{0}}},
       .shape = class_scores},
      {.domain = "tiercel",
       .name = "PostTransform",
       .inputs = {{"scores", "tensor(float)"}},
       .outputs = {{"Z", "tensor(float)"}},
       .attributes = {{"post_transform", AttrDef::String, false, std::string("NONE")}},
       .shape = same_as_first},
  };
}

}  // namespace tiercel
