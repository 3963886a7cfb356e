// Look-ups of categories: labels to labels, categories to columns.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <unordered_map>

#include "passes/edit.h"
#include "providers/cpu/host_call.h"

namespace tiercel {
namespace {

int64_t bits_of(double value) {
  if (std::isnan(value)) return INT64_MIN + 1;
  if (value == 0) return 0;
  int64_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// Numbers are keys by their bits (every NaN is one key, both zeros another).
int64_t key_of(int64_t value) { return value; }
int64_t key_of(double value) { return bits_of(value); }
const std::string& key_of(const std::string& value) { return value; }

// Keys, all strings or all numbers, and the place of each; of equal keys the first one's.
class Places {
 public:
  void add(const std::string& key, int64_t place) { strings_.emplace(key, place); }
  void add(int64_t key, int64_t place) {
    if (2 * (count_ + 1) > slots_.size()) grow();
    Slot& slot = slots_[slot_of(key)];
    if (slot.place >= 0) return;
    slot = {key, place};
    ++count_;
  }
  // -1: not there.
  [[nodiscard]] int64_t find(const std::string& key) const {
    const auto found = strings_.find(key);
    return found == strings_.end() ? -1 : found->second;
  }
  [[nodiscard]] int64_t find(int64_t key) const {
    return slots_.empty() ? -1 : slots_[slot_of(key)].place;
  }

 private:
  struct Slot {
    int64_t key = 0, place = -1;
  };

  // Where the key is, or the free slot where it belongs.
  [[nodiscard]] size_t slot_of(int64_t key) const {
    const size_t mask = slots_.size() - 1;
    uint64_t mixed = static_cast<uint64_t>(key) * 0x9E3779B97F4A7C15U;
    size_t at = (mixed ^ mixed >> 32) & mask;
    while (slots_[at].place >= 0 && slots_[at].key != key) at = (at + 1) & mask;
    return at;
  }
  void grow() {
    std::vector<Slot> old(std::max<size_t>(16, 2 * slots_.size()));
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.place >= 0) slots_[slot_of(slot.key)] = slot;
    }
  }

  std::vector<Slot> slots_;  // a power of two, at most half of them taken
  size_t count_ = 0;
  std::unordered_map<std::string, int64_t> strings_;
};

// Calls f with the elements of a tensor of keys.
template <class F>
void with_keys(std::string_view where, const Tensor& t, F f) {
  switch (t.dtype()) {
    case DType::String:
      return f(t.data<std::string>());
    case DType::Int64:
      return f(t.data<int64_t>());
    case DType::Int32:
      return f(t.data<int32_t>());
    case DType::Int16:
      return f(t.data<int16_t>());
    case DType::Float:
      return f(t.data<float>());
    case DType::Double:
      return f(t.data<double>());
    default:
      throw_error(ErrorKind::InvalidArgument, std::string(where), ": keys of tensor(",
                  std::string(dtype_name(t.dtype())), ") are not known");
  }
}

template <class T>
decltype(auto) key_at(const T* keys, int64_t i) {
  if constexpr (std::is_integral_v<T>) {
    return key_of(static_cast<int64_t>(keys[i]));
  } else if constexpr (std::is_floating_point_v<T>) {
    return key_of(static_cast<double>(keys[i]));
  } else {
    return key_of(keys[i]);
  }
}

struct Encoder {
  Places index;  // of keys among `values`
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

void index_keys(std::string_view where, const Tensor& keys, Places& index) {
  with_keys(where, keys, [&](const auto* from) {
    for (int64_t i = 0; i < keys.size(); ++i) index.add(key_at(from, i), i);
  });
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
  index_keys(where(node), keys, encoder->index);
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
  index_keys(where(node), keys, encoder->index);
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
  const auto fill = [&]<class V>(const V* values, const V& fallback, V* out) {
    with_keys(where(call.node), x, [&](const auto* keys) {
      for (int64_t i = 0; i < x.size(); ++i) {
        const int64_t at = encoder.index.find(key_at(keys, i));
        out[i] = at < 0 ? fallback : values[at];
      }
    });
  };
  const auto as = [&]<class V>(V) {
    const auto* values = encoder.values.data<std::byte>();
    const auto* fallback = encoder.fallback.data<std::byte>();
    fill(reinterpret_cast<const V*>(values), *reinterpret_cast<const V*>(fallback),
         reinterpret_cast<V*>(y.data<std::byte>()));
  };
  if (y.dtype() == DType::String) {
    fill(encoder.values.data<std::string>(), *encoder.fallback.data<std::string>(),
         y.data<std::string>());
  } else if (dtype_bits(y.dtype()) == 64) {
    as(uint64_t{});
  } else if (dtype_bits(y.dtype()) == 32) {
    as(uint32_t{});
  } else {
    as(uint16_t{});
  }
  give(call, 0, std::move(y));
}

struct Categories {
  Places column;
  int64_t count = 0;
};

std::shared_ptr<const void> prepare_columns(const Graph&, const Node& node) {
  auto categories = std::make_shared<Categories>();
  const auto add = [&](const auto& keys) {
    for (const auto& key : keys) categories->column.add(key, categories->count++);
  };
  if (const auto* names = list<std::string>(node, "cats_strings")) {
    add(*names);
  } else if (const auto* numbers = list<int64_t>(node, "cats_int64s")) {
    add(*numbers);
  }
  return categories;
}

// Numbers are compared as integers.
template <class T>
decltype(auto) category_at(const T* x, int64_t i) {
  if constexpr (std::is_floating_point_v<T>) {
    const auto value = static_cast<double>(x[i]);
    return std::fabs(value) < 9.2e18 ? static_cast<int64_t>(value) : INT64_MIN;
  } else {
    return key_at(x, i);
  }
}

void one_hot_encoder(HostCall& call) {
  const auto& categories = *static_cast<const Categories*>(call.state);
  const Tensor& x = tensor(call, 0);
  Dims dims = x.dims();
  dims.push_back(categories.count);
  Tensor y(DType::Float, dims);
  const bool zeros = attribute<int64_t>(call.node, "zeros", 1) != 0;
  with_keys(where(call.node), x, [&](const auto* keys) {
    auto* out = y.data<float>();
    for (int64_t i = 0; i < x.size(); ++i, out += categories.count) {
      std::fill_n(out, categories.count, 0.0F);
      const int64_t at = categories.column.find(category_at(keys, i));
      if (at >= 0) {
        out[at] = 1;
      } else if (!zeros) {
        host_fail(call, concat("element ", i, " is of no known category, and zeros is 0"));
      }
    }
  });
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
