// Convolutions on a GPU: Conv and ConvTranspose by the kernels of conv.cu.
#include <algorithm>
#include <map>
#include <mutex>

#include "ops/op_def.h"
#include "providers/cuda/attached.h"
#include "providers/cuda/launched.h"
#include "runtime/executor.h"

namespace tiercel::cuda {
namespace {

constexpr size_t kSpatial = 3;
constexpr int64_t kTapBytes = 16;
constexpr size_t kTables = 16;  // kept for different shapes

// As in kernels/cuda/conv.cuh.
struct ConvArgs {
  int32_t batch, groups, channels, filters;
  int32_t size[kSpatial], out[kSpatial], kernel[kSpatial];
  int32_t stride[kSpatial], dilation[kSpatial], pad[kSpatial];

  [[nodiscard]] int64_t points() const { return int64_t{out[0]} * out[1] * out[2]; }
  [[nodiscard]] int64_t volume() const { return int64_t{kernel[0]} * kernel[1] * kernel[2]; }
};

// As in kernels/cuda/copy.cu.
struct ConvCopyArgs {
  int64_t shape[8], from[8], to[8];
  int64_t rank;
};

// The attributes of a node, which say where windows lie.
struct ConvWindow {
  std::vector<int64_t> strides, dilations, pads, output_padding;
  std::string auto_pad;
  bool output_shape = false, transposed = false;
  int64_t groups = 1;

  explicit ConvWindow(const Node& node)
      : auto_pad(node.attributes.get_or<std::string>("auto_pad", "NOTSET")),
        transposed(node.op_type == "ConvTranspose"),
        groups(node.attributes.get_or<int64_t>("group", 1)) {
    const auto list = [&](const char* name) {
      const auto* found = node.attributes.get<std::vector<int64_t>>(name);
      return found == nullptr ? std::vector<int64_t>() : *found;
    };
    strides = list("strides");
    dilations = list("dilations");
    pads = list("pads");
    output_padding = list("output_padding");
    output_shape = !list("output_shape").empty();
  }

  static int64_t entry(const std::vector<int64_t>& list, size_t i, int64_t otherwise) {
    return list.empty() ? otherwise : list[i];
  }
  [[nodiscard]] int64_t stride(size_t i) const { return entry(strides, i, 1); }
  [[nodiscard]] int64_t dilation(size_t i) const { return entry(dilations, i, 1); }

