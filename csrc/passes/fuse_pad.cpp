// Pad before Conv, AveragePool and MaxPool becomes pads of the node that reads it.
#include <algorithm>
#include <cmath>

#include "passes/edit.h"
#include "passes/passes.h"

namespace tiercel::passes {

namespace {

using Numbers = std::vector<int64_t>;

// What is put around a tensor of spatial axes: first before each, then behind each.
struct Padding {
  Numbers pads;
  double value;
};

std::optional<Padding> spatial_padding(const Graph& graph, const Node& pad) {
  const std::optional<int64_t> rank = rank_of(graph, pad.inputs[0]);
  if (!rank || *rank < 3 || !has_input(pad, 1)) return std::nullopt;
  if (attr_string(pad, "mode", "constant") != "constant") return std::nullopt;
  const std::optional<Numbers> given = integers(graph, pad.inputs[1]);
  const std::optional<double> value =
      has_input(pad, 2) ? scalar(graph, pad.inputs[2]) : std::optional(0.0);
  Numbers axes;
  for (int64_t axis = 0; axis < *rank; ++axis) axes.push_back(axis);
  if (has_input(pad, 3)) axes = integers(graph, pad.inputs[3]).value_or(Numbers());
  if (!given || !value || given->size() != 2 * axes.size()) return std::nullopt;
  const auto n = static_cast<size_t>(*rank - 2);
  Padding made{Numbers(2 * n), *value};
  for (size_t i = 0; i < given->size(); ++i) {
    const int64_t axis = axes[i % axes.size()];
    const int64_t at = (axis < 0 ? axis + *rank : axis) - 2, count = (*given)[i];
    if (count < 0 || (at < 0 && count != 0)) return std::nullopt;
    if (at >= 0) made.pads[static_cast<size_t>(at) + (i < axes.size() ? 0 : n)] += count;
  }
  return made;
}

// The extents of the node's window, from one end of it to the other; empty: not known.
Numbers window_of(const Graph& graph, const Node& node) {
  Numbers window;
  if (const auto* kernel = node.attributes.get<Numbers>("kernel_shape")) {
    window = *kernel;
  } else if (const Shape* weights = is_op(node, "Conv") ? shape_of(graph, node.inputs[1]) : nullptr;
             weights != nullptr && weights->size() > 2) {
    const std::optional<Dims> dims = concrete(*weights);
    if (dims) window.assign(dims->begin() + 2, dims->end());
  }
  const auto* dilations = node.attributes.get<Numbers>("dilations");
  for (size_t i = 0; dilations != nullptr && i < std::min(window.size(), dilations->size()); ++i) {
    window[i] = (window[i] - 1) * (*dilations)[i] + 1;
  }
  return window;
}

// Whether pads of the node are the same to it as that value around its input.
bool pads_by(const Node& node, double value, bool padded) {
  if (is_op(node, "Conv")) return value == 0;
  if (attr_int(node, "ceil_mode", 0) != 0) return false;
  if (is_op(node, "AveragePool")) {
    return value == 0 && (!padded || attr_int(node, "count_include_pad", 0) != 0);
  }
  const bool indices = node.outputs.size() > 1 && node.outputs[1] != kNone;
  return is_op(node, "MaxPool") && !indices && std::isinf(value) && value < 0;
}

bool take_pad(Graph& graph, Node& node) {
  const Node* pad = producer(graph, node.inputs[0], "Pad");
  const std::string automatic = attr_string(node, "auto_pad", "NOTSET");
  if (pad == nullptr || (automatic != "NOTSET" && automatic != "VALID")) return false;
  const std::optional<Padding> around = spatial_padding(graph, *pad);
  const Numbers window = window_of(graph, node);
  if (!around || around->pads.size() != 2 * window.size()) return false;
  const auto* own = automatic == "NOTSET" ? node.attributes.get<Numbers>("pads") : nullptr;
  Numbers pads = own != nullptr ? *own : Numbers(around->pads.size());
  const bool padded = std::any_of(pads.begin(), pads.end(), [](int64_t p) { return p != 0; });
  if (pads.size() != around->pads.size() || !pads_by(node, around->value, padded)) return false;
  for (size_t i = 0; i < pads.size(); ++i) {
    pads[i] += around->pads[i];
    if (pads[i] >= window[i % window.size()]) return false;  // windows of pads alone
  }
  node.attributes.set("pads", std::move(pads));
  node.attributes.set("auto_pad", std::string("NOTSET"));
  if (is_op(node, "AveragePool")) node.attributes.set("count_include_pad", int64_t{1});
  node.inputs[0] = pad->inputs[0];
  return true;
}

}  // namespace

bool fuse_pad(Graph& graph, PassContext&) {
  return each_graph(graph, [](Graph& g) {
    bool changed = false;
    for (const NodeId id : g.order) {
      Node& node = g.node(id);
      if (node.removed) continue;
      const bool reads =
          is_op(node, "Conv") || is_op(node, "AveragePool") || is_op(node, "MaxPool");
      changed = (reads && take_pad(g, node)) || changed;
    }
    return changed;
  });
}

}  // namespace tiercel::passes
