// Classical machine learning: ai.onnx.ml.
#include "ops/families.h"
#include "ops/op_def.h"

namespace tiercel {

namespace {

constexpr std::string_view kMaps =
    "map(int64,double) map(int64,float) map(int64,string) map(string,double) map(string,float) "
    "map(string,int64)";

// The extent of an axis of input 0, counted from the front; unknown where the rank is.
Dim extent(InferContext& ctx, size_t axis) {
  if (!ctx.has_shape(0) || ctx.shape(0)->size() <= axis) return {};
  return (*ctx.shape(0))[axis];
}

// [C] is one row of C features.
Dim rows(InferContext& ctx) {
  if (!ctx.has_shape(0)) return {};
  if (ctx.shape(0)->size() == 1) return 1;
  if (ctx.shape(0)->size() != 2) {
    ctx.fail(concat("X has rank ", ctx.shape(0)->size(), "; expected [N, C] or [C]"));
  }
  return extent(ctx, 0);
}

const std::vector<std::string>* strings(InferContext& ctx, std::string_view name) {
  const auto* list = ctx.node().attributes.get<std::vector<std::string>>(name);
  return list && !list->empty() ? list : nullptr;
}

// Labels are int64 or strings; returns how many there are.
int64_t set_labels(InferContext& ctx, std::string_view ints, std::string_view texts) {
  const auto numbers = ctx.attr_ints(ints);
  const auto* names = strings(ctx, texts);
  if (names && numbers && !numbers->empty()) {
    ctx.fail(concat("has both ", ints, " and ", texts, "; expected one of them"));
  }
  if (ctx.has_output(0)) ctx.set(0, names ? DType::String : DType::Int64, Shape{rows(ctx)});
  return static_cast<int64_t>(names ? names->size() : numbers ? numbers->size() : 0);
}

// Scores have one column per class.
void set_scores(InferContext& ctx, int64_t classes) {
  if (ctx.has_output(1)) ctx.set(1, DType::Float, Shape{rows(ctx), classes});
}

void tree_classifier(InferContext& ctx) {
  set_scores(ctx, set_labels(ctx, "classlabels_int64s", "classlabels_strings"));
}

void tree_regressor(InferContext& ctx) {
  ctx.set(0, DType::Float, Shape{rows(ctx), ctx.attr_int("n_targets", 1)});
}

void tree_ensemble(InferContext& ctx) {
  ctx.set(0, ctx.dtype(0), Shape{rows(ctx), ctx.attr_int("n_targets", 1)});
}

void linear_classifier(InferContext& ctx) {
  set_scores(ctx, set_labels(ctx, "classlabels_ints", "classlabels_strings"));
}

void svm_classifier(InferContext& ctx) {
  int64_t classes = set_labels(ctx, "classlabels_ints", "classlabels_strings");
  const auto* a = ctx.node().attributes.get<std::vector<double>>("prob_a");
  const auto vectors = ctx.attr_ints("vectors_per_class");
  const bool one_per_pair = (!a || a->empty()) && vectors && !vectors->empty();
  if (one_per_pair && classes > 2) classes = classes * (classes - 1) / 2;
  set_scores(ctx, classes);
}

void linear_regressor(InferContext& ctx) {
  ctx.set(0, DType::Float, Shape{rows(ctx), ctx.attr_int("targets", 1)});
}

void svm_regressor(InferContext& ctx) { ctx.set(0, DType::Float, Shape{rows(ctx), 1}); }

void float_like_first(InferContext& ctx) { ctx.set(0, DType::Float, ctx.shape(0)); }

void one_hot_encoder(InferContext& ctx) {
  const auto numbers = ctx.attr_ints("cats_int64s");
  const auto* names = strings(ctx, "cats_strings");
  if ((names != nullptr) == (numbers && !numbers->empty())) {
    ctx.fail("expected one of cats_int64s and cats_strings");
  }
  std::optional<Shape> shape = ctx.shape(0);
  if (shape) shape->push_back(static_cast<int64_t>(names ? names->size() : numbers->size()));
  ctx.set(0, DType::Float, shape);
}

// The type of whichever list of values the node has.
void label_encoder(InferContext& ctx) {
  const Attributes& attributes = ctx.node().attributes;
  DType dtype = DType::Undefined;
  if (const Tensor* values = attributes.get<Tensor>("values_tensor")) dtype = values->dtype();
  if (attributes.find("values_strings")) dtype = DType::String;
  if (attributes.find("values_int64s")) dtype = DType::Int64;
  if (attributes.find("values_floats")) dtype = DType::Float;
  if (dtype == DType::Undefined) ctx.fail("has no values_* attribute");
  ctx.set(0, dtype, ctx.shape(0));
}

void category_mapper(InferContext& ctx) {
  ctx.set(0, ctx.dtype(0) == DType::String ? DType::Int64 : DType::String, ctx.shape(0));
}

void zip_map(InferContext& ctx) {
  const DType key = strings(ctx, "classlabels_strings") ? DType::String : DType::Int64;
  ctx.set_type(0, Type::sequence(Type::map(key, Type::tensor(DType::Float))));
}

// Input i fills inputdimensions[i] columns.
void feature_vectorizer(InferContext& ctx) {
  const auto widths = ctx.attr_ints("inputdimensions");
  if (!widths) {
    Dim width = 0;
    for (int i = 0; i < ctx.input_count(); ++i) {
      if (!ctx.has_shape(i)) return ctx.set(0, DType::Float);
      width = width + (ctx.shape(i)->empty() ? Dim(1) : ctx.shape(i)->back());
    }
    return ctx.set(0, DType::Float, Shape{rows(ctx), width});
  }
  if (static_cast<int>(widths->size()) != ctx.input_count()) {
    ctx.fail(concat("inputdimensions has ", widths->size(), " entries for ", ctx.input_count(),
                    " inputs"));
  }
  int64_t width = 0;
  for (int64_t w : *widths) {
    if (w < 0 || w > (int64_t{1} << 32)) ctx.fail(concat("inputdimensions holds ", w));
    width += w;
  }
  ctx.set(0, DType::Float, Shape{rows(ctx), width});
}

void array_feature_extractor(InferContext& ctx) {
  std::optional<Shape> shape = ctx.shape(0);
  if (!shape) return ctx.set(0, ctx.dtype(0));
  if (shape->empty()) ctx.fail("X is a scalar; expected rank 1 or more");
  const Dim count = ctx.has_shape(1) ? product(*ctx.shape(1)) : Dim();
  shape->back() = count;
  if (shape->size() == 1) shape->insert(shape->begin(), Dim(1));
  ctx.set(0, ctx.dtype(0), shape);
}

void cast_map(InferContext& ctx) {
  const std::string to = ctx.attr_string("cast_to", "TO_FLOAT");
  if (to != "TO_FLOAT" && to != "TO_STRING" && to != "TO_INT64") {
    ctx.fail(concat("cast_to is \"", to, "\"; expected TO_FLOAT, TO_STRING or TO_INT64"));
  }
  const DType dtype = to == "TO_FLOAT"    ? DType::Float
                      : to == "TO_STRING" ? DType::String
                                          : DType::Int64;
  const bool sparse = ctx.attr_string("map_form", "DENSE") == "SPARSE";
  ctx.set(0, dtype, Shape{1, sparse ? Dim(ctx.attr_int("max_map", 1)) : Dim()});
}

void dict_vectorizer(InferContext& ctx) {
  const auto numbers = ctx.attr_ints("int64_vocabulary");
  const auto* names = strings(ctx, "string_vocabulary");
  const Type& type = ctx.type(0);
  if (!type.element) return;
  const auto length = static_cast<int64_t>(names ? names->size() : numbers ? numbers->size() : 0);
  ctx.set(0, type.element->dtype, Shape{1, length});
}

}  // namespace

OpList ml_ops() {
  return {
      {.domain = "ai.onnx.ml",
       .name = "TreeEnsembleClassifier",
       .since = 5,
       .inputs = {{"X", "T1"}},
       .outputs = {{"Y", "T2"}, {"Z", "tensor(float)"}},
       .types = {{"T1", "float double int32 int64"}, {"T2", "int64 string"}},
       .attributes = {{"base_values", AttrDef::Floats},
                      {"base_values_as_tensor", AttrDef::Tensor},
                      {"class_ids", AttrDef::Ints},
                      {"class_nodeids", AttrDef::Ints},
                      {"class_treeids", AttrDef::Ints},
                      {"class_weights", AttrDef::Floats},
                      {"class_weights_as_tensor", AttrDef::Tensor},
                      {"classlabels_int64s", AttrDef::Ints},
                      {"classlabels_strings", AttrDef::Strings},
                      {"nodes_falsenodeids", AttrDef::Ints},
                      {"nodes_featureids", AttrDef::Ints},
                      {"nodes_hitrates", AttrDef::Floats},
                      {"nodes_hitrates_as_tensor", AttrDef::Tensor},
                      {"nodes_missing_value_tracks_true", AttrDef::Ints},
                      {"nodes_modes", AttrDef::Strings},
                      {"nodes_nodeids", AttrDef::Ints},
                      {"nodes_treeids", AttrDef::Ints},
                      {"nodes_truenodeids", AttrDef::Ints},
                      {"nodes_values", AttrDef::Floats},
                      {"nodes_values_as_tensor", AttrDef::Tensor},
                      {"post_transform", AttrDef::String, false, std::string("NONE")}},
       .shape = tree_classifier},
      {.domain = "ai.onnx.ml",
       .name = "TreeEnsembleRegressor",
       .since = 5,
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "tensor(float)"}},
       .types = {{"T", "float double int32 int64"}},
       .attributes = {{"aggregate_function", AttrDef::String, false, std::string("SUM")},
                      {"base_values", AttrDef::Floats},
                      {"base_values_as_tensor", AttrDef::Tensor},
                      {"n_targets", AttrDef::Int},
                      {"nodes_falsenodeids", AttrDef::Ints},
                      {"nodes_featureids", AttrDef::Ints},
                      {"nodes_hitrates", AttrDef::Floats},
                      {"nodes_hitrates_as_tensor", AttrDef::Tensor},
                      {"nodes_missing_value_tracks_true", AttrDef::Ints},
                      {"nodes_modes", AttrDef::Strings},
                      {"nodes_nodeids", AttrDef::Ints},
                      {"nodes_treeids", AttrDef::Ints},
                      {"nodes_truenodeids", AttrDef::Ints},
                      {"nodes_values", AttrDef::Floats},
                      {"nodes_values_as_tensor", AttrDef::Tensor},
                      {"post_transform", AttrDef::String, false, std::string("NONE")},
                      {"target_ids", AttrDef::Ints},
                      {"target_nodeids", AttrDef::Ints},
                      {"target_treeids", AttrDef::Ints},
                      {"target_weights", AttrDef::Floats},
                      {"target_weights_as_tensor", AttrDef::Tensor}},
       .shape = tree_regressor},
      {.domain = "ai.onnx.ml",
       .name = "TreeEnsemble",
       .since = 5,
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", "float double float16"}},
       .attributes = {{"aggregate_function", AttrDef::Int, false, int64_t{1}},
                      {"leaf_targetids", AttrDef::Ints, true},
                      {"leaf_weights", AttrDef::Tensor, true},
                      {"membership_values", AttrDef::Tensor},
                      {"n_targets", AttrDef::Int},
                      {"nodes_falseleafs", AttrDef::Ints, true},
                      {"nodes_falsenodeids", AttrDef::Ints, true},
                      {"nodes_featureids", AttrDef::Ints, true},
                      {"nodes_hitrates", AttrDef::Tensor},
                      {"nodes_missing_value_tracks_true", AttrDef::Ints},
                      {"nodes_modes", AttrDef::Tensor, true},
                      {"nodes_splits", AttrDef::Tensor, true},
                      {"nodes_trueleafs", AttrDef::Ints, true},
                      {"nodes_truenodeids", AttrDef::Ints, true},
                      {"post_transform", AttrDef::Int, false, int64_t{0}},
                      {"tree_roots", AttrDef::Ints, true}},
       .shape = tree_ensemble},
      {.domain = "ai.onnx.ml",
       .name = "LinearClassifier",
       .since = 1,
       .inputs = {{"X", "T1"}},
       .outputs = {{"Y", "T2"}, {"Z", "tensor(float)"}},
       .types = {{"T1", "float double int32 int64"}, {"T2", "int64 string"}},
       .attributes = {{"classlabels_ints", AttrDef::Ints},
                      {"classlabels_strings", AttrDef::Strings},
                      {"coefficients", AttrDef::Floats, true},
                      {"intercepts", AttrDef::Floats},
                      {"multi_class", AttrDef::Int, false, int64_t{0}},
                      {"post_transform", AttrDef::String, false, std::string("NONE")}},
       .shape = linear_classifier},
      {.domain = "ai.onnx.ml",
       .name = "LinearRegressor",
       .since = 1,
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "tensor(float)"}},
       .types = {{"T", "float double int32 int64"}},
       .attributes = {{"coefficients", AttrDef::Floats},
                      {"intercepts", AttrDef::Floats},
                      {"post_transform", AttrDef::String, false, std::string("NONE")},
                      {"targets", AttrDef::Int, false, int64_t{1}}},
       .shape = linear_regressor},
      {.domain = "ai.onnx.ml",
       .name = "SVMClassifier",
       .since = 1,
       .inputs = {{"X", "T1"}},
       .outputs = {{"Y", "T2"}, {"Z", "tensor(float)"}},
       .types = {{"T1", "float double int32 int64"}, {"T2", "int64 string"}},
       .attributes = {{"classlabels_ints", AttrDef::Ints},
                      {"classlabels_strings", AttrDef::Strings},
                      {"coefficients", AttrDef::Floats},
                      {"kernel_params", AttrDef::Floats},
                      {"kernel_type", AttrDef::String, false, std::string("LINEAR")},
                      {"post_transform", AttrDef::String, false, std::string("NONE")},
                      {"prob_a", AttrDef::Floats},
                      {"prob_b", AttrDef::Floats},
                      {"rho", AttrDef::Floats},
                      {"support_vectors", AttrDef::Floats},
                      {"vectors_per_class", AttrDef::Ints}},
       .shape = svm_classifier},
      {.domain = "ai.onnx.ml",
       .name = "SVMRegressor",
       .since = 1,
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "tensor(float)"}},
       .types = {{"T", "float double int32 int64"}},
       .attributes = {{"coefficients", AttrDef::Floats},
                      {"kernel_params", AttrDef::Floats},
                      {"kernel_type", AttrDef::String, false, std::string("LINEAR")},
                      {"n_supports", AttrDef::Int, false, int64_t{0}},
                      {"one_class", AttrDef::Int, false, int64_t{0}},
                      {"post_transform", AttrDef::String, false, std::string("NONE")},
                      {"rho", AttrDef::Floats},
                      {"support_vectors", AttrDef::Floats}},
       .shape = svm_regressor},
      {.domain = "ai.onnx.ml",
       .name = "Normalizer",
       .since = 1,
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "tensor(float)"}},
       .types = {{"T", "float double int32 int64"}},
       .attributes = {{"norm", AttrDef::String, false, std::string("MAX")}},
       .shape = float_like_first},
      {.domain = "ai.onnx.ml",
       .name = "Scaler",
       .since = 1,
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "tensor(float)"}},
       .types = {{"T", "float double int32 int64"}},
       .attributes = {{"offset", AttrDef::Floats}, {"scale", AttrDef::Floats}},
       .shape = float_like_first},
      {.domain = "ai.onnx.ml",
       .name = "Imputer",
       .since = 1,
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", "float double int32 int64"}},
       .attributes = {{"imputed_value_floats", AttrDef::Floats},
                      {"imputed_value_int64s", AttrDef::Ints},
                      {"replaced_value_float", AttrDef::Float, false, 0.0},
                      {"replaced_value_int64", AttrDef::Int, false, int64_t{0}}},
       .shape = same_as_first},
      {.domain = "ai.onnx.ml",
       .name = "OneHotEncoder",
       .since = 1,
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "tensor(float)"}},
       .types = {{"T", "float double int32 int64 string"}},
       .attributes = {{"cats_int64s", AttrDef::Ints},
                      {"cats_strings", AttrDef::Strings},
                      {"zeros", AttrDef::Int, false, int64_t{1}}},
       .shape = one_hot_encoder},
      {.domain = "ai.onnx.ml",
       .name = "LabelEncoder",
       .since = 4,
       .inputs = {{"X", "T1"}},
       .outputs = {{"Y", "T2"}},
       .types = {{"T1", "float double int16 int32 int64 string"},
                 {"T2", "float double int16 int32 int64 string"}},
       .attributes = {{"default_float", AttrDef::Float, false, -0.0},
                      {"default_int64", AttrDef::Int, false, int64_t{-1}},
                      {"default_string", AttrDef::String, false, std::string("_Unused")},
                      {"default_tensor", AttrDef::Tensor},
                      {"keys_floats", AttrDef::Floats},
                      {"keys_int64s", AttrDef::Ints},
                      {"keys_strings", AttrDef::Strings},
                      {"keys_tensor", AttrDef::Tensor},
                      {"values_floats", AttrDef::Floats},
                      {"values_int64s", AttrDef::Ints},
                      {"values_strings", AttrDef::Strings},
                      {"values_tensor", AttrDef::Tensor}},
       .shape = label_encoder},
      {.domain = "ai.onnx.ml",
       .name = "ZipMap",
       .since = 1,
       .inputs = {{"X", "tensor(float)"}},
       .outputs = {{"Z", "T"}},
       .types = {{"T", "seq(map(int64,float)) seq(map(string,float))"}},
       .attributes = {{"classlabels_int64s", AttrDef::Ints},
                      {"classlabels_strings", AttrDef::Strings}},
       .shape = zip_map},
      {.domain = "ai.onnx.ml",
       .name = "Binarizer",
       .since = 1,
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", "float double int32 int64"}},
       .attributes = {{"threshold", AttrDef::Float, false, 0.0}},
       .shape = same_as_first},
      {.domain = "ai.onnx.ml",
       .name = "FeatureVectorizer",
       .since = 1,
       .inputs = {{"X", "T1", Param::Variadic}},
       .outputs = {{"Y", "tensor(float)"}},
       .types = {{"T1", "float double int32 int64"}},
       .attributes = {{"inputdimensions", AttrDef::Ints}},
       .shape = feature_vectorizer},
      {.domain = "ai.onnx.ml",
       .name = "ArrayFeatureExtractor",
       .since = 1,
       .inputs = {{"X", "T"}, {"Y", "tensor(int64)"}},
       .outputs = {{"Z", "T"}},
       .types = {{"T", "float double int32 int64 string"}},
       .shape = array_feature_extractor},
      {.domain = "ai.onnx.ml",
       .name = "CategoryMapper",
       .since = 1,
       .inputs = {{"X", "T1"}},
       .outputs = {{"Y", "T2"}},
       .types = {{"T1", "int64 string"}, {"T2", "int64 string"}},
       .attributes = {{"cats_int64s", AttrDef::Ints},
                      {"cats_strings", AttrDef::Strings},
                      {"default_int64", AttrDef::Int, false, int64_t{-1}},
                      {"default_string", AttrDef::String, false, std::string("_Unused")}},
       .shape = category_mapper},
      {.domain = "ai.onnx.ml",
       .name = "CastMap",
       .since = 1,
       .inputs = {{"X", "T1"}},
       .outputs = {{"Y", "T2"}},
       .types = {{"T1", "map(int64,float) map(int64,string)"}, {"T2", "float int64 string"}},
       .attributes = {{"cast_to", AttrDef::String, false, std::string("TO_FLOAT")},
                      {"map_form", AttrDef::String, false, std::string("DENSE")},
                      {"max_map", AttrDef::Int, false, int64_t{1}}},
       .shape = cast_map},
      {.domain = "ai.onnx.ml",
       .name = "DictVectorizer",
       .since = 1,
       .inputs = {{"X", "T1"}},
       .outputs = {{"Y", "T2"}},
       .types = {{"T1", kMaps}, {"T2", "float double int64 string"}},
       .attributes = {{"int64_vocabulary", AttrDef::Ints}, {"string_vocabulary", AttrDef::Strings}},
       .shape = dict_vectorizer},
  };
}

}  // namespace tiercel
