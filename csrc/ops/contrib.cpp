// Operators of com.microsoft that ONNX Runtime's tools put into models.
#include "ops/families.h"
#include "ops/infer_values.h"
#include "ops/op_def.h"

namespace tiercel {

namespace {

constexpr std::string_view kIndices = "int32 int64";

// These nodes become others at load; until then the element type is all that is needed of them.
void type_of_first(InferContext& ctx) {
  for (int i = 0; i < ctx.output_count(); ++i) {
    if (ctx.has_output(i)) ctx.set(i, ctx.dtype(0));
  }
}

void embed_layer_norm(InferContext& ctx) {
  const DType dtype = ctx.dtype(2);
  std::optional<Shape> shape;
  if (ctx.has_shape(0) && ctx.has_shape(2)) {
    shape = ctx.shape(0);
    shape->push_back(ctx.shape(2)->back());
  }
  if (ctx.has_output(0)) ctx.set(0, dtype, shape);
  if (ctx.has_output(1)) ctx.set(1, DType::Int32);
  if (ctx.has_output(2)) ctx.set(2, dtype, shape);
}

void skip_norm(InferContext& ctx) {
  if (ctx.has_output(0)) ctx.set(0, ctx.dtype(0), ctx.shape(0));
  for (int i = 1; i < 3; ++i) {
    if (ctx.has_output(i)) ctx.set(i, DType::Float);
  }
  if (ctx.has_output(3)) ctx.set(3, ctx.dtype(0), ctx.shape(0));
}

void mat_mul_n_bits(InferContext& ctx) {
  std::optional<Shape> shape = ctx.shape(0);
  if (shape && !shape->empty()) shape->back() = ctx.attr_int("N");
  ctx.set(0, ctx.dtype(0), shape);
}

void tokenizer(InferContext& ctx) {
  std::optional<Shape> shape = ctx.shape(0);
  if (shape) shape->push_back(Dim());
  ctx.set(0, DType::String, shape);
}

// values, first indices, counts
void unique_elements(InferContext& ctx) {
  ctx.set(0, ctx.dtype(0), Shape{Dim()});
  if (ctx.has_output(1)) ctx.set(1, DType::Int64, Shape{Dim()});
  if (ctx.has_output(2)) ctx.set(2, DType::Int64, Shape{Dim()});
}

void inverse(InferContext& ctx) {
  const auto& shape = ctx.shape(0);
  if (shape && shape->size() < 2) ctx.fail("X has fewer than 2 axes; expected square matrices");
  const size_t n = shape ? shape->size() : 0;
  if (shape && (*shape)[n - 1].known() && (*shape)[n - 2].known() &&
      !(*shape)[n - 1].same((*shape)[n - 2])) {
    ctx.fail(concat("X has shape ", shape_text(*shape), "; expected square matrices"));
  }
  ctx.set(0, ctx.dtype(0), shape);
}

void group_query(InferContext& ctx) {
  if (ctx.has_output(0)) ctx.set(0, ctx.dtype(0), ctx.has_input(1) ? ctx.shape(0) : std::nullopt);
  for (int i = 1; i < ctx.output_count(); ++i) {
    if (ctx.has_output(i)) ctx.set(i, ctx.dtype(0));
  }
}

OpDef row(std::string_view name, std::vector<Param> inputs, std::vector<Param> outputs,
          std::vector<AttrDef> attributes, ShapeFn shape) {
  return {.domain = "com.microsoft",
          .name = name,
          .inputs = std::move(inputs),
          .outputs = std::move(outputs),
          .types = {{"T", kFloats}, {"M", kIndices}},
          .attributes = std::move(attributes),
          .shape = shape};
}

const AttrDef kEpsilon = {"epsilon", AttrDef::Float, false, 1e-12};

void add_norm_ops(OpList& ops) {
  ops.push_back(row(
      "SkipLayerNormalization",
      {{"input", "T"}, {"skip", "T"}, {"gamma", "T"}, optional("beta", "T"), optional("bias", "T")},
      {{"output", "T"},
       optional("mean", "tensor(float)"),
       optional("inv_std_var", "tensor(float)"),
       optional("input_skip_bias_sum", "T")},
      {kEpsilon}, skip_norm));
  ops.push_back(row("SkipSimplifiedLayerNormalization",
                    {{"input", "T"}, {"skip", "T"}, {"gamma", "T"}, optional("bias", "T")},
                    {{"output", "T"},
                     optional("mean", "tensor(float)"),
                     optional("inv_std_var", "tensor(float)"),
                     optional("input_skip_bias_sum", "T")},
                    {kEpsilon}, skip_norm));
  ops.push_back(row(
      "EmbedLayerNormalization",
      {{"input_ids", "tensor(int32)"},
       optional("segment_ids", "tensor(int32)"),
       {"word_embedding", "T"},
       {"position_embedding", "T"},
       optional("segment_embedding", "T"),
       {"gamma", "T"},
       {"beta", "T"},
       optional("mask", "tensor(int32)"),
       optional("position_ids", "tensor(int32)")},
      {{"output", "T"}, optional("mask_index", "tensor(int32)"), optional("embedding_sum", "T")},
      {kEpsilon, {"mask_index_type", AttrDef::Int, false, int64_t{0}}}, embed_layer_norm));
}

void add_attention_ops(OpList& ops) {
  ops.push_back(row("MultiHeadAttention",
                    {{"query", "T"},
                     optional("key", "T"),
                     optional("value", "T"),
                     optional("bias", "T"),
                     optional("key_padding_mask", "tensor(int32)"),
                     optional("attention_bias", "T"),
                     optional("past_key", "T"),
                     optional("past_value", "T")},
                    {{"output", "T"}, optional("present_key", "T"), optional("present_value", "T")},
                    {{"num_heads", AttrDef::Int, true},
                     {"scale", AttrDef::Float},
                     {"mask_filter_value", AttrDef::Float, false, -10000.0},
                     {"unidirectional", AttrDef::Int, false, int64_t{0}}},
                    type_of_first));
  ops.push_back(row("Attention",
                    {{"input", "T"},
                     {"weights", "T"},
                     optional("bias", "T"),
                     optional("mask_index", "tensor(int32)"),
                     optional("past", "T"),
                     optional("attention_bias", "T")},
                    {{"output", "T"}, optional("present", "T")},
                    {{"num_heads", AttrDef::Int, true},
                     {"scale", AttrDef::Float},
                     {"mask_filter_value", AttrDef::Float, false, -10000.0},
                     {"qkv_hidden_sizes", AttrDef::Ints},
                     {"unidirectional", AttrDef::Int, false, int64_t{0}}},
                    type_of_first));
  ops.push_back(row("GroupQueryAttention",
                    {{"query", "T"},
                     optional("key", "T"),
                     optional("value", "T"),
                     optional("past_key", "T"),
                     optional("past_value", "T"),
                     {"seqlens_k", "tensor(int32)"},
                     {"total_sequence_length", "tensor(int32)"},
                     optional("cos_cache", "T"),
                     optional("sin_cache", "T")},
                    {{"output", "T"}, optional("present_key", "T"), optional("present_value", "T")},
                    {{"num_heads", AttrDef::Int, true},
                     {"kv_num_heads", AttrDef::Int, true},
                     {"scale", AttrDef::Float},
                     {"softcap", AttrDef::Float, false, 0.0},
                     {"do_rotary", AttrDef::Int, false, int64_t{0}},
                     {"rotary_interleaved", AttrDef::Int, false, int64_t{0}},
                     {"local_window_size", AttrDef::Int, false, int64_t{-1}}},
                    group_query));
  ops.push_back(row(
      "RotaryEmbedding",
      {{"input", "T"}, {"position_ids", "tensor(int64)"}, {"cos_cache", "T"}, {"sin_cache", "T"}},
      {{"output", "T"}},
      {{"interleaved", AttrDef::Int, false, int64_t{0}},
       {"num_heads", AttrDef::Int, false, int64_t{0}},
       {"rotary_embedding_dim", AttrDef::Int, false, int64_t{0}},
       {"is_packed_batching", AttrDef::Int, false, int64_t{0}},
       {"scale", AttrDef::Float, false, 1.0}},
      same_as_first));
}

void add_matrix_ops(OpList& ops) {
  ops.push_back(row("FusedMatMul", {{"A", "T"}, {"B", "T"}}, {{"Y", "T"}},
                    {{"alpha", AttrDef::Float, false, 1.0},
                     {"transA", AttrDef::Int, false, int64_t{0}},
                     {"transB", AttrDef::Int, false, int64_t{0}},
                     {"transBatchA", AttrDef::Int, false, int64_t{0}},
                     {"transBatchB", AttrDef::Int, false, int64_t{0}}},
                    type_of_first));
  ops.push_back(row("FusedGemm", {{"A", "T"}, {"B", "T"}, optional("C", "T")}, {{"Y", "T"}},
                    {{"alpha", AttrDef::Float, false, 1.0},
                     {"beta", AttrDef::Float, false, 1.0},
                     {"transA", AttrDef::Int, false, int64_t{0}},
                     {"transB", AttrDef::Int, false, int64_t{0}},
                     {"activation", AttrDef::String},
                     {"activation_alpha", AttrDef::Float},
                     {"activation_beta", AttrDef::Float},
                     {"activation_gamma", AttrDef::Float}},
                    type_of_first));
  ops.push_back(row("FusedConv", {{"X", "T"}, {"W", "T"}, optional("B", "T"), optional("Z", "T")},
                    {{"Y", "T"}},
                    {{"auto_pad", AttrDef::String, false, std::string("NOTSET")},
                     {"dilations", AttrDef::Ints},
                     {"group", AttrDef::Int, false, int64_t{1}},
                     {"kernel_shape", AttrDef::Ints},
                     {"pads", AttrDef::Ints},
                     {"strides", AttrDef::Ints},
                     {"activation", AttrDef::String},
                     {"activation_params", AttrDef::Floats}},
                    type_of_first));
  ops.push_back(row("MatMulNBits",
                    {{"A", "T"},
                     {"B", "tensor(uint8)"},
                     {"scales", "T"},
                     optional("zero_points", "Z"),
                     optional("g_idx", "tensor(int32)"),
                     optional("bias", "T")},
                    {{"Y", "T"}},
                    {{"K", AttrDef::Int, true},
                     {"N", AttrDef::Int, true},
                     {"bits", AttrDef::Int, false, int64_t{4}},
                     {"block_size", AttrDef::Int, true},
                     {"accuracy_level", AttrDef::Int, false, int64_t{0}}},
                    mat_mul_n_bits));
  ops.back().types.push_back({"Z", "uint8 float float16 bfloat16"});
  ops.push_back(row("Inverse", {{"X", "T"}}, {{"Y", "T"}}, {}, inverse));
  ops.push_back(row("CDist", {{"A", "T"}, {"B", "T"}}, {{"C", "T"}},
                    {{"metric", AttrDef::String, false, std::string("sqeuclidean")}},
                    type_of_first));
}

}  // namespace

OpList contrib_ops() {
  OpList ops;
  ops.push_back(row("Gelu", {{"X", "T"}}, {{"Y", "T"}}, {}, same_as_first));
  ops.push_back(
      row("FastGelu", {{"X", "T"}, optional("bias", "T")}, {{"Y", "T"}}, {}, same_as_first));
  ops.push_back(row("BiasGelu", {{"A", "T"}, {"B", "T"}}, {{"C", "T"}}, {}, same_as_first));
  ops.push_back(row("QuickGelu", {{"X", "T"}}, {{"Y", "T"}},
                    {{"alpha", AttrDef::Float, false, 1.702}}, same_as_first));
  add_norm_ops(ops);
  add_attention_ops(ops);
  add_matrix_ops(ops);
  ops.push_back({.domain = "",
                 .name = "SimplifiedLayerNormalization",
                 .inputs = {{"X", "T"}, {"scale", "V"}},
                 .outputs = {{"Y", "V"}, optional("inv_std_var", "U")},
                 .types = {{"T", kFloats}, {"V", kFloats}, {"U", "float double"}},
                 .attributes = {{"axis", AttrDef::Int, false, int64_t{-1}},
                                {"epsilon", AttrDef::Float, false, 1e-5},
                                {"stash_type", AttrDef::Int, false, int64_t{1}}},
                 .shape = type_of_first});
  ops.push_back({.domain = "com.microsoft",
                 .name = "Trilu",
                 .inputs = {{"X", "T"}, optional("k", "tensor(int64)")},
                 .outputs = {{"Y", "T"}},
                 .types = {{"T", "float double float16 bfloat16 int64 bool"}},
                 .attributes = {{"upper", AttrDef::Int, false, int64_t{1}}},
                 .shape = same_as_first});
  ops.push_back({.domain = "com.microsoft",
                 .name = "Unique",
                 .inputs = {{"x", "T"}},
                 .outputs = {{"y", "T"}, {"idx", "tensor(int64)"}, {"counts", "tensor(int64)"}},
                 .types = {{"T", "float double int32 int64"}},
                 .shape = unique_elements,
                 .facts = kDataDependent});
  ops.push_back({.domain = "com.microsoft",
                 .name = "Tokenizer",
                 .inputs = {{"X", "T"}},
                 .outputs = {{"Y", "T"}},
                 .types = {{"T", "string"}},
                 .attributes = {{"mark", AttrDef::Int, true},
                                {"mincharnum", AttrDef::Int, true},
                                {"pad_value", AttrDef::String, true},
                                {"separators", AttrDef::Strings},
                                {"tokenexp", AttrDef::String}},
                 .shape = tokenizer,
                 .facts = kDataDependent});
  return ops;
}

}  // namespace tiercel