  // The padding before spatial axis i.
  [[nodiscard]] int64_t before(size_t i, int64_t in, int64_t out, int64_t kernel) const {
    if (auto_pad == "VALID" && !output_shape) return 0;
    const bool upper = auto_pad == "SAME_UPPER";
    const bool fitted = upper || auto_pad == "SAME_LOWER" || (transposed && output_shape);
    if (!fitted) return entry(pads, i, 0);
    const int64_t reach = (kernel - 1) * dilation(i) + 1;
    int64_t total = transposed ? (in - 1) * stride(i) + reach + entry(output_padding, i, 0) - out
                               : (out - 1) * stride(i) + reach - in;
    total = std::max<int64_t>(total, 0);
    return upper ? total / 2 : (total + 1) / 2;
  }
};

int32_t conv_word(int64_t value) {
  if (value < INT32_MIN || value > INT32_MAX) {
    throw_error(ErrorKind::EPFail, "CUDAExecutionProvider: an extent of a convolution is ", value,
                "; at most ", INT32_MAX);
  }
  return static_cast<int32_t>(value);
}

ConvArgs conv_args(const ConvWindow& window, const TclTensor& x, const TclTensor& w,
                   const TclTensor& y) {
  for (const int64_t items : {x.size, y.size}) static_cast<void>(conv_word(items));
  ConvArgs args{};
  args.batch = conv_word(x.dims[0]);
  args.groups = conv_word(window.groups);
  args.channels = conv_word(x.dims[1] / window.groups);
  args.filters = conv_word(y.dims[1] / window.groups);
  const auto spatial = static_cast<size_t>(x.rank) - 2;
  for (size_t i = 0; i < kSpatial; ++i) {
    args.size[i] = args.out[i] = args.kernel[i] = args.stride[i] = args.dilation[i] = 1;
  }
  for (size_t i = 0; i < spatial; ++i) {
    const size_t to = kSpatial - spatial + i;
    const int64_t in = x.dims[i + 2], out = y.dims[i + 2], kernel = w.dims[i + 2];
    args.size[to] = conv_word(in);
    args.out[to] = conv_word(out);
    args.kernel[to] = conv_word(kernel);
    args.stride[to] = conv_word(window.stride(i));
    args.dilation[to] = conv_word(window.dilation(i));
    args.pad[to] = conv_word(window.before(i, in, out, kernel));
  }
  return args;
}

// Tables of taps by what they are for; safe for many threads.
class TapTables {
 public:
  std::shared_ptr<Buffer> find(Device& device, const ConvArgs& args, bool transposed) {
    const std::string key(reinterpret_cast<const char*>(&args), sizeof args);
    const std::lock_guard lock(mutex_);
    if (const auto known = tables_.find(key); known != tables_.end()) return known->second;
    const int64_t taps = std::max<int64_t>(args.channels * args.volume(), 1);
    const int64_t entries = groups_of(taps, 32) * 32;
    auto table = device.allocate(entries * kTapBytes);
    const void* const address = table->data();
    Grid grid;
    grid.x = static_cast<unsigned>(groups_of(entries, grid.threads));
    Arguments()
        .add(address)
        .add(args)
        .add(entries)
        .add(int32_t{transposed})
        .launch(device, cuda_function(device, "conv", "conv_table"), grid);
    if (tables_.size() == kTables) tables_.clear();
    return tables_[key] = std::move(table);
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Buffer>> tables_;
};

struct ConvState {
  std::shared_ptr<Device> device;
  ConvWindow window;
  std::string suffix;
  int64_t item = 0;       // bytes
  bool constant = false;  // the weights are
  Attached epilogue;
  std::unique_ptr<TapTables> tables = std::make_unique<TapTables>();
  std::unique_ptr<std::mutex> mutex = std::make_unique<std::mutex>();
  mutable std::shared_ptr<Buffer> weights;  // of ConvTranspose, permuted; guarded by the mutex

