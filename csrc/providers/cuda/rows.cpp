// Softmax and normalizations on a GPU, by the kernels of softmax.cu and norm.cu.
#include <algorithm>

#include "base/shape.h"
#include "ops/op_def.h"
#include "providers/cuda/lines.h"
#include "providers/cuda/moves.h"
#include "runtime/executor.h"

namespace tiercel::cuda {
namespace {

constexpr int64_t kFewItems = 256;   // of a row, at most, for kernels that give a warp several rows
constexpr int64_t kShortRow = 1024;  // for those that give a warp to each row
constexpr int64_t kHeldRow = 8192;   // for those that hold a row in the registers of a block

// Blocks for rows of at most kFewItems items: a thread has eight, or less where the row ends.
int64_t blocks_of_few(int64_t rows, int64_t n) {
  int64_t lanes = 4;
  while (lanes * 8 < n) lanes *= 2;
  return groups_of(rows * lanes, 256);
}

// The data of an input or output of the step; nullptr where it is absent.
void* data_of(RunContext& context, const std::vector<ValueId>& ids, size_t i) {
  return i < ids.size() && ids[i] != kNone ? context.tensor(ids[i])->data : nullptr;
}

float epsilon_of(const Node& node) {
  return static_cast<float>(node.attributes.get_or<double>("epsilon", 1e-5));
}

// Whether all inputs but the first are of that type.
bool others_are(const Graph& graph, const Node& node, DType dtype) {
  return std::all_of(node.inputs.begin() + 1, node.inputs.end(), [&](ValueId id) {
    return id == kNone || graph.value(id).type.dtype == dtype;
  });
}

bool same_types(const Graph& graph, const Node& node) {
  return others_are(graph, node, graph.value(node.inputs[0]).type.dtype);
}

// ---- Softmax, LogSoftmax

void run_softmax(const Step& step, RunContext& context) {
  const LinesState& state = lines_in(step);
  const Node& node = context.node(step);
  const TclTensor& x = *context.tensor(step.inputs[0]);
  if (x.size == 0) return;
  const Lines lines = lines_along(x, node.attributes.get_or<int64_t>("axis", -1));
  const int32_t logarithm = node.op_type == "LogSoftmax" ? 1 : 0;
  Arguments made;
  made.add(x.data).add(context.tensor(step.outputs[0])->data);
  if (lines.inner > 1) {
    made.add(lines.n).add(lines.inner).add(logarithm);
    state.launch(2, made, grid_of(lines.outer * groups_of(lines.inner, 32)), step, context);
  } else if (lines.n <= kShortRow) {
    const bool few = lines.n <= kFewItems;
    made.add(lines.outer).add(lines.n).add(logarithm);
    const auto blocks = few ? blocks_of_few(lines.outer, lines.n) : groups_of(lines.outer, 8);
    state.launch(few ? 3 : 0, made, grid_of(blocks), step, context);
  } else {
    made.add(lines.n).add(logarithm);
    state.launch(1, made, grid_of(lines.outer), step, context);
  }
}

std::optional<std::string> softmax_refuses(const Graph& graph, const Node& node) {
  return float_lines_refused(graph, node);
}

Step compile_softmax(const Graph& graph, const Node& node, const std::shared_ptr<Device>& device) {
  return compile_lines(graph, node, device, run_softmax, "softmax", "softmax",
                       {"softmax_short_", "softmax_", "softmax_inner_", "softmax_few_"});
}

// ---- LayerNormalization, RMSNormalization

// Mean and spread of rows without items are NaN.
void no_statistics(const Step& step, RunContext& context) {
  constexpr uint64_t kNaNs = 0x7fc000007fc00000;
  for (size_t i = 1; i < step.outputs.size(); ++i) {
    if (step.outputs[i] == kNone) continue;
    const TclTensor& y = *context.tensor(step.outputs[i]);
    fill_bytes(*lines_in(step).device, y.data, kNaNs, y.size * item_bytes(y));
  }
}

void run_layer_norm(const Step& step, RunContext& context) {
  const LinesState& state = lines_in(step);
  const Node& node = context.node(step);
  const TclTensor& x = *context.tensor(step.inputs[0]);
  if (x.size == 0) return no_statistics(step, context);
  const int64_t axis = normalize_axis(node.attributes.get_or<int64_t>("axis", -1), x.rank);
  const Lines lines = lines_of(x, axis, x.rank);
  const int32_t rms = node.op_type == "RMSNormalization" ? 1 : 0;
  const size_t bias = rms != 0 ? SIZE_MAX : 2;
  const void* const none = nullptr;
  Arguments made;
  made.add(x.data).add(none).add(none);
  made.add(data_of(context, node.inputs, 1)).add(data_of(context, node.inputs, bias));
  made.add(context.tensor(step.outputs[0])->data).add(none);
  made.add(data_of(context, step.outputs, 1)).add(data_of(context, step.outputs, 2));
  made.add(lines.outer).add(lines.n).add(int64_t{1}).add(epsilon_of(node)).add(rms);
  if (lines.n <= kFewItems) {
    state.launch(0, made, grid_of(blocks_of_few(lines.outer, lines.n)), step, context);
  } else if (lines.n <= kShortRow) {
    state.launch(1, made, grid_of(groups_of(lines.outer, 8)), step, context);
  } else if (lines.n <= kHeldRow) {
    state.launch(2, made, grid_of(lines.outer), step, context);
  } else {
    state.launch(3, made, grid_of(lines.outer, 512), step, context);
  }
}

std::optional<std::string> layer_norm_refuses(const Graph& graph, const Node& node) {
  if (auto refusal = float_lines_refused(graph, node)) return refusal;
  const bool wide = graph.value(node.inputs[0]).type.dtype == DType::Float;
  const bool halves =
      wide && (others_are(graph, node, DType::Float16) || others_are(graph, node, DType::BFloat16));
  if (!halves && !same_types(graph, node)) return "a scale of another type";
  for (size_t i = 1; i < node.outputs.size(); ++i) {
    const ValueId id = node.outputs[i];
    if (id != kNone && graph.value(id).type.dtype != DType::Float) return "statistics in bfloat16";
  }
  const auto& shape = graph.value(node.inputs[0]).type.shape;
  if (!shape) return "its rank is not known";
  const int64_t axis = normalize_axis(node.attributes.get_or<int64_t>("axis", -1),
                                      static_cast<int64_t>(shape->size()));
  const Dim n = product(std::span(*shape).subspan(static_cast<size_t>(axis)));
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (node.inputs[i] == kNone) continue;
    const auto& given = graph.value(node.inputs[i]).type.shape;
    if (!given || !product(*given).same(n)) {
      return "scale or bias is not known to have one element for each of the normalised axes";
    }
  }
  return std::nullopt;
}

Step compile_layer_norm(const Graph& graph, const Node& node,
                        const std::shared_ptr<Device>& device) {
  Step step = launched_step(graph, node, run_layer_norm, "norm");
  const auto suffix_of = [&](ValueId id) { return type_suffix(graph.value(id).type.dtype); };
  std::string suffix(suffix_of(node.inputs[0]));
  if (!same_types(graph, node)) suffix = concat(suffix, "_", suffix_of(node.inputs[1]));
  step.state = std::make_shared<LinesState>(lines_state(
      node, step, device, "norm", {"norm_few_", "norm_short_", "norm_", "norm_long_"}, suffix));
  return step;
}

// ---- InstanceNormalization, GroupNormalization, BatchNormalization

void run_group_norm(const Step& step, RunContext& context) {
  const LinesState& state = lines_in(step);
  const Node& node = context.node(step);
  const TclTensor& x = *context.tensor(step.inputs[0]);
  if (x.size == 0) return;
  const Lines lines = lines_of(x, 1, 2);  // batch, channels, what is in a channel
  const int64_t groups = node.attributes.get_or<int64_t>("num_groups", lines.n);
  Arguments made;
  made.add(x.data);
  made.add(data_of(context, node.inputs, 1)).add(data_of(context, node.inputs, 2));
  made.add(context.tensor(step.outputs[0])->data);
  made.add(groups).add(lines.n / groups).add(lines.inner).add(epsilon_of(node));
  state.launch(0, made, grid_of(lines.outer * groups, 512), step, context);
}

void run_batch_norm(const Step& step, RunContext& context) {
  const LinesState& state = lines_in(step);
  const Node& node = context.node(step);
  const TclTensor& x = *context.tensor(step.inputs[0]);
  if (x.size == 0) return;
  Lines lines = lines_of(x, 1, 2);
  Arguments made;
  for (size_t i = 0; i < 5; ++i) made.add(data_of(context, node.inputs, i));
  made.add(context.tensor(step.outputs[0])->data);
  made.add(x.size).add(lines.n).add(lines.inner).add(epsilon_of(node));
  state.launch(0, made, looping_grid(*state.device, x.size), step, context);
}

std::optional<std::string> group_norm_refuses(const Graph& graph, const Node& node) {
  if (auto refusal = float_lines_refused(graph, node)) return refusal;
  if (!same_types(graph, node)) return "a scale of another type";
  return std::nullopt;
}

std::optional<std::string> batch_norm_refuses(const Graph& graph, const Node& node) {
  if (node.attributes.get_or<int64_t>("training_mode", 0) != 0) return "training";
  return group_norm_refuses(graph, node);
}

Step compile_group_norm(const Graph& graph, const Node& node,
                        const std::shared_ptr<Device>& device) {
  return compile_lines(graph, node, device, run_group_norm, "group_norm", "norm", {"group_norm_"});
}

Step compile_batch_norm(const Graph& graph, const Node& node,
                        const std::shared_ptr<Device>& device) {
  return compile_lines(graph, node, device, run_batch_norm, "batch_norm", "norm", {"batch_norm_"});
}

}  // namespace

std::vector<LaunchedOp> row_ops() {
  return {{"", "Softmax", softmax_refuses, compile_softmax},
          {"", "LogSoftmax", softmax_refuses, compile_softmax},
          {"", "LayerNormalization", layer_norm_refuses, compile_layer_norm},
          {"tiercel", "LayerNormalization", layer_norm_refuses, compile_layer_norm},
          {"", "RMSNormalization", layer_norm_refuses, compile_layer_norm},
          {"", "InstanceNormalization", group_norm_refuses, compile_group_norm},
          {"", "GroupNormalization", group_norm_refuses, compile_group_norm},
          {"", "BatchNormalization", batch_norm_refuses, compile_batch_norm}};
}

}  // namespace tiercel::cuda
