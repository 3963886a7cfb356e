// Operators on text.
#include <algorithm>

#include "ops/families.h"
#include "ops/op_def.h"

namespace tiercel {
namespace {

void string_normalizer(InferContext& ctx) {
  const std::string action = ctx.attr_string("case_change_action", "NONE");
  if (action != "NONE" && action != "LOWER" && action != "UPPER") {
    ctx.fail(concat("case_change_action is \"", action, "\"; expected NONE, LOWER or UPPER"));
  }
  if (!ctx.has_shape(0)) return ctx.set(0, DType::String);
  const Shape& shape = *ctx.shape(0);
  const bool row = shape.size() == 2 && (!shape[0].known() || shape[0].value() == 1);
  if (shape.size() != 1 && !row) {
    ctx.fail(concat("X has shape ", shape_text(shape), "; expected [C] or [1, C]"));
  }
  const auto* stopwords = ctx.node().attributes.get<std::vector<std::string>>("stopwords");
  Shape out = shape;
  if (stopwords && !stopwords->empty()) out.back() = Dim();
  ctx.set(0, DType::String, out);
}

void string_concat(InferContext& ctx) {
  if (!ctx.has_shape(0) || !ctx.has_shape(1)) return ctx.set(0, DType::String);
  ctx.set(0, DType::String, broadcast(*ctx.shape(0), *ctx.shape(1)));
}

void string_split(InferContext& ctx) {
  std::optional<Shape> parts = ctx.shape(0);
  if (parts) parts->push_back(Dim());
  if (ctx.has_output(0)) ctx.set(0, DType::String, parts);
  if (ctx.has_output(1)) ctx.set(1, DType::Int64, ctx.shape(0));
}

void regex_full_match(InferContext& ctx) { ctx.set(0, DType::Bool, ctx.shape(0)); }

// The vector is as long as the largest index.
void tf_idf_vectorizer(InferContext& ctx) {
  const auto indexes = ctx.attr_ints("ngram_indexes");
  if (!indexes || indexes->empty()) ctx.fail("ngram_indexes is empty");
  int64_t length = 0;
  for (int64_t index : *indexes) {
    if (index < 0) ctx.fail(concat("ngram_indexes holds ", index, "; expected no negative index"));
    length = std::max(length, index + 1);
  }
  if (!ctx.has_shape(0)) return ctx.set(0, DType::Float);
  const size_t rank = ctx.shape(0)->size();
  if (rank > 2) ctx.fail(concat("X has rank ", rank, "; expected 1 or 2"));
  if (rank == 2) return ctx.set(0, DType::Float, Shape{(*ctx.shape(0))[0], length});
  ctx.set(0, DType::Float, Shape{length});
}

}  // namespace

OpList string_ops() {
  return {
      {.name = "StringNormalizer",
       .since = 10,
       .inputs = {{"X", "tensor(string)"}},
       .outputs = {{"Y", "tensor(string)"}},
       .attributes = {{"case_change_action", AttrDef::String, false, std::string("NONE")},
                      {"is_case_sensitive", AttrDef::Int, false, int64_t{0}},
                      {"locale", AttrDef::String},
                      {"stopwords", AttrDef::Strings}},
       .shape = string_normalizer,
       .facts = kDataDependent},
      {.name = "StringConcat",
       .since = 20,
       .inputs = {{"X", "T"}, {"Y", "T"}},
       .outputs = {{"Z", "T"}},
       .types = {{"T", "string"}},
       .shape = string_concat},
      {.name = "StringSplit",
       .since = 20,
       .inputs = {{"X", "T1"}},
       .outputs = {{"Y", "T2"}, {"Z", "T3"}},
       .types = {{"T1", "string"}, {"T2", "string"}, {"T3", "int64"}},
       .attributes = {{"delimiter", AttrDef::String}, {"maxsplit", AttrDef::Int}},
       .shape = string_split,
       .facts = kDataDependent},
      {.name = "RegexFullMatch",
       .since = 20,
       .inputs = {{"X", "T1"}},
       .outputs = {{"Y", "T2"}},
       .types = {{"T1", "string"}, {"T2", "bool"}},
       .attributes = {{"pattern", AttrDef::String}},
       .shape = regex_full_match},
      {.name = "TfIdfVectorizer",
       .since = 9,
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "T1"}},
       .types = {{"T", "int32 int64 string"}, {"T1", "float"}},
       .attributes = {{"max_gram_length", AttrDef::Int, true},
                      {"max_skip_count", AttrDef::Int, true},
                      {"min_gram_length", AttrDef::Int, true},
                      {"mode", AttrDef::String, true},
                      {"ngram_counts", AttrDef::Ints, true},
                      {"ngram_indexes", AttrDef::Ints, true},
                      {"pool_int64s", AttrDef::Ints},
                      {"pool_strings", AttrDef::Strings},
                      {"weights", AttrDef::Floats}},
       .shape = tf_idf_vectorizer},
  };
}

}  // namespace tiercel
