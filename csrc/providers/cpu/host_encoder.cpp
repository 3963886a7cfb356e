// Look-ups of categories: labels to labels, categories to columns.
#include <cmath>
#include <cstring>
#include <unordered_map>
#include <variant>

#include "passes/edit.h"
#include "providers/cpu/host_call.h"

namespace tiercel {
namespace {

// A key of any type: numbers by their bits (every NaN is one key, both zeros another).
using Key = std::variant<int64_t, std::string>;

int64_t bits_of(double value) {
  if (std::isnan(value)) return INT64_MIN + 1;
  if (value == 0) return 0;
  int64_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

Key key_at(std::string_view where, const Tensor& t, int64_t i) {
  switch (t.dtype()) {
    case DType::String:
      return t.data<std::string>()[i];
    case DType::Int64:
      return t.data<int64_t>()[i];
    case DType::Int32:
      return static_cast<int64_t>(t.data<int32_t>()[i]);
    case DType::Int16:
      return static_cast<int64_t>(t.data<int16_t>()[i]);
    case DType::Float:
      return bits_of(static_cast<double>(t.data<float>()[i]));
    case DType::Double:
      return bits_of(t.data<double>()[i]);
    default:
      throw_error(ErrorKind::InvalidArgument, std::string(where), ": keys of tensor(",
                  std::string(dtype_name(t.dtype())), ") are not known");
  }
}

struct Encoder {
  std::unordered_map<Key, int64_t> index;  // key to element of `values`
  DType key_type = DType::Undefined;
  Tensor values;
  Tensor fallback;  // one element
};

// The list attribute of whichever type, or the tensor attribute.
Tensor list_tensor(const Node& node, const std::string& name) {
  const auto length = [](const auto& v) { return Dims{static_cast<int64_t>(v.size())}; };
  if (const auto* t = node.attributes.get<Tensor>(name + "_tensor")) return *t;
  if (const auto* v = node.attributes.get<std::vector<std::string>>(name + "_strings")) {
    return Tensor::of<std::string>(DType::String, length(*v), std::span(*v));
  }
  if (const auto* v = node.attributes.get<std::vector<int64_t>>(name + "_int64s")) {
    return Tensor::of<int64_t>(DType::Int64, length(*v), std::span(*v));
  }
  if (const auto* v = node.attributes.get<std::vector<double>>(name + "_floats")) {
    return make_tensor(DType::Float, length(*v), *v);
  }
  throw_error(ErrorKind::InvalidGraph, where(node), ": has no ", name, "_* attribute");
}

// default_tensor, or the default of the values' type.
Tensor default_tensor(const Node& node, DType dtype) {
  if (const auto* t = node.attributes.get<Tensor>("default_tensor"); t && t->size() == 1) {
    if (t->dtype() == dtype) return *t;
    throw_error(ErrorKind::InvalidGraph, where(node),
                ": default_tensor is not of the values' type");
  }
  if (dtype == DType::String) {
    const auto text = attribute<std::string>(node, "default_string", "_Unused");
    return Tensor::of<std::string>(DType::String, {}, std::span(&text, 1));
  }
  if (dtype == DType::Float || dtype == DType::Double) {
    const double value = attribute<double>(node, "default_float", -0.0);
    return make_tensor(dtype, {}, std::span(&value, 1));
  }
  const auto number = attribute<int64_t>(node, "default_int64", -1);
  if (dtype == DType::Int64) return Tensor::scalar_i64(number);
  if (dtype == DType::Int32) {
    const auto narrow = static_cast<int32_t>(number);
    return Tensor::of<int32_t>(dtype, {}, std::span(&narrow, 1));
  }
  const auto narrow = static_cast<int16_t>(number);
  return Tensor::of<int16_t>(DType::Int16, {}, std::span(&narrow, 1));
}

std::shared_ptr<const void> prepare_labels(const Graph&, const Node& node) {
  auto encoder = std::make_shared<Encoder>();
  const Tensor keys = list_tensor(node, "keys");
  encoder->values = list_tensor(node, "values");
  if (keys.size() != encoder->values.size()) {
    throw_error(ErrorKind::InvalidGraph, where(node), ": has ", keys.size(), " keys and ",
                encoder->values.size(), " values");
  }
  encoder->key_type = keys.dtype();
  encoder->fallback = default_tensor(node, encoder->values.dtype());
  for (int64_t i = 0; i < keys.size(); ++i) {
    encoder->index.emplace(key_at(where(node), keys, i), i);
  }
  return encoder;
}

// The pairs cats_strings[i] and cats_int64s[i], either way.
std::shared_ptr<const void> prepare_categories(const Graph& graph, const Node& node) {
  auto encoder = std::make_shared<Encoder>();
  const bool from_text = graph.value(node.inputs[0]).type.dtype == DType::String;
  const Tensor names = list_tensor(node, "cats"), numbers = [&] {
    const auto* v = list<int64_t>(node, "cats_int64s");
    return v ? Tensor::vector_i64(*v) : Tensor();
  }();
  if (names.dtype() != DType::String || names.size() != numbers.size()) {
    throw_error(ErrorKind::InvalidGraph, where(node),
                ": cats_strings and cats_int64s do not pair up");
  }
  const Tensor& keys = from_text ? names : numbers;
  encoder->values = from_text ? numbers : names;
  encoder->key_type = keys.dtype();
  encoder->fallback = default_tensor(node, encoder->values.dtype());
  for (int64_t i = 0; i < keys.size(); ++i) {
    encoder->index.emplace(key_at(where(node), keys, i), i);
  }
  return encoder;
}

void encode(HostCall& call) {
  const auto& encoder = *static_cast<const Encoder*>(call.state);
  const Tensor& x = tensor(call, 0);
  if (x.dtype() != encoder.key_type) {
    host_fail(call,
              concat("X is tensor(", std::string(dtype_name(x.dtype())), "); the keys are tensor(",
                     std::string(dtype_name(encoder.key_type)), ")"));
  }
  Tensor y(encoder.values.dtype(), x.dims());
  const std::string place = where(call.node);
  for (int64_t i = 0; i < x.size(); ++i) {
    const auto found = encoder.index.find(key_at(place, x, i));
    const bool known = found != encoder.index.end();
    const Tensor& from = known ? encoder.values : encoder.fallback;
    const int64_t at = known ? found->second : 0;
    if (y.dtype() == DType::String) {
      y.data<std::string>()[i] = from.data<std::string>()[at];
    } else {
      const int64_t width = dtype_bits(y.dtype()) / 8;
      std::memcpy(y.data<std::byte>() + i * width, from.data<std::byte>() + at * width,
                  static_cast<size_t>(width));
    }
  }
  give(call, 0, std::move(y));
}

struct Categories {
  std::unordered_map<Key, int64_t> column;
  int64_t count = 0;
};

std::shared_ptr<const void> prepare_columns(const Graph&, const Node& node) {
  auto categories = std::make_shared<Categories>();
  const auto add = [&](Key key) {
    categories->column.emplace(std::move(key), categories->count++);
  };
  if (const auto* names = list<std::string>(node, "cats_strings")) {
    for (const std::string& name : *names) add(name);
  } else if (const auto* numbers = list<int64_t>(node, "cats_int64s")) {
    for (int64_t number : *numbers) add(number);
  }
  return categories;
}

// Numbers are compared as integers.
Key category_at(const HostCall& call, const Tensor& x, int64_t i) {
  double value = 0;
  if (x.dtype() == DType::Float) {
    value = static_cast<double>(x.data<float>()[i]);
  } else if (x.dtype() == DType::Double) {
    value = x.data<double>()[i];
  } else {
    return key_at(where(call.node), x, i);
  }
  return std::fabs(value) < 9.2e18 ? static_cast<int64_t>(value) : INT64_MIN;
}

void one_hot_encoder(HostCall& call) {
  const auto& categories = *static_cast<const Categories*>(call.state);
  const Tensor& x = tensor(call, 0);
  Dims dims = x.dims();
  dims.push_back(categories.count);
  Tensor y(DType::Float, dims);
  std::fill_n(y.data<float>(), y.size(), 0.0F);
  const bool zeros = attribute<int64_t>(call.node, "zeros", 1) != 0;
  for (int64_t i = 0; i < x.size(); ++i) {
    const auto found = categories.column.find(category_at(call, x, i));
    if (found != categories.column.end()) {
      y.data<float>()[i * categories.count + found->second] = 1;
    } else if (!zeros) {
      host_fail(call, concat("element ", i, " is of no known category, and zeros is 0"));
    }
  }
  give(call, 0, std::move(y));
}

constexpr HostOp kEncoder[] = {
    {"ai.onnx.ml", "LabelEncoder", encode, "", prepare_labels},
    {"ai.onnx.ml", "CategoryMapper", encode, "", prepare_categories},
    {"ai.onnx.ml", "OneHotEncoder", one_hot_encoder, "", prepare_columns},
};

}  // namespace

std::span<const HostOp> host_encoder_ops() { return kEncoder; }

}  // namespace tiercel
