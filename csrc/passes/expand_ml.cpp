// Linear models and feature scaling of ai.onnx.ml as matrix products and elementwise nodes.
#include <array>
#include <cmath>

#include "passes/expand.h"

namespace tiercel {
namespace {

std::vector<double> floats(const Expander& e, std::string_view name) {
  const auto* list = e.node().attributes.get<std::vector<double>>(name);
  return list ? *list : std::vector<double>{};
}

ValueId row(Expander& e, DType dtype, const std::vector<double>& values) {
  return e.constant(make_tensor(dtype, {static_cast<int64_t>(values.size())}, values));
}

// A list attribute has one entry for all features, or one for each.
void expect_features(const Expander& e, size_t entries, std::string_view name) {
  const auto& shape = e.type(e.input(0)).shape;
  if (!shape || shape->empty() || !shape->back().known() || entries == 1) return;
  if (static_cast<int64_t>(entries) != shape->back().value()) {
    e.fail(concat(std::string(name), " has ", entries, " entries for ", shape->back().value(),
                  " features"));
  }
}

bool scaler(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const auto offset = floats(e, "offset"), scale = floats(e, "scale");
  if (!offset.empty()) expect_features(e, offset.size(), "offset");
  if (!scale.empty()) expect_features(e, scale.size(), "scale");
  ValueId x = e.cast(e.input(0), DType::Float);
  if (!offset.empty()) x = e.op("Sub", {x, row(e, DType::Float, offset)});
  if (!scale.empty()) x = e.op("Mul", {x, row(e, DType::Float, scale)});
  if (x == e.input(0)) x = e.op("Identity", {x});
  return e.finish({x});
}

bool imputer(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const ValueId x = e.input(0);
  const DType dtype = e.dtype(x);
  if (!dtype_is_float(dtype)) {
    const auto* list = e.node().attributes.get<std::vector<int64_t>>("imputed_value_int64s");
    if (!list || list->empty()) e.fail("has no imputed_value_int64s");
    expect_features(e, list->size(), "imputed_value_int64s");
    const auto n = static_cast<int64_t>(list->size());
    const Tensor imputed = Tensor::of<int64_t>(DType::Int64, {n}, std::span(*list));
    const ValueId wide = e.cast(x, DType::Int64);
    const ValueId missing =
        e.op("Equal",
             {wide, e.constant(Tensor::scalar_i64(attr_int(e.node(), "replaced_value_int64")))});
    return e.finish({e.cast(e.op("Where", {missing, e.constant(imputed), wide}), dtype)});
  }
  const auto imputed = floats(e, "imputed_value_floats");
  if (imputed.empty()) e.fail("has no imputed_value_floats");
  expect_features(e, imputed.size(), "imputed_value_floats");
  const double replaced = attr_float(e.node(), "replaced_value_float");
  const ValueId missing =
      std::isnan(replaced) ? e.op("IsNaN", {x}) : e.op("Equal", {x, e.number(dtype, replaced)});
  return e.finish({e.op("Where", {missing, row(e, dtype, imputed), x})});
}

bool binarizer(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const ValueId x = e.input(0);
  const DType dtype = e.dtype(x);
  const DType wide = dtype_is_float(dtype) ? dtype : DType::Float;
  const ValueId limit = e.number(wide, attr_float(e.node(), "threshold"));
  return e.finish({e.cast(e.op("Greater", {e.cast(x, wide), limit}), dtype)});
}

// Strings are gathered as well as numbers.
bool array_feature_extractor(Graph& graph, NodeId id) {
  Expander e(graph, id);
  ValueId x = e.input(0);
  if (!e.type(x).shape) e.fail("the rank of X is not known");
  if (e.type(x).shape->size() == 1) x = e.op("Unsqueeze", {x, e.ints({0})});
  Attributes last;
  last.set("axis", int64_t{-1});
  return e.finish({e.op("Gather", {x, e.op("Reshape", {e.input(1), e.ints({-1})})}, last)});
}

// X [N, C] by coefficients [scores, C], plus intercepts.
ValueId linear_scores(Expander& e, int64_t scores) {
  auto coefficients = floats(e, "coefficients");
  const auto intercepts = floats(e, "intercepts");
  if (scores < 1 || coefficients.empty() ||
      static_cast<int64_t>(coefficients.size()) % scores != 0) {
    e.fail(concat("has ", coefficients.size(), " coefficients for ", scores, " scores"));
  }
  int64_t width = static_cast<int64_t>(coefficients.size()) / scores;
  // Some exporters write more coefficients than the input has features: rows are as wide as these.
  const auto& shape = e.type(e.input(0)).shape;
  const bool narrow = shape && !shape->empty() && shape->back().known() &&
                      shape->back().value() > 0 && shape->back().value() < width;
  if (narrow) width = shape->back().value();
  coefficients.resize(static_cast<size_t>(scores * width));
  ValueId x = e.cast(e.input(0), DType::Float);
  if (e.type(x).shape && e.type(x).shape->size() == 1) x = e.op("Unsqueeze", {x, e.ints({0})});
  std::vector<ValueId> inputs = {
      x, e.constant(make_tensor(DType::Float, {scores, width}, coefficients))};
  if (!intercepts.empty()) {
    if (static_cast<int64_t>(intercepts.size()) != scores) {
      e.fail(concat("has ", intercepts.size(), " intercepts for ", scores, " scores"));
    }
    inputs.push_back(row(e, DType::Float, intercepts));
  }
  Attributes transposed;
  transposed.set("transB", int64_t{1});
  return e.op("Gemm", std::move(inputs), std::move(transposed));
}

bool linear_regressor(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const ValueId scores = linear_scores(e, attr_int(e.node(), "targets", 1));
  const std::string post = attr_string(e.node(), "post_transform", "NONE");
  if (post == "NONE") return e.finish({scores});
  Attributes attributes;
  attributes.set("post_transform", post);
  return e.finish({e.op("PostTransform", {scores}, std::move(attributes), "tiercel")});
}

// A single score decides between two labels: above zero is the second.
bool linear_classifier(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const Attributes& given = e.node().attributes;
  const auto* numbers = given.get<std::vector<int64_t>>("classlabels_ints");
  const auto* names = given.get<std::vector<std::string>>("classlabels_strings");
  const bool text = names && !names->empty();
  if (!text && (!numbers || numbers->empty())) e.fail("has no class labels");
  const auto labels = static_cast<int64_t>(text ? names->size() : numbers->size());
  const auto intercepts = floats(e, "intercepts");
  const int64_t scores = intercepts.empty() ? labels : static_cast<int64_t>(intercepts.size());
  if (scores != labels && !(scores == 1 && labels == 2)) {
    e.fail(concat("has ", scores, " intercepts for ", labels, " class labels"));
  }
  Attributes attributes;
  if (text) attributes.set("classlabels_strings", *names);
  if (!text) attributes.set("classlabels_int64s", *numbers);
  attributes.set("post_transform", attr_string(e.node(), "post_transform", "NONE"));
  attributes.set("rule", std::string(scores == 1 ? "pair" : "argmax"));
  attributes.set("complement", int64_t{1});
  return e.finish(
      e.ops("ClassScores", {linear_scores(e, scores)}, 2, std::move(attributes), "tiercel"));
}

constexpr Expansion kMl[] = {
    {"ai.onnx.ml", "Scaler", scaler},
    {"ai.onnx.ml", "Imputer", imputer},
    {"ai.onnx.ml", "Binarizer", binarizer},
    {"ai.onnx.ml", "ArrayFeatureExtractor", array_feature_extractor},
    {"ai.onnx.ml", "LinearRegressor", linear_regressor},
    {"ai.onnx.ml", "LinearClassifier", linear_classifier},
};

}  // namespace

std::span<const Expansion> ml_expansions() { return kMl; }

}  // namespace tiercel
