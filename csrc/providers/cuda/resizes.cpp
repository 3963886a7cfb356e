// Resize on a GPU by the kernels of pool.cu: tables of source items and weights for each axis,
// which the CPU's kernel makes on the host.
#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <mutex>

#include "ops/op_def.h"
#include "providers/cuda/lines.h"
#include "providers/cuda/moves.h"
#include "runtime/executor.h"
#include "runtime/kernel_call.h"
#include "runtime/kernel_table.h"

namespace tiercel::cuda {
namespace {

constexpr size_t kResizeAxes = 3;
constexpr size_t kResizeTables = 16;  // kept for different shapes

// As in kernels/cuda/pool.cu.
struct ResizeArgs {
  std::array<int32_t, kResizeAxes> size{1, 1, 1}, out{1, 1, 1}, taps{1, 1, 1};
  float outside = 0;
};

// An entry of a table as kernels/cpu/resize.py has it.
struct Tap {
  int64_t at;
  double weight;
};

struct AxisTable {
  int64_t size = 1, out = 1;
  std::vector<Tap> taps{{0, 1}};

  // Whether the axis stays as it is.
  [[nodiscard]] bool stays() const {
    if (size != out || static_cast<int64_t>(taps.size()) != out) return false;
    for (size_t i = 0; i < taps.size(); ++i) {
      if (taps[i].at != static_cast<int64_t>(i) || taps[i].weight != 1) return false;
    }
    return true;
  }
};

// The tables of a shape on the GPU.
struct ResizeTables {
  int64_t planes = 1;
  ResizeArgs args;
  std::shared_ptr<Buffer> memory;
  std::array<int64_t, kResizeAxes> places{}, weights{};  // in bytes
};

int32_t resize_word(int64_t value) {
  if (value > INT32_MAX) {
    throw_error(ErrorKind::EPFail, "CUDAExecutionProvider: an extent of Resize is ", value,
                "; at most ", INT32_MAX);
  }
  return static_cast<int32_t>(value);
}

struct ResizeState {
  std::shared_ptr<Device> device;
  KernelMatch match;  // the CPU's kernel
  FunctionHandle function = nullptr;
  bool words = false;    // one tap an axis: items of any type
  bool doubles = false;  // weights
  float outside = 0;
  std::unique_ptr<std::mutex> mutex = std::make_unique<std::mutex>();
  mutable std::map<std::string, ResizeTables> tables;  // guarded by the mutex
};

// What the tables depend on.
std::string table_key(const TclCall& call) {
  std::string key;
  const auto add = [&](const void* data, int64_t bytes) {
    key.append(reinterpret_cast<const char*>(&bytes), sizeof bytes);
    key.append(static_cast<const char*>(data), static_cast<size_t>(bytes));
  };
  for (const TclTensor* tensor : {call.in[0], call.out[0]}) {
    add(tensor->dims, tensor->rank * static_cast<int64_t>(sizeof(int64_t)));
  }
  for (int64_t i = 1; i < call.n_in; ++i) {
    const TclTensor& list = *call.in[i];
    if (list.rank >= 0) add(list.data, tensor_bytes(list));
  }
  return key;
}

// Bytes of the table of an axis: what the workspace has less where the axis has no positions.
int64_t table_bytes(const TclKernel& kernel, TclCall call, int64_t axis) {
  const int64_t all = kernel.workspace(&call);
  TclTensor y = *call.out[0];
  std::vector<int64_t> dims(y.dims, y.dims + y.rank);
  dims[static_cast<size_t>(axis)] = 0;
  y.dims = dims.data();
  TclTensor* out[] = {&y};
  call.out = out;
  return all - kernel.workspace(&call);
}

// The tables of all axes, by phase 0 of the CPU's kernel.
std::vector<AxisTable> axis_tables(const TclKernel& kernel, TclCall& call) {
  std::vector<Tap> workspace(static_cast<size_t>(kernel.workspace(&call)) / sizeof(Tap) + 1);
  call.workspace = workspace.data();
  const TclTensor &x = *call.in[0], &y = *call.out[0];
  static_cast<void>(kernel.run(&call, 0, 0, y.rank, nullptr));
  std::vector<AxisTable> made;
  int64_t at = 0;
  for (int64_t axis = 0; axis < y.rank; ++axis) {
    const int64_t taps = table_bytes(kernel, call, axis) / static_cast<int64_t>(sizeof(Tap));
    const auto first = workspace.begin() + at;
    made.push_back({x.dims[axis], y.dims[axis], {first, first + taps}});
    at += taps;
  }
  return made;
}

// Axes in front that stay count as planes; missing ones come first.
ResizeTables placed(const ResizeState& state, std::vector<AxisTable> axes) {
  ResizeTables made;
  size_t first = 0;
  while (first + 1 < axes.size() && axes[first].stays()) made.planes *= axes[first++].size;
  axes.erase(axes.begin(), axes.begin() + static_cast<int64_t>(first));
  if (axes.size() > kResizeAxes) {
    throw_error(ErrorKind::EPFail, "CUDAExecutionProvider: Resize of ", axes.size(), " axes");
  }
  axes.insert(axes.begin(), kResizeAxes - axes.size(), AxisTable());
  std::vector<std::byte> bytes;
  const auto put = [&](const auto& value) {
    const size_t at = bytes.size();
    bytes.resize(at + sizeof value);
    std::memcpy(bytes.data() + at, &value, sizeof value);
  };
  int64_t points = 1;
  for (size_t i = 0; i < kResizeAxes; ++i) {
    const AxisTable& axis = axes[i];
    made.args.size[i] = resize_word(axis.size);
    made.args.out[i] = resize_word(axis.out);
    made.args.taps[i] = resize_word(static_cast<int64_t>(axis.taps.size()) / axis.out);
    points = resize_word(points * axis.out);
    made.weights[i] = static_cast<int64_t>(bytes.size());
    for (const Tap& tap : axis.taps) {
      if (state.doubles)
        put(tap.weight);
      else
        put(static_cast<float>(tap.weight));
    }
    made.places[i] = static_cast<int64_t>(bytes.size());
    for (const Tap& tap : axis.taps) put(resize_word(tap.at));
    bytes.resize((bytes.size() + 15) / 16 * 16);
  }
  made.args.outside = state.outside;
  made.memory = state.device->allocate(static_cast<int64_t>(bytes.size()));
  state.device->to_device(made.memory->data(), bytes.data(), static_cast<int64_t>(bytes.size()));
  return made;
}

ResizeTables tables_of(const ResizeState& state, TclCall& call) {
  const std::string key = table_key(call);
  const std::lock_guard lock(*state.mutex);
  if (const auto known = state.tables.find(key); known != state.tables.end()) return known->second;
  ResizeTables made = placed(state, axis_tables(*state.match.kernel, call));
  if (state.tables.size() == kResizeTables) state.tables.clear();
  return state.tables[key] = std::move(made);
}

void run_resize(const Step& step, RunContext& context) {
  const auto& state = *static_cast<const ResizeState*>(step.state.get());
  std::vector<TclTensor*> in;
  for (const ValueId id : step.inputs) in.push_back(context.tensor(id));
  TclTensor* out[] = {context.tensor(step.outputs[0])};
  const TclTensor &x = *in[0], &y = *out[0];
  if (y.size == 0 || x.size == 0) return;
  const std::vector<void*> packed(in.size() + 1, nullptr);
  TclCall call{};
  call.in = in.data();
  call.out = out;
  call.n_in = static_cast<int64_t>(in.size());
  call.n_out = 1;
  call.attr = state.match.attributes->values.data();
  call.packed = packed.data();
  call.epilogue = &kNoEpilogue;
  call.prologue = &kNoPrologue;
  const ResizeTables tables = tables_of(state, call);
  Arguments made;
  made.add(x.data);
  for (size_t i = 0; i < kResizeAxes; ++i) {
    const void* const places = tables.memory->data() + tables.places[i];
    const void* const weights = tables.memory->data() + tables.weights[i];
    made.add(places);
    if (!state.words) made.add(weights);
  }
  made.add(y.data).add(y.size).add(tables.args);
  made.launch(*state.device, state.function, looping_grid(*state.device, y.size));
}

// ---- what runs

bool resize_picks(const Node& node) {
  return node.attributes.get_or<std::string>("mode", "nearest") == "nearest" &&
         node.attributes.get_or<std::string>("coordinate_transformation_mode", "half_pixel") !=
             "tf_crop_and_resize";
}

// Whether an axis is known to stay as it is.
bool axis_stays(const Graph& graph, const Node& node, size_t axis) {
  const Shape& x = *graph.value(node.inputs[0]).type.shape;
  if (const auto* axes = node.attributes.get<std::vector<int64_t>>("axes")) {
    const auto rank = static_cast<int64_t>(x.size());
    return std::none_of(axes->begin(), axes->end(), [&](int64_t one) {
      return normalize_axis(one, rank) == static_cast<int64_t>(axis);
    });
  }
  const bool crops = node.attributes.get_or<std::string>("coordinate_transformation_mode", "") ==
                     "tf_crop_and_resize";
  const auto& y = graph.value(node.outputs[0]).type.shape;
  if (crops || !y || !x[axis].same((*y)[axis])) return false;
  if (node.inputs.size() < 3 || node.inputs[2] == kNone) return true;
  const Tensor* scales = graph.constant(node.inputs[2]);
  if (scales == nullptr) return false;
  const auto entries = static_cast<size_t>(element_count(scales->dims()));
  return entries == 0 || (axis < entries && static_cast<const float*>(scales->raw())[axis] == 1);
}

std::optional<KernelMatch> table_maker(const Graph& graph, const Node& node) {
  std::string reason;
  for (KernelMatch& match : find_kernels(graph, node, reason)) {
    const std::string_view variant = match.kernel->variant;
    if (variant == "generic" || variant == "nearest") return std::move(match);
  }
  return std::nullopt;
}

std::string resize_name(const Graph& graph, const Node& node) {
  const DType dtype = graph.value(node.inputs[0]).type.dtype;
  const int64_t bits = dtype_bits(dtype);
  if (resize_picks(node)) {
    return bits % 8 == 0 && bits <= 64 ? concat("resize_nearest_b", bits) : "";
  }
  const std::string_view suffix = type_suffix(dtype);
  for (const std::string_view one : {"f32", "f16", "bf16", "s8", "u8"}) {
    if (suffix == one) return concat("resize_", suffix);
  }
  return "";
}

std::optional<std::string> resize_refuses(const Graph& graph, const Node& node) {
  const Type& x = graph.value(node.inputs[0]).type;
  if (node.attributes.find("epilogue") != nullptr) return "a program behind it";
  if (resize_name(graph, node).empty() || !table_maker(graph, node)) {
    return concat("no GPU kernel of Resize for ", dtype_name(x.dtype));
  }
  if (!x.shape) return "its rank is not known";
  for (size_t axis = 0; axis + kResizeAxes < x.shape->size(); ++axis) {
    if (!axis_stays(graph, node, axis)) return "more than three axes may change";
  }
  return std::nullopt;
}

Step compile_resize(const Graph& graph, const Node& node, const std::shared_ptr<Device>& device) {
  const DType dtype = graph.value(node.inputs[0]).type.dtype;
  auto state = std::make_shared<ResizeState>();
  state->device = device;
  state->match = *table_maker(graph, node);
  state->words = resize_picks(node);
  state->doubles = dtype == DType::Int8 || dtype == DType::UInt8;
  state->outside = static_cast<float>(node.attributes.get_or<double>("extrapolation_value", 0.0));
  const auto inside = device->enter();
  state->function = cuda_function(*device, "pool", resize_name(graph, node));
  Step step = launched_step(graph, node, run_resize, "resize");
  step.state = std::move(state);
  return step;
}

}  // namespace

std::vector<LaunchedOp> resize_ops() { return {{"", "Resize", resize_refuses, compile_resize}}; }

}  // namespace tiercel::cuda
