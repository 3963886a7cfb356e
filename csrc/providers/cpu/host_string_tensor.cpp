// Operators that move, compare or choose elements, for tensors of strings.
#include <algorithm>
#include <numeric>

#include "providers/cpu/host_call.h"

namespace tiercel {
namespace {

// The dims of output `i`, by the operator's own shape function with every input known.
Dims output_dims(const HostCall& call, size_t i) {
  Graph graph;
  Node node = call.node;
  for (size_t k = 0; k < node.inputs.size(); ++k) {
    if (!has_input(call, k)) {
      node.inputs[k] = kNone;
      continue;
    }
    const Tensor& given = tensor(call, k);
    node.inputs[k] = given.dtype() == DType::String
                         ? graph.add_value("", Type::tensor(DType::String, to_shape(given.dims())))
                         : graph.add_constant("", given);
  }
  for (ValueId& id : node.outputs) {
    if (id != kNone) id = graph.add_value("");
  }
  const ValueId wanted_id = node.outputs[i];
  const NodeId id = graph.add_node(std::move(node));
  infer_node(graph, graph.node(id), true);
  const auto& shape = graph.value(wanted_id).type.shape;
  const auto dims = shape ? concrete(*shape) : std::nullopt;
  if (!dims) host_fail(call, "the shape of its output is not known");
  return *dims;
}

int64_t volume(const Dims& dims, int64_t from, int64_t to) {
  return element_count(
      std::span(dims).subspan(static_cast<size_t>(from), static_cast<size_t>(to - from)));
}

std::vector<int64_t> strides_of(const Dims& dims) {
  std::vector<int64_t> strides(dims.size(), 1);
  for (size_t i = dims.size(); i-- > 1;) strides[i - 1] = strides[i] * dims[i];
  return strides;
}

// Calls take(flat output index, coordinates) for every element.
template <class Take>
void each_element(const Dims& dims, Take take) {
  std::vector<int64_t> at(dims.size(), 0);
  const int64_t n = element_count(dims);
  for (int64_t flat = 0; flat < n; ++flat) {
    take(flat, at);
    for (size_t axis = dims.size(); axis-- > 0;) {
      if (++at[axis] < dims[axis]) break;
      at[axis] = 0;
    }
  }
}

// The element of a tensor of `dims` that broadcasts to coordinates `at`.
int64_t broadcast_index(const Dims& dims, const std::vector<int64_t>& at) {
  int64_t flat = 0;
  const size_t skipped = at.size() - dims.size();
  for (size_t i = 0; i < dims.size(); ++i) {
    flat = flat * dims[i] + (dims[i] == 1 ? 0 : at[i + skipped]);
  }
  return flat;
}

void same_elements(HostCall& call) {
  give(call, 0, copy_of(tensor(call, 0)).reshaped(output_dims(call, 0)));
}

void equal(HostCall& call) {
  const auto a = strings(call, 0), b = strings(call, 1);
  const Dims& left = tensor(call, 0).dims();
  const Dims& right = tensor(call, 1).dims();
  Tensor y(DType::Bool, broadcast(left, right));
  each_element(y.dims(), [&](int64_t flat, const std::vector<int64_t>& at) {
    y.data<bool>()[flat] = a[static_cast<size_t>(broadcast_index(left, at))] ==
                           b[static_cast<size_t>(broadcast_index(right, at))];
  });
  give(call, 0, std::move(y));
}

void expand(HostCall& call) {
  const auto x = strings(call, 0);
  Tensor y(DType::String, output_dims(call, 0));
  each_element(y.dims(), [&](int64_t flat, const std::vector<int64_t>& at) {
    y.data<std::string>()[flat] =
        x[static_cast<size_t>(broadcast_index(tensor(call, 0).dims(), at))];
  });
  give(call, 0, std::move(y));
}

void concat_strings(HostCall& call) {
  Tensor y(DType::String, output_dims(call, 0));
  const int64_t rank = y.rank();
  const int64_t axis = axis_within(call, attribute<int64_t>(call.node, "axis", 0), rank);
  const int64_t outer = volume(y.dims(), 0, axis), row = volume(y.dims(), axis, rank);
  int64_t column = 0;
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    const auto x = strings(call, i);
    const int64_t width = outer == 0 ? 0 : static_cast<int64_t>(x.size()) / outer;
    for (int64_t r = 0; r < outer; ++r) {
      std::copy_n(x.data() + r * width, width, y.data<std::string>() + r * row + column);
    }
    column += width;
  }
  give(call, 0, std::move(y));
}

void gather(HostCall& call) {
  const Tensor& x = tensor(call, 0);
  const auto from = strings(call, 0);
  const std::vector<int64_t> indices = tensor(call, 1).as_i64();
  const int64_t axis = axis_within(call, attribute<int64_t>(call.node, "axis", 0), x.rank());
  const int64_t extent = x.dims()[static_cast<size_t>(axis)];
  const int64_t outer = volume(x.dims(), 0, axis), inner = volume(x.dims(), axis + 1, x.rank());
  Tensor y(DType::String, output_dims(call, 0));
  auto* out = y.data<std::string>();
  for (int64_t r = 0; r < outer; ++r) {
    for (int64_t index : indices) {
      const int64_t at = index < 0 ? index + extent : index;
      if (at < 0 || at >= extent) {
        host_fail(call, concat("index ", index, " is outside [", -extent, ", ", extent, ")"));
      }
      out = std::copy_n(from.data() + (r * extent + at) * inner, inner, out);
    }
  }
  give(call, 0, std::move(y));
}

void transpose(HostCall& call) {
  const Tensor& x = tensor(call, 0);
  const auto from = strings(call, 0);
  std::vector<int64_t> order(static_cast<size_t>(x.rank()));
  std::iota(order.rbegin(), order.rend(), 0);
  order = attribute(call.node, "perm", order);
  const std::vector<int64_t> strides = strides_of(x.dims());
  Tensor y(DType::String, output_dims(call, 0));
  each_element(y.dims(), [&](int64_t flat, const std::vector<int64_t>& at) {
    int64_t index = 0;
    for (size_t i = 0; i < at.size(); ++i) index += at[i] * strides[static_cast<size_t>(order[i])];
    y.data<std::string>()[flat] = from[static_cast<size_t>(index)];
  });
  give(call, 0, std::move(y));
}

void slice(HostCall& call) {
  const Tensor& x = tensor(call, 0);
  const auto from = strings(call, 0);
  const std::vector<int64_t> starts = tensor(call, 1).as_i64();
  std::vector<int64_t> axes(starts.size()), steps(starts.size(), 1);
  std::iota(axes.begin(), axes.end(), 0);
  if (has_input(call, 3)) axes = tensor(call, 3).as_i64();
  if (has_input(call, 4)) steps = tensor(call, 4).as_i64();
  Tensor y(DType::String, output_dims(call, 0));
  Dims begin(x.dims().size(), 0), step(x.dims().size(), 1);
  for (size_t i = 0; i < starts.size(); ++i) {
    const auto axis = static_cast<size_t>(axis_within(call, axes[i], x.rank()));
    const int64_t extent = x.dims()[axis];
    const int64_t start = starts[i] < 0 ? starts[i] + extent : starts[i];
    begin[axis] = std::clamp<int64_t>(start, 0, steps[i] < 0 ? extent - 1 : extent);
    step[axis] = steps[i];
  }
  const std::vector<int64_t> strides = strides_of(x.dims());
  each_element(y.dims(), [&](int64_t flat, const std::vector<int64_t>& at) {
    int64_t index = 0;
    for (size_t i = 0; i < at.size(); ++i) index += (begin[i] + at[i] * step[i]) * strides[i];
    y.data<std::string>()[flat] = from[static_cast<size_t>(index)];
  });
  give(call, 0, std::move(y));
}

void split(HostCall& call) {
  const Tensor& x = tensor(call, 0);
  const auto from = strings(call, 0);
  const int64_t axis = axis_within(call, attribute<int64_t>(call.node, "axis", 0), x.rank());
  const int64_t outer = volume(x.dims(), 0, axis), row = volume(x.dims(), axis, x.rank());
  int64_t column = 0;
  for (size_t i = 0; i < call.outputs.size(); ++i) {
    if (!wanted(call, i)) host_fail(call, "an output of Split is missing");
    Tensor y(DType::String, output_dims(call, i));
    const int64_t width = volume(y.dims(), axis, y.rank());
    for (int64_t r = 0; r < outer; ++r) {
      std::copy_n(from.data() + r * row + column, width, y.data<std::string>() + r * width);
    }
    column += width;
    give(call, i, std::move(y));
  }
}

void tile(HostCall& call) {
  const Tensor& x = tensor(call, 0);
  const auto from = strings(call, 0);
  const std::vector<int64_t> strides = strides_of(x.dims());
  Tensor y(DType::String, output_dims(call, 0));
  each_element(y.dims(), [&](int64_t flat, const std::vector<int64_t>& at) {
    int64_t index = 0;
    for (size_t i = 0; i < at.size(); ++i) index += at[i] % x.dims()[i] * strides[i];
    y.data<std::string>()[flat] = from[static_cast<size_t>(index)];
  });
  give(call, 0, std::move(y));
}

// The extents of axes [start, end), both counted from the end where they are negative.
void shape(HostCall& call) {
  const Dims& dims = tensor(call, 0).dims();
  const auto rank = static_cast<int64_t>(dims.size());
  const auto bound = [&](std::string_view name, int64_t fallback) {
    const auto at = attribute<int64_t>(call.node, name, fallback);
    return std::clamp<int64_t>(at < 0 ? at + rank : at, 0, rank);
  };
  const int64_t start = bound("start", 0);
  const int64_t end = std::max(start, bound("end", rank));
  give(call, 0, Tensor::vector_i64(std::vector<int64_t>(dims.begin() + start, dims.begin() + end)));
}

void size(HostCall& call) { give(call, 0, Tensor::scalar_i64(tensor(call, 0).size())); }

constexpr HostOp kStringTensor[] = {
    {"", "Identity", same_elements, "T=string"},
    {"", "Reshape", same_elements, "T=string"},
    {"", "Flatten", same_elements, "T=string"},
    {"", "Squeeze", same_elements, "T=string"},
    {"", "Unsqueeze", same_elements, "T=string"},
    {"", "Shape", shape, "T=string"},
    {"", "Size", size, "T=string"},
    {"", "Equal", equal, "T=string"},
    {"", "Expand", expand, "T=string"},
    {"", "Concat", concat_strings, "T=string"},
    {"", "Gather", gather, "T=string"},
    {"", "Transpose", transpose, "T=string"},
    {"", "Slice", slice, "T=string"},
    {"", "Split", split, "T=string"},
    {"", "Tile", tile, "T=string"},
};

}  // namespace

std::span<const HostOp> host_string_tensor_ops() { return kStringTensor; }

}  // namespace tiercel
