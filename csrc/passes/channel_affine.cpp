// Folds y * scale + shift per output channel into the constant weights of the linear node that
// makes y.
#include "passes/channel_affine.h"

#include <algorithm>
#include <span>

#include "passes/edit.h"

namespace tiercel::passes {

namespace {

// Where the output channels of a weight are: runs of `inner` elements belong to one, and the
// channels of a group follow one another.
struct WeightAxis {
  int64_t extent = 0;  // channels along the axis
  int64_t inner = 1;   // elements per step of the axis
  int64_t groups = 1;  // ConvTranspose: rows of the first axis belong to groups of channels
};

int64_t inner_size(const Dims& dims, size_t axis) {
  int64_t n = 1;
  for (size_t i = axis + 1; i < dims.size(); ++i) n *= dims[i];
  return n;
}

WeightAxis weight_axis(const Node& node, const Dims& dims) {
  size_t axis = 0;
  int64_t groups = 1;
  if (is_op(node, "ConvTranspose")) {
    axis = 1;
    groups = attr_int(node, "group", 1);
  } else if (is_op(node, "Gemm")) {
    axis = attr_int(node, "transB", 0) != 0 ? 0 : 1;
  }
  return {dims[axis], inner_size(dims, axis), groups};
}

// The channel of a run of `inner` elements, of `runs` altogether.
int64_t channel_of(const WeightAxis& axis, int64_t run, int64_t runs) {
  const int64_t within = run % axis.extent;
  return axis.groups == 1 ? within : run / (runs / axis.groups) * axis.extent + within;
}

template <class T>
Tensor scaled(const Tensor& weight, const WeightAxis& axis, std::span<const double> scale) {
  Tensor out(weight.dtype(), weight.dims());
  const T* from = weight.data<T>();
  T* to = out.data<T>();
  const int64_t runs = weight.size() / std::max<int64_t>(axis.inner, 1);
  for (int64_t run = 0; run < runs; ++run) {
    const double factor = scale[static_cast<size_t>(channel_of(axis, run, runs))];
    for (int64_t i = 0; i < axis.inner; ++i) *to++ = static_cast<T>(*from++ * factor);
  }
  return out;
}

bool is_wide_float(DType dtype) { return dtype == DType::Float || dtype == DType::Double; }

// A Gemm's C and beta must act like a bias per column.
bool bias_is_per_channel(const Graph& graph, const Node& node, int64_t channels) {
  if (!has_input(node, 2)) return true;
  if (is_op(node, "Gemm")) {
    if (attr_float(node, "beta", 1) != 1) return false;
    return per_channel(graph, node.inputs[2], 2, channels).has_value();
  }
  const Tensor* bias = graph.constant(node.inputs[2]);
  return bias && bias->size() == channels;
}

}  // namespace

std::optional<std::vector<double>> per_channel(const Graph& graph, ValueId id, int64_t rank,
                                               int64_t channels) {
  const Tensor* constant = id == kNone ? nullptr : graph.constant(id);
  if (!constant || !is_wide_float(constant->dtype()) || constant->rank() > rank)
    return std::nullopt;
  if (constant->size() != 1) {
    if (constant->size() != channels) return std::nullopt;
    const int64_t axis = 1 - (rank - constant->rank());
    if (axis < 0 || constant->dims()[static_cast<size_t>(axis)] != channels) return std::nullopt;
  }
  std::vector<double> values(static_cast<size_t>(channels));
  for (int64_t i = 0; i < channels; ++i) {
    values[static_cast<size_t>(i)] = *element(*constant, constant->size() == 1 ? 0 : i);
  }
  return values;
}

std::optional<int64_t> foldable_channels(const Graph& graph, const Node& node) {
  if (!is_op(node, "Conv") && !is_op(node, "ConvTranspose") && !is_op(node, "Gemm")) {
    return std::nullopt;
  }
  const Tensor* weight = has_input(node, 1) ? graph.constant(node.inputs[1]) : nullptr;
  if (!weight || !is_wide_float(weight->dtype()) || weight->rank() < 2) return std::nullopt;
  if (is_op(node, "Gemm") && attr_float(node, "alpha", 1) != 1) return std::nullopt;
  const WeightAxis axis = weight_axis(node, weight->dims());
  const int64_t channels = axis.extent * axis.groups;
  if (channels <= 0 || !bias_is_per_channel(graph, node, channels)) return std::nullopt;
  return channels;
}

void fold_affine(Graph& graph, NodeId id, const ChannelAffine& affine) {
  const Tensor weight = *graph.constant(graph.node(id).inputs[1]);
  const WeightAxis axis = weight_axis(graph.node(id), weight.dims());
  const int64_t channels = axis.extent * axis.groups;
  const std::string name = graph.node(id).name;
  if (!affine.scale.empty()) {
    const ValueId made =
        graph.add_constant(name + "_weight", weight.dtype() == DType::Double
                                                 ? scaled<double>(weight, axis, affine.scale)
                                                 : scaled<float>(weight, axis, affine.scale));
    graph.node(id).inputs[1] = made;
  }
  std::vector<double> bias(static_cast<size_t>(channels), 0.0);
  if (has_input(graph.node(id), 2)) {
    const Tensor& old = *graph.constant(graph.node(id).inputs[2]);
    for (size_t c = 0; c < bias.size(); ++c) {
      bias[c] = *element(old, old.size() == 1 ? 0 : static_cast<int64_t>(c));
    }
  }
  for (size_t c = 0; c < bias.size(); ++c) {
    if (!affine.scale.empty()) bias[c] *= affine.scale[c];
    if (!affine.shift.empty()) bias[c] += affine.shift[c];
  }
  const bool needs_bias = has_input(graph.node(id), 2) || !affine.shift.empty();
  if (!needs_bias) return;
  const ValueId made =
      graph.add_constant(name + "_bias", make_tensor(weight.dtype(), {channels}, bias));
  graph.node(id).inputs.resize(3, kNone);
  graph.node(id).inputs[2] = made;
}

}  // namespace tiercel::passes
