// Pools over windows on a GPU: MaxPool, AveragePool and LpPool by the kernels of pool.cu.
#include <algorithm>
#include <array>

#include "ops/op_def.h"
#include "providers/cuda/lines.h"
#include "providers/cuda/moves.h"
#include "runtime/executor.h"

namespace tiercel::cuda {
namespace {

constexpr size_t kPoolAxes = 3;

// As in kernels/cuda/pool.cu.
struct PoolArgs {
  int64_t planes = 0;
  std::array<int32_t, kPoolAxes> size{1, 1, 1}, out{1, 1, 1}, kernel{1, 1, 1}, stride{1, 1, 1};
  std::array<int32_t, kPoolAxes> dilation{1, 1, 1}, pad{}, pad_end{};
  int32_t include_pad = 0;
  float p = 0;
};

int32_t pool_word(int64_t value) {
  if (value < INT32_MIN || value > INT32_MAX) {
    throw_error(ErrorKind::EPFail, "CUDAExecutionProvider: an extent of a pool is ", value,
                "; at most ", INT32_MAX);
  }
  return static_cast<int32_t>(value);
}

PoolArgs pool_args(const Node& node, const TclTensor& x, const TclTensor& y) {
  const auto entry = [&](const char* name, size_t i, int64_t otherwise) {
    const auto* list = node.attributes.get<std::vector<int64_t>>(name);
    return list == nullptr || list->empty() ? otherwise : (*list)[i];
  };
  const std::string fit = node.attributes.get_or<std::string>("auto_pad", "NOTSET");
  const auto spatial = static_cast<size_t>(x.rank) - 2;
  PoolArgs args;
  args.planes = x.dims[0] * x.dims[1];
  int64_t area = 1, points = 1;
  for (size_t i = 0; i < spatial; ++i) {
    const size_t to = kPoolAxes - spatial + i;
    const int64_t in = x.dims[i + 2], out = y.dims[i + 2], kernel = entry("kernel_shape", i, 1);
    const int64_t stride = entry("strides", i, 1), dilation = entry("dilations", i, 1);
    int64_t before = 0, after = 0;
    if (fit == "SAME_UPPER" || fit == "SAME_LOWER") {
      const int64_t reach = (kernel - 1) * dilation + 1;
      const int64_t total = std::max<int64_t>((out - 1) * stride + reach - in, 0);
      before = fit == "SAME_UPPER" ? total / 2 : (total + 1) / 2;
      after = total - before;
    } else if (fit != "VALID") {
      before = entry("pads", i, 0);
      after = entry("pads", i + spatial, 0);
    }
    area *= in;
    points *= out;
    args.size[to] = pool_word(in);
    args.out[to] = pool_word(out);
    args.kernel[to] = pool_word(kernel);
    args.stride[to] = pool_word(stride);
    args.dilation[to] = pool_word(dilation);
    args.pad[to] = pool_word(before);
    args.pad_end[to] = pool_word(after);
    static_cast<void>(pool_word(in + out * stride + kernel * dilation + before + after));
  }
  for (const int64_t items : {area, points}) static_cast<void>(pool_word(items));
  return args;
}

void run_max_pool(const Step& step, RunContext& context) {
  const LinesState& state = lines_in(step);
  const Node& node = context.node(step);
  const bool places = step.outputs.size() > 1 && step.outputs[1] != kNone;
  const TclTensor& x = *context.tensor(step.inputs[0]);
  const TclTensor& y = *context.tensor(step.outputs[0]);
  if (y.size == 0) return;
  const int32_t by_columns = node.attributes.get_or<int64_t>("storage_order", 0) != 0 ? 1 : 0;
  void* const indices = places ? context.tensor(step.outputs[1])->data : nullptr;
  void* const status = state.device->status();
  Arguments made;
  made.add(x.data).add(y.data).add(indices).add(status);
  made.add(failure_of(step, TCL_INVALID_VALUE)).add(y.size).add(by_columns);
  made.add(pool_args(node, x, y));
  state.launch(0, made, looping_grid(*state.device, y.size), step, context);
}

void run_summing_pool(const Step& step, RunContext& context) {
  const LinesState& state = lines_in(step);
  const Node& node = context.node(step);
  const TclTensor& x = *context.tensor(step.inputs[0]);
  const TclTensor& y = *context.tensor(step.outputs[0]);
  if (y.size == 0) return;
  PoolArgs args = pool_args(node, x, y);
  args.include_pad = node.attributes.get_or<int64_t>("count_include_pad", 0) != 0 ? 1 : 0;
  args.p = static_cast<float>(node.attributes.get_or<int64_t>("p", 2));
  Arguments made;
  made.add(x.data).add(y.data).add(y.size).add(args);
  state.launch(0, made, looping_grid(*state.device, y.size), step, context);
}

std::optional<std::string> pool_refuses(const Graph& graph, const Node& node) {
  const Type& x = graph.value(node.inputs[0]).type;
  const std::string_view suffix = type_suffix(x.dtype);
  const bool floats = suffix == "f32" || suffix == "f16" || suffix == "bf16";
  const bool bytes = node.op_type == "MaxPool" && (suffix == "s8" || suffix == "u8");
  if (!floats && !bytes)
    return concat("no GPU kernel of ", node.op_type, " for ", dtype_name(x.dtype));
  if (!x.shape) return "its rank is not known";
  if (x.shape->size() < 3 || x.shape->size() > 2 + kPoolAxes) return "more than three spatial axes";
  if (node.outputs.empty() || node.outputs[0] == kNone) return "its result is not wanted";
  return attached_refuses(node, "epilogue");
}

Step compile_max_pool(const Graph& graph, const Node& node, const std::shared_ptr<Device>& device) {
  return compile_lines(graph, node, device, run_max_pool, "max_pool", "pool", {"max_pool_"});
}

Step compile_summing_pool(const Graph& graph, const Node& node,
                          const std::shared_ptr<Device>& device) {
  const char* name = node.op_type == "LpPool" ? "lp_pool" : "average_pool";
  return compile_lines(graph, node, device, run_summing_pool, name, "pool", {concat(name, "_")});
}

}  // namespace

std::vector<LaunchedOp> pool_ops() {
  return {{"", "MaxPool", pool_refuses, compile_max_pool},
          {"", "AveragePool", pool_refuses, compile_summing_pool},
          {"", "LpPool", pool_refuses, compile_summing_pool}};
}

}  // namespace tiercel::cuda
