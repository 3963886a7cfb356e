// Last rewrites of single nodes into cheaper ones, after the rules have seen the originals.
#include "passes/edit.h"
#include "passes/lower_conv_transpose.h"
#include "passes/lower_quantize.h"
#include "passes/passes.h"

namespace tiercel::passes {

namespace {

// x² and x³ by multiplying.
bool small_power(Graph& graph, NodeId id) {
  const ValueId x = graph.node(id).inputs[0];
  const ValueId out = graph.node(id).outputs[0];
  const std::optional<double> power = scalar(graph, graph.node(id).inputs[1]);
  if (power != 2.0 && power != 3.0) return false;
  const Type type = graph.value(out).type;
  if (!dtype_is_float(type.dtype) || !same_shape(graph, x, out)) return false;
  const std::string name = graph.node(id).name;
  ValueId made = insert_node(graph, id, {"Mul", {x, x}}, type, name);
  if (power == 3.0) made = insert_node(graph, id, {"Mul", {made, x}}, type, name);
  redirect(graph, out, made);
  return true;
}

}  // namespace

bool lower(Graph& graph, PassContext&) {
  return each_graph(graph, [](Graph& g) {
    bool changed = false;
    const std::vector<NodeId> order = g.order;
    for (NodeId id : order) {
      if (is_op(g.node(id), "Pow")) changed = small_power(g, id) || changed;
      if (is_op(g.node(id), "ConvTranspose")) changed = lower_conv_transpose(g, id) || changed;
      if (is_op(g.node(id), "QuantizeLinear")) changed = lower_quantize(g, id) || changed;
      if (is_op(g.node(id), "DequantizeLinear")) changed = lower_dequantize(g, id) || changed;
    }
    return changed;
  });
}

}  // namespace tiercel::passes
