// Reductions, global pools, positions of extremes, the largest items and running sums on a GPU, by
// the kernels of reduce.cu and sort.cu.
#include <algorithm>
#include <numeric>

#include "base/shape.h"
#include "ops/op_def.h"
#include "providers/cuda/lines.h"
#include "providers/cuda/moves.h"
#include "runtime/executor.h"

namespace tiercel::cuda {
namespace {

constexpr int64_t kWarpLine = 1024;    // items at most of a line that a warp reduces
constexpr int64_t kSortedLine = 4096;  // items at most of a line that is sorted in shared memory

// What an operator does to each item, how it joins them, what it does to the result.
struct Reduction {
  std::string_view op, join;
  int32_t first, last;
  bool integers;
};

constexpr Reduction kReductions[] = {
    {"ReduceSum", "sum", 0, 0, true},          {"ReduceProd", "prod", 0, 0, true},
    {"ReduceMax", "max", 0, 0, true},          {"ReduceMin", "min", 0, 0, true},
    {"ReduceL1", "sum", 1, 0, true},           {"ReduceSumSquare", "sum", 2, 0, true},
    {"ReduceMean", "sum", 0, 1, false},        {"ReduceL2", "sum", 2, 2, false},
    {"ReduceLogSum", "sum", 0, 3, false},      {"ReduceLogSumExp", "logsumexp", 0, 0, false},
    {"GlobalAveragePool", "sum", 0, 1, false}, {"GlobalMaxPool", "max", 0, 0, false},
};

const Reduction* reduction_of(const Node& node) {
  const auto* found = std::find_if(std::begin(kReductions), std::end(kReductions),
                                   [&](const Reduction& one) { return one.op == node.op_type; });
  return found == std::end(kReductions) ? nullptr : found;
}

struct Span {
  int64_t first, last;  // axes from `first` to before `last`
};

// The axes that a reduction takes, where they lie side by side but for axes of one item.
std::optional<Span> reduced_axes(const Graph& graph, const Node& node) {
  const auto& shape = graph.value(node.inputs[0]).type.shape;
  if (!shape) return std::nullopt;
  const auto rank = static_cast<int64_t>(shape->size());
  if (node.op_type.starts_with("Global")) return Span{std::min<int64_t>(2, rank), rank};
  std::vector<int64_t> axes;
  if (node.inputs.size() > 1 && node.inputs[1] != kNone) {
    const auto& constant = graph.value(node.inputs[1]).constant;
    if (!constant) return std::nullopt;
    axes = constant->as_i64();
  }
  if (axes.empty()) {
    if (node.attributes.get_or<int64_t>("noop_with_empty_axes", 0) != 0) return std::nullopt;
    return Span{0, rank};
  }
  std::vector<bool> taken(shape->size(), false);
  for (const int64_t axis : axes) taken[static_cast<size_t>(normalize_axis(axis, rank))] = true;
  Span span{rank, 0};
  for (int64_t i = 0; i < rank; ++i) {
    if (!taken[static_cast<size_t>(i)]) continue;
    span.first = std::min(span.first, i);
    span.last = i + 1;
  }
  for (int64_t i = span.first; i < span.last; ++i) {
    const auto at = static_cast<size_t>(i);
    if (!taken[at] && !(*shape)[at].same(Dim(1))) return std::nullopt;
  }
  return span;
}

struct ReductionState {
  LinesState lines;
  const Reduction* what = nullptr;
  Span axes{};
};

void run_reduction(const Step& step, RunContext& context) {
  const auto& state = *static_cast<const ReductionState*>(step.state.get());
  const TclTensor& x = *context.tensor(step.inputs[0]);
  const TclTensor& y = *context.tensor(step.outputs[0]);
  if (y.size == 0) return;
  const Lines lines = lines_of(x, state.axes.first, state.axes.last);
  Arguments made;
  made.add(x.data).add(y.data);
  if (state.what->join == "logsumexp") {
    made.add(lines.outer).add(lines.n).add(lines.inner);
    state.lines.launch(0, made, grid_of(groups_of(y.size, 8)), step, context);
  } else if (lines.inner > 1) {
    made.add(lines.n).add(lines.inner).add(state.what->first).add(state.what->last);
    const Grid grid = grid_of(lines.outer * groups_of(lines.inner, 32));
    state.lines.launch(1, made, grid, step, context);
  } else {
    made.add(lines.outer).add(lines.n).add(state.what->first).add(state.what->last);
    const bool warps = lines.n <= kWarpLine;
    Grid grid = grid_of(warps ? groups_of(lines.outer, 8) : lines.outer);
    if (warps) {
      grid.threads = 32;
      grid.threads_y = 8;
    }
    state.lines.launch(0, made, grid, step, context);
  }
}

std::optional<std::string> reduction_refuses(const Graph& graph, const Node& node) {
  const Reduction& what = *reduction_of(node);
  const DType dtype = graph.value(node.inputs[0]).type.dtype;
  const bool half = dtype_is_half(dtype);
  const bool floats = dtype == DType::Float || half;
  const bool wide = dtype == DType::Double && what.join != "logsumexp";
  const bool integers = what.integers && (dtype == DType::Int32 || dtype == DType::Int64);
  if (!floats && !wide && !integers) {
    return concat("no GPU kernel of ", node.op_type, " for ", dtype_name(dtype));
  }
  if (!reduced_axes(graph, node)) return "its axes are not side by side";
  return attached_refuses(node, "epilogue");
}

Step compile_reduction(const Graph& graph, const Node& node,
                       const std::shared_ptr<Device>& device) {
  const Reduction* what = reduction_of(node);
  Step step = launched_step(graph, node, run_reduction, "reduce");
  const std::string_view suffix = type_suffix(graph.value(node.inputs[0]).type.dtype);
  const std::string rows = concat("reduce_", what->join, "_");
  const std::string inner = what->join == "logsumexp" ? rows : concat(rows, "inner_");
  step.state = std::make_shared<ReductionState>(
      ReductionState{lines_state(node, step, device, "reduce", {rows, inner}, suffix), what,
                     *reduced_axes(graph, node)});
  return step;
}

// ---- ArgMax, ArgMin

void run_arg(const Step& step, RunContext& context) {
  const LinesState& state = lines_in(step);
  const Node& node = context.node(step);
  const TclTensor& x = *context.tensor(step.inputs[0]);
  const TclTensor& y = *context.tensor(step.outputs[0]);
  if (x.size == 0) return;
  const Lines lines = lines_along(x, node.attributes.get_or<int64_t>("axis", 0));
  const int32_t largest = node.op_type == "ArgMax" ? 1 : 0;
  const int32_t last = node.attributes.get_or<int64_t>("select_last_index", 0) != 0 ? 1 : 0;
  Arguments made;
  made.add(x.data).add(y.data).add(lines.outer).add(lines.n).add(lines.inner);
  made.add(largest).add(last);
  const bool by_columns = lines.inner >= 32;
  made.launch(*state.device, state.entries[by_columns ? 1 : 0],
              by_columns ? looping_grid(*state.device, y.size) : grid_of(groups_of(y.size, 8)));
}

std::optional<std::string> arg_refuses(const Graph& graph, const Node& node) {
  const DType dtype = graph.value(node.inputs[0]).type.dtype;
  if (type_suffix(dtype).empty()) {
    return concat("no GPU kernel of ", node.op_type, " for ", dtype_name(dtype));
  }
  const auto& shape = graph.value(node.inputs[0]).type.shape;
  if (!shape) return "its rank is not known";
  if (shape->empty()) return std::nullopt;
  const int64_t axis = normalize_axis(node.attributes.get_or<int64_t>("axis", 0),
                                      static_cast<int64_t>(shape->size()));
  if ((*shape)[static_cast<size_t>(axis)].same(Dim(0))) return "an axis without items";
  return attached_refuses(node, "epilogue");
}

Step compile_arg(const Graph& graph, const Node& node, const std::shared_ptr<Device>& device) {
  return compile_lines(graph, node, device, run_arg, "arg", "reduce", {"arg_", "arg_inner_"});
}

// ---- TopK, CumSum

void run_top_k(const Step& step, RunContext& context) {
  const LinesState& state = lines_in(step);
  const Node& node = context.node(step);
  const TclTensor& x = *context.tensor(step.inputs[0]);
  const TclTensor& y = *context.tensor(step.outputs[0]);
  if (y.size == 0) return;
  const auto axis = node.attributes.get_or<int64_t>("axis", -1);
  const Lines lines = lines_along(x, axis);
  const int64_t k = lines_along(y, axis).n;
  const int32_t largest = node.attributes.get_or<int64_t>("largest", 1) != 0 ? 1 : 0;
  Grid grid = grid_of(lines.outer * lines.inner);
  Arguments made;
  made.add(x.data).add(y.data).add(context.tensor(step.outputs[1])->data);
  made.add(lines.n).add(lines.inner).add(k);
  if (lines.n > kSortedLine) {
    made.add(largest).launch(*state.device, state.entries[1], grid);
    return;
  }
  int32_t padded = 2;
  while (padded < lines.n) padded *= 2;
  const unsigned item = static_cast<DType>(x.dtype) == DType::Int64 ? 12 : 8;
  grid.shared_bytes = static_cast<unsigned>(padded) * item;
  made.add(padded).add(largest).launch(*state.device, state.entries[0], grid);
}

std::optional<std::string> line_refuses(const Graph& graph, const Node& node, bool wide) {
  const DType dtype = graph.value(node.inputs[0]).type.dtype;
  constexpr DType kTypes[] = {DType::Float, DType::Float16, DType::BFloat16, DType::Int32,
                              DType::Int64};
  const bool known = std::find(std::begin(kTypes), std::end(kTypes), dtype) != std::end(kTypes);
  if (!known && !(wide && dtype == DType::Double)) {
    return concat("no GPU kernel of ", node.op_type, " for ", dtype_name(dtype));
  }
  return attached_refuses(node, "epilogue");
}

std::optional<std::string> top_k_refuses(const Graph& graph, const Node& node) {
  if (node.outputs.size() < 2 || node.outputs[0] == kNone || node.outputs[1] == kNone) {
    return "values or their places are not wanted";
  }
  return line_refuses(graph, node, false);
}

Step compile_top_k(const Graph& graph, const Node& node, const std::shared_ptr<Device>& device) {
  return compile_lines(graph, node, device, run_top_k, "topk", "sort", {"topk_", "topk_long_"});
}

void run_cumulative_sum(const Step& step, RunContext& context) {
  const LinesState& state = lines_in(step);
  const Node& node = context.node(step);
  const TclTensor& x = *context.tensor(step.inputs[0]);
  const TclTensor& given = *context.tensor(step.inputs[1]);  // on the host
  const int64_t axis = static_cast<DType>(given.dtype) == DType::Int32
                           ? *static_cast<const int32_t*>(given.data)
                           : *static_cast<const int64_t*>(given.data);
  const int64_t axes = std::max<int64_t>(x.rank, 1);
  if (axis < -axes || axis >= axes) fail_step(step, context, 2, TCL_INDEX_OUT_OF_RANGE);
  if (x.size == 0) return;
  const Lines lines = lines_along(x, axis);
  const int32_t exclusive = node.attributes.get_or<int64_t>("exclusive", 0) != 0 ? 1 : 0;
  const int32_t reverse = node.attributes.get_or<int64_t>("reverse", 0) != 0 ? 1 : 0;
  Arguments made;
  made.add(x.data).add(context.tensor(step.outputs[0])->data);
  if (lines.inner == 1) {
    made.add(lines.n).add(exclusive).add(reverse);
    made.launch(*state.device, state.entries[0], grid_of(lines.outer));
  } else {
    made.add(lines.outer).add(lines.n).add(lines.inner).add(exclusive).add(reverse);
    made.launch(*state.device, state.entries[1],
                looping_grid(*state.device, lines.outer * lines.inner));
  }
}

std::optional<std::string> cumulative_sum_refuses(const Graph& graph, const Node& node) {
  return line_refuses(graph, node, true);
}

Step compile_cumulative_sum(const Graph& graph, const Node& node,
                            const std::shared_ptr<Device>& device) {
  return compile_lines(graph, node, device, run_cumulative_sum, "cumsum", "sort",
                       {"cumsum_", "cumsum_inner_"});
}

}  // namespace

std::vector<LaunchedOp> reduction_ops() {
  std::vector<LaunchedOp> ops{{"", "ArgMax", arg_refuses, compile_arg},
                              {"", "ArgMin", arg_refuses, compile_arg},
                              {"", "TopK", top_k_refuses, compile_top_k},
                              {"", "CumSum", cumulative_sum_refuses, compile_cumulative_sum}};
  for (const Reduction& one : kReductions) {
    ops.push_back({"", one.op, reduction_refuses, compile_reduction});
  }
  return ops;
}

}  // namespace tiercel::cuda
