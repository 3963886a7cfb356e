// Convolutions of 8-bit integers on a GPU, by the kernels of conv_bytes.cu: ConvInteger and
// QLinearConv.
#include <algorithm>

#include "base/error.h"
#include "ops/op_def.h"
#include "providers/cuda/bytes.h"
#include "providers/cuda/kept.h"
#include "providers/cuda/lines.h"
#include "runtime/executor.h"

namespace tiercel::cuda {
namespace {

// As in kernels/cuda/conv_bytes.cu.
struct ByteResult {
  const void *bias, *x_scale, *w_scale, *y_scale, *y_zero;
  int32_t w_step, kind;
};

struct ByteConvState {
  std::shared_ptr<Device> device;
  ConvWindow window;
  size_t w = 1, x_zero = 2, w_zero = 3;  // inputs of the step
  bool rounded = false, x_zeros = false, w_zeros = false;
  int32_t signs = 0;
  FunctionHandle product = nullptr, alone = nullptr, runs = nullptr;
  std::unique_ptr<KeptBuffers> tables = std::make_unique<KeptBuffers>();
  Derived weights;  // as the product wants them
};

ByteConvArgs byte_conv_args(const ConvArgs& c) {
  ByteConvArgs args{c, {}, 0, 0};
  for (size_t i = 0; i < kSpatial; ++i) {
    args.room[i] = conv_word(int64_t{c.out[i] - 1} * c.stride[i] +
                             int64_t{c.kernel[i] - 1} * c.dilation[i] + 1);
  }
  const int64_t whole = c.channels > 8 ? 16 : 4;  // bytes that are copied at once
  args.held = conv_word(groups_of(std::max(c.channels, 1), whole) * whole);
  args.pitch = groups_of(c.volume() * args.held, 16) * 16;
  return args;
}

// Where runs of bytes of a window begin.
std::shared_ptr<Buffer> table_of_runs(const ByteConvState& state, const ByteConvArgs& args) {
  const int32_t run = args.held % 16 == 0 ? 16 : 4;
  const int64_t entries = groups_of(args.c.volume() * args.held, run) + 3;
  auto table = state.device->allocate(entries * 4);
  const void* const address = table->data();
  Arguments().add(address).add(args).add(run).add(entries).launch(*state.device, state.runs,
                                                                  grid_of(groups_of(entries, 256)));
  return table;
}

// Weights [groups * filters, channels, kernel] as [groups * filters, kernel, channels], each row
// padded to its pitch.
std::shared_ptr<Buffer> laid_out_weights(const ByteConvState& state, const ByteConvArgs& args,
                                         const void* from) {
  ByteConvArgs rows{};
  rows.held = args.held;
  rows.c.channels = args.c.channels;
  for (size_t i = 0; i < kSpatial; ++i) rows.c.size[i] = rows.room[i] = 1;
  rows.c.size[2] = conv_word(args.c.volume());
  rows.room[2] = conv_word(args.pitch / args.held);
  const int64_t filters = int64_t{args.c.groups} * args.c.filters;
  return lay_out(*state.device, rows, filters, from, nullptr);
}

struct ByteConvCall {
  const void *x, *w, *x_zero = nullptr, *w_zero = nullptr;
  void* y;
  ByteResult result{};
  int32_t zero_step = 0;
};

void launch_alone(const ByteConvState& state, const ConvArgs& c, const ByteConvCall& call) {
  Arguments made;
  made.add(call.x).add(call.w).add(call.x_zero).add(call.w_zero).add(call.y).add(c);
  made.add(call.result).add(call.zero_step).add(state.signs);
  const int64_t total = c.batch * c.points() * c.groups * c.filters;
  made.launch(*state.device, state.alone, looping_grid(*state.device, total));
}

void launch_byte_product(const ByteConvState& state, const ConvArgs& c, const ByteConvCall& call) {
  const ByteConvArgs args = byte_conv_args(c);
  Device& device = *state.device;
  const auto weights = state.weights.get([&] { return laid_out_weights(state, args, call.w); });
  const auto images = lay_out(device, args, int64_t{c.batch} * c.groups, call.x, call.x_zero);
  const std::string key(reinterpret_cast<const char*>(&args), sizeof args);
  const auto table = state.tables->get(device, key, [&] { return table_of_runs(state, args); });
  const void *const x = images->data(), *const w = weights->data(), *const runs = table->data();
  Arguments made;
  made.add(x).add(w).add(call.x_zero).add(call.w_zero).add(call.y).add(runs).add(args);
  made.add(call.result).add(call.zero_step);
  const int64_t columns = c.batch * c.points();
  made.launch(device, state.product,
              grid_of(c.groups * groups_of(c.filters, 64) * groups_of(columns, 128)));
}

// 0 for one number, 1 for one each filter.
int32_t filter_step(const TclTensor& tensor) { return tensor.size == 1 ? 0 : 1; }

void run_byte_conv(const Step& step, RunContext& context) {
  const auto& state = *static_cast<const ByteConvState*>(step.state.get());
  const auto tensor = [&](size_t i) -> const TclTensor& { return *context.tensor(step.inputs[i]); };
  const TclTensor &x = tensor(0), &w = tensor(state.w), &y = *context.tensor(step.outputs[0]);
  if (y.size == 0) return;
  const ConvArgs c = conv_args(state.window, x, w, y);
  ByteConvCall call{.x = x.data, .w = w.data, .y = y.data};
  if (state.x_zeros) call.x_zero = tensor(state.x_zero).data;
  if (state.w_zeros) {
    call.w_zero = tensor(state.w_zero).data;
    call.zero_step = filter_step(tensor(state.w_zero));
  }
  if (state.rounded) {
    const bool is_signed = static_cast<DType>(y.dtype) == DType::Int8;
    const void* const bias = step.inputs[8] == kNone ? nullptr : tensor(8).data;
    call.result = {bias,           tensor(1).data,         tensor(4).data,   tensor(6).data,
                   tensor(7).data, filter_step(tensor(4)), is_signed ? 1 : 2};
  }
  c.channels == 1 ? launch_alone(state, c, call) : launch_byte_product(state, c, call);
}

std::optional<std::string> byte_conv_refuses(const Graph& graph, const Node& node) {
  return spatial_refused(graph.value(node.inputs[0]).type);
}

Step compile_byte_conv(const Graph& graph, const Node& node,
                       const std::shared_ptr<Device>& device) {
  ByteConvState state{.device = device, .window = ConvWindow(node)};
  state.rounded = node.op_type == "QLinearConv";
  if (state.rounded) state.w = 3, state.w_zero = 5;
  const DType x = graph.value(node.inputs[0]).type.dtype;
  const DType w = graph.value(node.inputs[state.w]).type.dtype;
  state.signs = (x == DType::Int8 ? 1 : 0) + (w == DType::Int8 ? 2 : 0);
  state.x_zeros = !is_nothing(graph, input_of(node, state.x_zero));
  state.w_zeros = !is_nothing(graph, input_of(node, state.w_zero));
  const auto groups = node.attributes.get_or<int64_t>("group", 1);
  state.weights = {device, graph, node.inputs[state.w], concat("rows of bytes, group ", groups)};
  const auto inside = device->enter();
  const auto entry = [&](const std::string& name) {
    return cuda_function(*device, "conv_bytes", name);
  };
  state.product = entry(concat("conv_", type_suffix(x), "_", type_suffix(w)));
  state.alone = entry("conv_depthwise_bytes");
  state.runs = entry("conv_runs");
  Step step = launched_step(graph, node, run_byte_conv, "conv_bytes");
  step.inputs.resize(9, kNone);
  step.state = std::make_shared<ByteConvState>(std::move(state));
  return step;
}

}  // namespace

std::vector<LaunchedOp> byte_conv_ops() {
  return {{"", "ConvInteger", byte_conv_refuses, compile_byte_conv},
          {"", "QLinearConv", byte_conv_refuses, compile_byte_conv}};
}

}  // namespace tiercel::cuda
