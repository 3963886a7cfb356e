// Class labels from scores, and machine-learning operators on maps.
#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "providers/cpu/host_call.h"
#include "providers/cpu/number_text.h"
#include "providers/cpu/post_transform.h"

namespace tiercel {
namespace {

struct ClassRule {
  const std::vector<int64_t>* numbers = nullptr;
  const std::vector<std::string>* names = nullptr;
  PostTransform post = PostTransform::None;
  enum class Kind { Argmax, Threshold, Pair } kind = Kind::Argmax;
  int64_t column = 0;
  float threshold = 0;
  bool complement = false;
};

PostTransform transform_of(const HostCall& call) {
  const auto name = attribute<std::string>(call.node, "post_transform", "NONE");
  const PostTransform kind = post_transform_of(name);
  if (kind == PostTransform::Unknown) host_fail(call, concat("unknown post_transform ", name));
  return kind;
}

ClassRule rule_of(const HostCall& call) {
  const Node& node = call.node;
  ClassRule rule;
  rule.numbers = list<int64_t>(node, "classlabels_int64s");
  rule.names = list<std::string>(node, "classlabels_strings");
  rule.post = transform_of(call);
  const auto kind = attribute<std::string>(node, "rule", "argmax");
  rule.kind = kind == "pair"        ? ClassRule::Kind::Pair
              : kind == "threshold" ? ClassRule::Kind::Threshold
                                    : ClassRule::Kind::Argmax;
  rule.column = attribute<int64_t>(node, "column", 0);
  rule.threshold = static_cast<float>(attribute<double>(node, "threshold", 0));
  rule.complement = attribute<int64_t>(node, "complement", 0) != 0;
  return rule;
}

// Two columns from one score.
void show_pair(const ClassRule& rule, float score, float* out) {
  if (rule.post == PostTransform::Logistic) {
    out[0] = logistic(-score);
    out[1] = logistic(score);
  } else if (rule.post == PostTransform::Probit) {
    out[0] = probit(score);
    out[1] = 0;
  } else {
    out[0] = rule.complement ? 1.0F - score : -score;
    out[1] = score;
  }
}

void class_scores(HostCall& call) {
  const ClassRule rule = rule_of(call);
  const Tensor& x = tensor(call, 0);
  if (x.rank() != 2 || x.dtype() != DType::Float) host_fail(call, "scores are not float [N, C]");
  const int64_t rows = x.dims()[0], columns = x.dims()[1];
  const auto labels = static_cast<int64_t>(rule.names     ? rule.names->size()
                                           : rule.numbers ? rule.numbers->size()
                                                          : 0);
  const bool argmax = rule.kind == ClassRule::Kind::Argmax;
  if (columns < 1 || labels < (argmax ? columns : 2) || rule.column < 0 || rule.column >= columns) {
    host_fail(call, concat("has ", labels, " class labels for ", columns, " scores"));
  }
  const bool pair = rule.kind == ClassRule::Kind::Pair;
  Tensor y(rule.names ? DType::String : DType::Int64, {rows});
  Tensor z(DType::Float, {rows, pair ? 2 : columns});
  for (int64_t r = 0; r < rows; ++r) {
    const float* in = x.data<float>() + r * columns;
    float* out = z.data<float>() + r * z.dims()[1];
    const auto best = argmax ? static_cast<size_t>(std::max_element(in, in + columns) - in)
                             : static_cast<size_t>(in[rule.column] > rule.threshold);
    if (rule.names) y.data<std::string>()[r] = (*rule.names)[best];
    if (rule.numbers && !rule.names) y.data<int64_t>()[r] = (*rule.numbers)[best];
    if (pair) {
      show_pair(rule, in[rule.column], out);
    } else {
      std::copy_n(in, columns, out);
      transform_row({out, static_cast<size_t>(columns)}, rule.post);
    }
  }
  give(call, 0, std::move(y));
  give(call, 1, std::move(z));
}

void post_transform(HostCall& call) {
  const PostTransform kind = transform_of(call);
  Tensor z = copy_of(tensor(call, 0));
  const auto width = z.rank() == 0 ? size_t{1} : static_cast<size_t>(z.dims().back());
  for (int64_t at = 0; width > 0 && at < z.size(); at += static_cast<int64_t>(width)) {
    transform_row({z.data<float>() + at, width}, kind);
  }
  give(call, 0, std::move(z));
}

void zip_map(HostCall& call) {
  const Tensor& x = tensor(call, 0);
  const auto* numbers = list<int64_t>(call.node, "classlabels_int64s");
  const auto* names = list<std::string>(call.node, "classlabels_strings");
  if ((numbers != nullptr) == (names != nullptr)) host_fail(call, "expected one list of labels");
  const auto classes = static_cast<int64_t>(names ? names->size() : numbers->size());
  if (x.rank() < 1 || x.rank() > 2 || x.dims().back() != classes) {
    host_fail(call, concat("X has shape ", dims_text(x.dims()), "; expected [N, ", classes, "]"));
  }
  // The maps share one tensor of keys and one buffer of values.
  const Tensor keys = names ? Tensor::of<std::string>(DType::String, {classes}, std::span(*names))
                            : Tensor::of<int64_t>(DType::Int64, {classes}, std::span(*numbers));
  const Tensor values = copy_of(x);
  Sequence maps;
  maps.reserve(static_cast<size_t>(classes > 0 ? x.size() / classes : 0));
  for (int64_t at = 0; at < x.size(); at += classes) {
    float* row = const_cast<float*>(values.data<float>()) + at;
    maps.push_back(
        std::make_shared<Map>(Map{keys, Tensor(DType::Float, {classes}, values.buffer(), row)}));
  }
  give(call, 0, std::make_shared<Sequence>(std::move(maps)));
}

const Map& map_of(const HostCall& call) {
  const Map* map = call.inputs.empty() || !call.inputs[0] ? nullptr : call.inputs[0]->map();
  if (!map) host_fail(call, "input 0 is no map");
  return *map;
}

// Element i of a map's values in the wanted type.
template <class To>
To value_as(const HostCall& call, const Tensor& values, int64_t i) {
  if (values.dtype() == DType::String) {
    const std::string& text = values.data<std::string>()[i];
    if constexpr (std::is_same_v<To, std::string>)
      return text;
    else
      return static_cast<To>(parse_number(where(call.node), text));
  }
  double value = 0;
  if (values.dtype() == DType::Float) value = values.data<float>()[i];
  if (values.dtype() == DType::Double) value = values.data<double>()[i];
  if (values.dtype() == DType::Int64) value = static_cast<double>(values.data<int64_t>()[i]);
  if constexpr (std::is_same_v<To, std::string>) {
    return values.dtype() == DType::Int64 ? std::to_string(values.data<int64_t>()[i])
                                          : number_text(static_cast<float>(value));
  } else {
    return static_cast<To>(value);
  }
}

template <class To>
void cast_map_to(HostCall& call, DType dtype) {
  const Map& map = map_of(call);
  if (map.keys.dtype() != DType::Int64) host_fail(call, "the map's keys are not int64");
  const bool sparse = attribute<std::string>(call.node, "map_form", "DENSE") == "SPARSE";
  const int64_t width = sparse ? attribute<int64_t>(call.node, "max_map", 1) : map.keys.size();
  if (width < 0 || width > (int64_t{1} << 31)) host_fail(call, concat("max_map is ", width));
  Tensor y(dtype, {1, width});
  if constexpr (!std::is_same_v<To, std::string>) std::fill_n(y.data<To>(), width, To{});
  // Keys in ascending order, as a map has them.
  std::vector<std::pair<int64_t, int64_t>> order;
  for (int64_t i = 0; i < map.keys.size(); ++i) order.push_back({map.keys.data<int64_t>()[i], i});
  std::sort(order.begin(), order.end());
  int64_t next = 0;
  for (const auto& [key, i] : order) {
    const int64_t at = sparse ? key : next++;
    if (at < 0) host_fail(call, concat("the map has the negative key ", key));
    if (at < width) y.data<To>()[at] = value_as<To>(call, map.values, i);
  }
  give(call, 0, std::move(y));
}

void cast_map(HostCall& call) {
  const auto to = attribute<std::string>(call.node, "cast_to", "TO_FLOAT");
  if (to == "TO_STRING") return cast_map_to<std::string>(call, DType::String);
  if (to == "TO_INT64") return cast_map_to<int64_t>(call, DType::Int64);
  cast_map_to<float>(call, DType::Float);
}

// One column per word of the vocabulary; keys outside it are left out.
template <class Key, class T>
void fill_columns(const Map& map, const std::vector<Key>& vocabulary, Tensor& y) {
  std::unordered_map<Key, int64_t> at;
  for (int64_t i = 0; i < map.keys.size(); ++i) at[map.keys.data<Key>()[i]] = i;
  for (size_t c = 0; c < vocabulary.size(); ++c) {
    const auto found = at.find(vocabulary[c]);
    y.data<T>()[c] = found == at.end() ? T{} : map.values.data<T>()[found->second];
  }
}

template <class Key>
void vectorize(HostCall& call, const Map& map, const std::vector<Key>& vocabulary) {
  Tensor y(map.values.dtype(), {1, static_cast<int64_t>(vocabulary.size())});
  switch (map.values.dtype()) {
    case DType::Float:
      fill_columns<Key, float>(map, vocabulary, y);
      break;
    case DType::Double:
      fill_columns<Key, double>(map, vocabulary, y);
      break;
    case DType::Int64:
      fill_columns<Key, int64_t>(map, vocabulary, y);
      break;
    case DType::String:
      fill_columns<Key, std::string>(map, vocabulary, y);
      break;
    default:
      host_fail(call, "the map's values are not float, double, int64 or string");
  }
  give(call, 0, std::move(y));
}

void dict_vectorizer(HostCall& call) {
  const Map& map = map_of(call);
  const auto* numbers = list<int64_t>(call.node, "int64_vocabulary");
  const auto* names = list<std::string>(call.node, "string_vocabulary");
  if (names && map.keys.dtype() == DType::String) return vectorize(call, map, *names);
  if (numbers && map.keys.dtype() == DType::Int64) return vectorize(call, map, *numbers);
  host_fail(call, "the vocabulary is not of the type of the map's keys");
}

float number_at(const HostCall& call, const Tensor& t, int64_t i) {
  switch (t.dtype()) {
    case DType::Float:
      return t.data<float>()[i];
    case DType::Double:
      return static_cast<float>(t.data<double>()[i]);
    case DType::Int32:
      return static_cast<float>(t.data<int32_t>()[i]);
    case DType::Int64:
      return static_cast<float>(t.data<int64_t>()[i]);
    default:
      host_fail(call, "an input is not float, double, int32 or int64");
  }
}

// Narrower inputs leave zeros, wider ones are cut.
void feature_vectorizer(HostCall& call) {
  int64_t rows = -1, width = 0;
  std::vector<int64_t> widths;
  const auto* given = list<int64_t>(call.node, "inputdimensions");
  if (given && given->size() != call.inputs.size()) host_fail(call, "inputdimensions do not fit");
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    const Tensor& x = tensor(call, i);
    const int64_t n = x.rank() == 1 ? 1 : x.rank() == 0 ? 0 : x.dims()[0];
    if (n == 0 || (rows >= 0 && n != rows))
      host_fail(call, "inputs differ in their number of rows");
    rows = n;
    widths.push_back(given ? (*given)[i] : x.size() / n);
    if (widths.back() < 0 || widths.back() > (int64_t{1} << 31)) host_fail(call, "bad width");
    width += widths.back();
  }
  Tensor y(DType::Float, {std::max<int64_t>(rows, 0), width});
  std::fill_n(y.data<float>(), y.size(), 0.0F);
  int64_t at = 0;
  for (size_t i = 0; i < widths.size(); at += widths[i], ++i) {
    const Tensor& x = tensor(call, i);
    const int64_t stride = x.size() / rows, n = std::min(stride, widths[i]);
    for (int64_t r = 0; r < rows; ++r) {
      float* out = y.data<float>() + r * width + at;
      for (int64_t c = 0; c < n; ++c) out[c] = number_at(call, x, r * stride + c);
    }
  }
  give(call, 0, std::move(y));
}

constexpr HostOp kMl[] = {
    {"tiercel", "ClassScores", class_scores},
    {"tiercel", "PostTransform", post_transform},
    {"ai.onnx.ml", "ZipMap", zip_map},
    {"ai.onnx.ml", "CastMap", cast_map},
    {"ai.onnx.ml", "DictVectorizer", dict_vectorizer},
    {"ai.onnx.ml", "FeatureVectorizer", feature_vectorizer},
};

}  // namespace

std::span<const HostOp> host_ml_ops() { return kMl; }

}  // namespace tiercel
