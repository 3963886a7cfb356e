// One rule per operator whose old forms differ from the newest: attributes become inputs, old
// defaults become explicit.
#include "ops/upgrade_rules.h"

#include <algorithm>
#include <map>
#include <numeric>

namespace tiercel {

namespace {

using Added = void (*)(Graph& graph, NodeId made);
using Ints = std::vector<int64_t>;

struct Upgrade {
  Graph& graph;
  NodeId id;
  Added added;

  [[nodiscard]] Node& node() const { return graph.node(id); }
  [[nodiscard]] int version() const { return node().version; }
  [[nodiscard]] bool has(size_t i) const {
    return i < node().inputs.size() && node().inputs[i] != kNone;
  }
  // Input `i` of a node that may still have the form of any version.
  [[nodiscard]] ValueId input(size_t i) const {
    if (has(i)) return node().inputs[i];
    throw_error(ErrorKind::InvalidGraph, where(node()), ": input ", i, " is required and absent");
  }
  void set_input(size_t i, ValueId value) const {
    if (node().inputs.size() <= i) node().inputs.resize(i + 1, kNone);
    node().inputs[i] = value;
  }
  [[nodiscard]] ValueId constant(const char* what, Tensor tensor) const {
    return graph.add_constant(node().name + "_" + what, std::move(tensor));
  }
  [[nodiscard]] std::optional<int64_t> rank(size_t i) const {
    if (!has(i)) return std::nullopt;
    const Type& type = graph.value(node().inputs[i]).type;
    if (!type.shape) return std::nullopt;
    return static_cast<int64_t>(type.shape->size());
  }
  // A new node before this one; returns its output.
  [[nodiscard]] ValueId insert(const char* op, std::vector<ValueId> inputs,
                               Attributes attributes = {}) const {
    Node made;
    made.name = node().name + "_" + op;
    made.op_type = op;
    made.inputs = std::move(inputs);
    made.attributes = std::move(attributes);
    const ValueId out = graph.add_value(made.name);
    made.outputs = {out};
    const NodeId added_id = graph.add_node(std::move(made), id);
    added(graph, added_id);
    return out;
  }
};

// A list attribute becomes input `i`.
void ints_to_input(const Upgrade& u, const char* attribute, size_t i) {
  const auto* values = u.node().attributes.get<Ints>(attribute);
  if (values) u.set_input(i, u.constant(attribute, Tensor::vector_i64(*values)));
  u.node().attributes.erase(attribute);
}

void axes_to_input(const Upgrade& u) {
  if (u.version() < 13) ints_to_input(u, "axes", 1);
}

void reduce_axes_to_input(const Upgrade& u) {
  if (u.version() < (u.node().op_type == "ReduceSum" ? 13 : 18)) ints_to_input(u, "axes", 1);
}

// A float attribute as a scalar of the type of input 0.
ValueId scalar_like_first(const Upgrade& u, const char* what, double value) {
  const auto single = static_cast<float>(value);
  const ValueId made = u.constant(what, Tensor::of<float>(DType::Float, {}, {&single, 1}));
  if (u.graph.value(u.input(0)).type.dtype == DType::Float) return made;
  return u.insert("CastLike", {made, u.input(0)});
}

void clip(const Upgrade& u) {
  if (u.version() >= 11) return;
  size_t input = 1;
  for (const char* bound : {"min", "max"}) {
    if (const auto* value = u.node().attributes.get<double>(bound)) {
      u.set_input(input, scalar_like_first(u, bound, *value));
    }
    u.node().attributes.erase(bound);
    ++input;
  }
}

void pad(const Upgrade& u) {
  if (u.version() >= 11) return;
  if (u.version() < 2) ints_to_input(u, "paddings", 1);
  ints_to_input(u, "pads", 1);
  const double value = u.node().attributes.get_or<double>("value", 0.0);
  u.node().attributes.erase("value");
  if (value != 0) u.set_input(2, scalar_like_first(u, "value", value));
}

void slice(const Upgrade& u) {
  if (u.version() >= 10) return;
  ints_to_input(u, "starts", 1);
  ints_to_input(u, "ends", 2);
  ints_to_input(u, "axes", 3);
}

void split(const Upgrade& u) {
  if (u.version() < 13) ints_to_input(u, "split", 1);
  if (u.version() < 18 && !u.has(1)) {
    u.node().attributes.set("num_outputs", static_cast<int64_t>(u.node().outputs.size()));
  }
}

void reshape(const Upgrade& u) {
  if (u.version() < 5) ints_to_input(u, "shape", 1);
}

void top_k(const Upgrade& u) {
  if (u.version() >= 10) return;
  const int64_t k = u.node().attributes.get_or<int64_t>("k", 0);
  u.set_input(1, u.constant("k", Tensor::vector_i64({&k, 1})));
  u.node().attributes.erase("k");
}

void dropout(const Upgrade& u) {
  if (u.version() < 12) u.node().attributes = {};
}

// The axis was an attribute before it became an input.
void dft(const Upgrade& u) {
  if (u.version() >= 20) return;
  const int64_t axis = u.node().attributes.get_or<int64_t>("axis", 1);
  u.set_input(2, u.constant("axis", Tensor::scalar_i64(axis)));
  u.node().attributes.erase("axis");
}

void batch_norm(const Upgrade& u) {
  Attributes& attributes = u.node().attributes;
  if (attributes.get_or<int64_t>("spatial", 1) != 1) {
    throw_error(ErrorKind::NotImplemented, where(u.node()), ": spatial = 0 of opset ", u.version(),
                " is not supported");
  }
  for (const char* old : {"spatial", "is_test"}) attributes.erase(old);
  if (u.version() < 14) attributes.set("training_mode", int64_t{0});
}

void cast(const Upgrade& u) {
  const auto* name = u.node().attributes.get<std::string>("to");
  if (!name) return;
  std::string lower = *name;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const std::optional<DType> dtype = dtype_from_name(lower);
  if (!dtype) {
    throw_error(ErrorKind::InvalidGraph, where(u.node()), ": to = \"", *name,
                "\" is no element type");
  }
  u.node().attributes.set("to", static_cast<int64_t>(*dtype));
}

void concat_axis(const Upgrade& u) {
  if (u.version() < 4 && !u.node().attributes.find("axis"))
    u.node().attributes.set("axis", int64_t{1});
}

// Before opset 13 all axes from `axis` on were one: [a, b, c] with axis 1 is softmax over [a, b*c].
void softmax(const Upgrade& u) {
  if (u.version() >= 13) return;
  const int64_t axis = u.node().attributes.get_or<int64_t>("axis", 1);
  const std::optional<int64_t> rank = u.rank(0);
  u.node().attributes.set("axis", int64_t{-1});
  if (axis == -1 || (rank && axis == *rank - 1)) return;
  const ValueId in = u.input(0);
  const ValueId out = u.node().outputs[0];
  Attributes attributes;
  attributes.set("axis", axis);
  const ValueId shape = u.insert("Shape", {in});
  const ValueId flat = u.insert("Flatten", {in}, std::move(attributes));
  // The node itself becomes the Reshape that ends the chain, so that its output stays where it is.
  Attributes last;
  last.set("axis", int64_t{-1});
  const ValueId soft = u.insert(u.node().op_type.c_str(), {flat}, std::move(last));
  u.node().op_type = "Reshape";
  u.node().attributes = {};
  u.node().inputs = {soft, shape};
  u.node().outputs = {out};
}

// Before opset 7: axes of B start at `axis` of A, and only where broadcast = 1.
void legacy_broadcast(const Upgrade& u) {
  if (u.version() >= 7) return;
  const int64_t wanted = u.node().attributes.get_or<int64_t>("broadcast", 0);
  const auto* axis = u.node().attributes.get<int64_t>("axis");
  const std::optional<int64_t> a = u.rank(0);
  const std::optional<int64_t> b = u.rank(1);
  if (wanted != 0 && axis && a && b) {
    const int64_t start = *axis < 0 ? *axis + *a : *axis;
    if (start < 0 || start > *a) {
      throw_error(ErrorKind::InvalidGraph, where(u.node()), ": axis ", *axis, " is outside [", -*a,
                  ", ", *a, "]");
    }
    Ints missing(static_cast<size_t>(std::max<int64_t>(0, *a - start - *b)));
    std::iota(missing.begin(), missing.end(), *b);
    if (!missing.empty()) {
      const ValueId axes = u.constant("axes", Tensor::vector_i64(missing));
      const ValueId aligned = u.insert("Unsqueeze", {u.input(1), axes});
      u.node().inputs[1] = aligned;
    }
  }
  for (const char* old : {"broadcast", "axis"}) u.node().attributes.erase(old);
}

// Before opset 7 a slope per channel had one axis.
void prelu(const Upgrade& u) {
  if (u.version() >= 7 || u.rank(1) != 1 || u.rank(0).value_or(0) <= 2) return;
  Ints missing(static_cast<size_t>(*u.rank(0) - 2));
  std::iota(missing.begin(), missing.end(), 1);
  const ValueId axes = u.constant("axes", Tensor::vector_i64(missing));
  const ValueId slope = u.insert("Unsqueeze", {u.input(1), axes});
  u.node().inputs[1] = slope;
}

// Upsample, and Resize of opset 10: scales alone, asymmetric and floored.
void resize(const Upgrade& u) {
  const bool upsample = u.node().op_type == "Upsample";
  if (!upsample && u.version() >= 11) return;
  Attributes& attributes = u.node().attributes;
  ValueId scales = u.has(1) ? u.node().inputs[1] : kNone;
  if (const auto* listed = attributes.get<std::vector<double>>("scales")) {
    const std::vector<float> values(listed->begin(), listed->end());
    scales = u.constant(
        "scales",
        Tensor::of<float>(DType::Float, {static_cast<int64_t>(values.size())}, std::span(values)));
  } else if (attributes.find("width_scale")) {
    const float values[] = {1, 1, static_cast<float>(attributes.get_or<double>("height_scale", 1)),
                            static_cast<float>(attributes.get_or<double>("width_scale", 1))};
    scales = u.constant("scales", Tensor::of<float>(DType::Float, {4}, std::span(values)));
  }
  std::string mode = attributes.get_or<std::string>("mode", "nearest");
  if (mode == "bilinear") mode = "linear";
  u.node().op_type = "Resize";
  u.node().attributes = {};
  u.node().attributes.set("mode", mode);
  u.node().attributes.set("coordinate_transformation_mode", std::string("asymmetric"));
  u.node().attributes.set("nearest_mode", std::string("floor"));
  u.node().inputs = {u.input(0), kNone, scales};
}

void scatter(const Upgrade& u) { u.node().op_type = "ScatterElements"; }

// Before opset 21 scale and bias were per group.
void group_norm(const Upgrade& u) {
  const auto* groups = u.node().attributes.get<int64_t>("num_groups");
  const std::optional<int64_t> rank = u.rank(0);
  if (u.version() >= 21 || !groups || !rank || *rank < 2) return;
  const Dim& channels = (*u.graph.value(u.input(0)).type.shape)[1];
  if (!channels.known() || *groups <= 0) return;
  const int64_t grouped[] = {*groups, 1};
  const int64_t expanded[] = {*groups, channels.value() / *groups};
  const int64_t flat[] = {channels.value()};
  for (size_t i : {1, 2}) {
    const ValueId column =
        u.insert("Reshape", {u.input(i), u.constant("grouped", Tensor::vector_i64(grouped))});
    const ValueId rows =
        u.insert("Expand", {column, u.constant("expanded", Tensor::vector_i64(expanded))});
    const ValueId whole = u.insert("Reshape", {rows, u.constant("flat", Tensor::vector_i64(flat))});
    u.node().inputs[i] = whole;
  }
}

// A Constant node is a constant. Sparse ones stay nodes.
void constant(const Upgrade& u) {
  const Attributes& attributes = u.node().attributes;
  if (attributes.size() != 1 || u.node().outputs.size() != 1) return;
  const Attribute value = attributes.begin()->read();
  std::optional<Tensor> tensor;
  if (const auto* whole = std::get_if<Tensor>(&value)) {
    tensor = *whole;
  } else if (const auto* i = std::get_if<int64_t>(&value)) {
    tensor = Tensor::scalar_i64(*i);
  } else if (const auto* ints = std::get_if<Ints>(&value)) {
    tensor = Tensor::vector_i64(*ints);
  } else if (const auto* f = std::get_if<double>(&value)) {
    const auto single = static_cast<float>(*f);
    tensor = Tensor::of<float>(DType::Float, {}, {&single, 1});
  } else if (const auto* floats = std::get_if<std::vector<double>>(&value)) {
    const std::vector<float> singles(floats->begin(), floats->end());
    tensor =
        Tensor::of<float>(DType::Float, {static_cast<int64_t>(singles.size())}, std::span(singles));
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    tensor = Tensor::of<std::string>(DType::String, {}, {text, 1});
  } else if (const auto* texts = std::get_if<std::vector<std::string>>(&value)) {
    tensor = Tensor::of<std::string>(DType::String, {static_cast<int64_t>(texts->size())},
                                     std::span(*texts));
  }
  if (!tensor) return;
  ValueInfo& out = u.graph.value(u.node().outputs[0]);
  out.type = Type::tensor(tensor->dtype(), to_shape(tensor->dims()));
  u.graph.remove_node(u.id);
  out.constant = std::move(tensor);
}

using Rule = void (*)(const Upgrade&);

// Scan ran over a batch and along axis 1 of each entry: a Scan over the batch whose body is the
// newer Scan.
void scan(const Upgrade& u) {
  if (u.version() >= 9) return;
  if (u.has(0)) {
    throw_error(ErrorKind::NotImplemented, where(u.node()),
                ": sequence_lens of Scan version 8 is not supported");
  }
  Node& node = u.node();
  node.inputs.erase(node.inputs.begin());
  auto batch = std::make_shared<Graph>();
  batch->name = node.name;
  Node inner = node;
  inner.version = node.version = 9;
  for (ValueId& in : inner.inputs) {
    in = batch->add_value(u.graph.value(in).name);
    batch->inputs.push_back(in);
  }
  for (ValueId& out : inner.outputs) {
    out = batch->add_value(out == kNone ? "" : u.graph.value(out).name);
    batch->outputs.push_back(out);
  }
  if (const auto* directions = inner.attributes.get<Ints>("directions")) {
    inner.attributes.set("scan_input_directions", Ints(*directions));
    inner.attributes.erase("directions");
  }
  for (const std::shared_ptr<Graph>& body : subgraphs(inner)) {
    for (Capture& capture : body->captures) {
      const ValueId between = batch->add_value(body->value(capture.inner).name);
      batch->captures.push_back({capture.outer, between});
      capture.outer = between;
    }
  }
  const auto inputs = static_cast<int64_t>(inner.inputs.size());
  batch->add_node(std::move(inner));
  node.attributes = {};
  node.attributes.set("body", batch);
  node.attributes.set("num_scan_inputs", inputs);
}

const std::map<std::string_view, Rule>& rules() {
  static const std::map<std::string_view, Rule> table = {
      {"Squeeze", axes_to_input},
      {"Unsqueeze", axes_to_input},
      {"ReduceL1", reduce_axes_to_input},
      {"ReduceL2", reduce_axes_to_input},
      {"ReduceLogSum", reduce_axes_to_input},
      {"ReduceLogSumExp", reduce_axes_to_input},
      {"ReduceMax", reduce_axes_to_input},
      {"ReduceMean", reduce_axes_to_input},
      {"ReduceMin", reduce_axes_to_input},
      {"ReduceProd", reduce_axes_to_input},
      {"ReduceSum", reduce_axes_to_input},
      {"ReduceSumSquare", reduce_axes_to_input},
      {"Clip", clip},
      {"Pad", pad},
      {"Slice", slice},
      {"Split", split},
      {"Reshape", reshape},
      {"TopK", top_k},
      {"Dropout", dropout},
      {"DFT", dft},
      {"BatchNormalization", batch_norm},
      {"Cast", cast},
      {"Concat", concat_axis},
      {"Softmax", softmax},
      {"LogSoftmax", softmax},
      {"Hardmax", softmax},
      {"Add", legacy_broadcast},
      {"Sub", legacy_broadcast},
      {"Mul", legacy_broadcast},
      {"Div", legacy_broadcast},
      {"Pow", legacy_broadcast},
      {"And", legacy_broadcast},
      {"Or", legacy_broadcast},
      {"Xor", legacy_broadcast},
      {"Equal", legacy_broadcast},
      {"Greater", legacy_broadcast},
      {"Less", legacy_broadcast},
      {"Gemm", legacy_broadcast},
      {"PRelu", prelu},
      {"Upsample", resize},
      {"Resize", resize},
      {"Scatter", scatter},
      {"Scan", scan},
      {"Constant", constant},
      {"GroupNormalization", group_norm},
  };
  return table;
}

}  // namespace

void apply_upgrade(Graph& graph, NodeId id, Added added) {
  Node& node = graph.node(id);
  if (!node.domain.empty()) return;
  node.attributes.erase("consumed_inputs");
  const auto rule = rules().find(node.op_type);
  if (rule != rules().end()) rule->second({graph, id, added});
}

}  // namespace tiercel