  [[nodiscard]] FunctionHandle entry(const char* name) const {
    return cuda_function(*device, "conv", concat(name, suffix));
  }
};

// Weights [groups * channels, filters, kernel] as [groups * filters, channels * kernel].
ConvCopyArgs weight_order(const ConvArgs& args) {
  const int64_t channels = args.channels, filters = args.filters, volume = args.volume();
  return {{args.groups, channels, filters, volume},
          {channels * filters * volume, filters * volume, volume, 1},
          {channels * filters * volume, volume, channels * volume, 1},
          4};
}

std::shared_ptr<Buffer> permuted(const ConvState& state, const ConvArgs& args, const void* from) {
  const ConvCopyArgs order = weight_order(args);
  const int64_t total = order.shape[0] * order.from[0];
  auto made = state.device->allocate(total * state.item);
  if (total == 0) return made;
  void* const to = made->data();
  Grid grid;
  const int64_t most = int64_t{state.device->multiprocessors()} * 8;
  grid.x = static_cast<unsigned>(std::min(groups_of(total, grid.threads), most));
  const auto copy = cuda_function(*state.device, "copy", concat("copy_b", state.item * 8));
  Arguments().add(from).add(to).add(total).add(order).launch(*state.device, copy, grid);
  return made;
}

// The weights of ConvTranspose as the kernel wants them: made once where they are constant.
std::shared_ptr<Buffer> transposed_weights(const ConvState& state, const ConvArgs& args,
                                           const void* from) {
  if (!state.constant) return permuted(state, args, from);
  const std::lock_guard lock(*state.mutex);
  if (!state.weights) state.weights = permuted(state, args, from);
  return state.weights;
}

void launch_depthwise(const ConvState& state, const ConvArgs& args, const void* x, const void* w,
                      const void* bias, void* y) {
  const int64_t total = args.batch * args.points() * args.groups * args.filters;
  const int64_t most = int64_t{state.device->multiprocessors()} * 16;
  Grid grid;
  grid.x = static_cast<unsigned>(std::min(groups_of(total, grid.threads), most));
  Arguments().add(x).add(w).add(bias).add(y).add(args).launch(*state.device,
                                                              state.entry("conv_depthwise_"), grid);
}

void launch_product(const ConvState& state, const ConvArgs& args, const void* x, const void* w,
                    const void* bias, void* y) {
  const bool transposed = state.window.transposed;
  const int64_t columns = args.batch * args.points();
  const bool large = !transposed && args.filters > 64 && columns > 64;
  const int64_t tile = large ? 128 : 64;
  const auto table = state.tables->find(*state.device, args, transposed);
  const void* const taps = table->data();
  Grid grid;
  grid.x =
      static_cast<unsigned>(args.groups * groups_of(args.filters, tile) * groups_of(columns, tile));
  grid.threads = large || state.suffix == "f32" ? 256 : 128;
  const char* name = transposed ? "conv_transpose_" : large ? "conv_" : "conv_small_";
  Arguments().add(x).add(w).add(bias).add(y).add(taps).add(args).launch(*state.device,
                                                                        state.entry(name), grid);
}

void run_conv(const Step& step, RunContext& context) {
  const auto& state = *static_cast<const ConvState*>(step.state.get());
  const TclTensor& x = *context.tensor(step.inputs[0]);
  const TclTensor& y = *context.tensor(step.outputs[0]);
  if (y.size == 0) return;
  const TclTensor& w = *context.tensor(step.inputs[1]);
  const void* const bias = step.inputs[2] == kNone ? nullptr : context.tensor(step.inputs[2])->data;
  const ConvArgs args = conv_args(state.window, x, w, y);
  if (!state.window.transposed && args.channels == 1) {
    launch_depthwise(state, args, x.data, w.data, bias, y.data);
  } else if (state.window.transposed) {
    const auto weights = transposed_weights(state, args, w.data);
    launch_product(state, args, x.data, weights->data(), bias, y.data);
  } else {
    launch_product(state, args, x.data, w.data, bias, y.data);
  }
  state.epilogue.run_on_output(step, context);
}

// Whether a value is the same in all runs: a constant, or its copy to the GPU.
bool conv_constant(const Graph& graph, ValueId id) {
  const NodeId producer = graph.value(id).producer;
  if (producer == kNone) return graph.constant(id) != nullptr;
  const Node& node = graph.node(producer);
  return node.op_type == "Copy" && graph.constant(node.inputs[0]) != nullptr;
}

std::optional<std::string> conv_refuses(const Graph& graph, const Node& node) {
  if (!has_cuda_file("conv")) return "the library was built without NVRTC";
  const Type& x = graph.value(node.inputs[0]).type;
  if (x.dtype != DType::Float && x.dtype != DType::Float16 && x.dtype != DType::BFloat16) {
    return "no convolution of these types";
  }
  if (!x.shape) return "its rank is not known";
  if (x.shape->size() < 3 || x.shape->size() > 2 + kSpatial) return "more than three spatial axes";
  return attached_refuses(node, "epilogue");
}

Step compile_conv(const Graph& graph, const Node& node, const std::shared_ptr<Device>& device) {
  const DType dtype = graph.value(node.inputs[0]).type.dtype;
  const bool transposed = node.op_type == "ConvTranspose";
  Step step = launched_step(graph, node, run_conv, transposed ? "conv_transpose" : "conv");
  step.inputs.resize(3, kNone);
  Attached epilogue(node, "epilogue", step, device);
  auto state = std::make_shared<ConvState>(ConvState{.device = device,
                                                     .window = ConvWindow(node),
                                                     .suffix = std::string(type_suffix(dtype)),
                                                     .item = dtype_bytes(dtype, 1),
                                                     .epilogue = std::move(epilogue)});
  state->constant = conv_constant(graph, node.inputs[1]);
  step.state = std::move(state);
  return step;
}

}  // namespace

std::vector<LaunchedOp> conv_ops() {
  return {{"", "Conv", conv_refuses, compile_conv},
          {"", "ConvTranspose", conv_refuses, compile_conv}};
}

}  // namespace tiercel::cuda
