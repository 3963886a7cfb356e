// Operators that move elements by shapes alone on a GPU: Transpose, Concat, Split, Slice, Expand,
// Tile, DepthToSpace, SpaceToDepth, Pad, CenterCropPad, ConstantOfShape.
#include "providers/cuda/moves.h"

#include <algorithm>
#include <cstring>

#include "base/shape.h"
#include "ops/op_def.h"
#include "providers/cuda/lines.h"
#include "runtime/executor.h"
#include "runtime/kernel_call.h"

namespace tiercel::cuda {
namespace {

constexpr int64_t kTile = 32;        // rows and columns of a transposed tile
constexpr int64_t kLeastSide = 8;    // of what is worth tiles
constexpr int64_t kWidestItem = 16;  // bytes

// As in kernels/cuda/copy.cu.
struct TransposeArgs {
  int64_t rows, columns, from, to;
  CopyArgs batch;
};
struct PadArgs {
  std::array<int64_t, kMoveAxes> shape{}, size{}, before{};
  int64_t rank = 0, mode = 0;
};

FunctionHandle copy_entry(Device& device, std::string_view name, int64_t item) {
  return cuda_function(device, "copy", concat(name, "_b", item * 8));
}

// Leaves out axes of one item and joins those that continue one another.
std::vector<Move::Axis> joined(const std::vector<Move::Axis>& axes) {
  std::vector<Move::Axis> out;
  for (const Move::Axis& axis : axes) {
    if (axis.n == 1) continue;
    const bool continues =
        !out.empty() && out.back().from == axis.from * axis.n && out.back().to == axis.to * axis.n;
    if (continues) {
      out.back() = {out.back().n * axis.n, axis.from, axis.to};
    } else {
      out.push_back(axis);
    }
  }
  return out;
}

// A move whose addresses hold its offsets, and whose items are as wide as they can be.
struct WideMove {
  std::vector<Move::Axis> axes;
  const std::byte* x;
  std::byte* y;
  int64_t item;

  void widen() {
    while (item < kWidestItem && can_double()) {
      for (Move::Axis& axis : axes) {
        const bool last = &axis == &axes.back();
        axis = last ? Move::Axis{axis.n / 2, 1, 1} : Move::Axis{axis.n, axis.from / 2, axis.to / 2};
      }
      item *= 2;
    }
    if (!axes.empty() && axes.back().n == 1) axes.pop_back();
  }

 private:
  [[nodiscard]] bool can_double() const {
    if (axes.empty()) return false;
    const Move::Axis& last = axes.back();
    const auto wide = static_cast<uintptr_t>(item) * 2;
    const auto aligned = [&](const void* p) { return reinterpret_cast<uintptr_t>(p) % wide == 0; };
    if (last.from != 1 || last.to != 1 || last.n % 2 != 0 || !aligned(x) || !aligned(y)) {
      return false;
    }
    return std::all_of(axes.begin(), axes.end() - 1, [](const Move::Axis& axis) {
      return axis.from % 2 == 0 && axis.to % 2 == 0;
    });
  }
};

CopyArgs copy_args(const std::vector<Move::Axis>& axes) {
  if (axes.size() > kMoveAxes) {
    throw_error(ErrorKind::EPFail, "CUDAExecutionProvider: a move of ", axes.size(),
                " axes; at most ", kMoveAxes);
  }
  CopyArgs args;
  args.rank = static_cast<int64_t>(axes.size());
  for (size_t i = 0; i < axes.size(); ++i) {
    args.shape[i] = axes[i].n;
    args.from[i] = axes[i].from;
    args.to[i] = axes[i].to;
  }
  return args;
}

// Runs along the last axis of y go by tiles where another axis is the dense one of x; false: they
// do not.
bool run_transposed(Device& device, const WideMove& move) {
  if (move.axes.size() < 2) return false;
  const Move::Axis last = move.axes.back();
  if (last.to != 1 || last.from < 2 || last.n < kLeastSide) return false;
  const auto dense = std::find_if(move.axes.begin(), move.axes.end(), [](const Move::Axis& axis) {
    return axis.from == 1 && axis.n >= kLeastSide;
  });
  if (dense == move.axes.end()) return false;
  TransposeArgs args{last.n, dense->n, last.from, dense->to, {}};
  std::vector<Move::Axis> batch(move.axes.begin(), dense);
  batch.insert(batch.end(), dense + 1, move.axes.end() - 1);
  int64_t batches = 1;
  for (const Move::Axis& axis : batch) batches *= axis.n;
  const int64_t blocks = batches * groups_of(args.rows, kTile) * groups_of(args.columns, kTile);
  if (blocks > INT32_MAX) return false;
  args.batch = copy_args(batch);
  Grid grid = grid_of(blocks, kTile);
  grid.threads_y = 8;
  const void* const x = move.x;
  void* const y = move.y;
  Arguments().add(x).add(y).add(args).launch(device, copy_entry(device, "transpose", move.item),
                                             grid);
  return true;
}

}  // namespace

void Move::run(Device& device, const void* x, void* y, int64_t item) const {
  int64_t total = 1;
  for (const Axis& axis : axes) total *= axis.n;
  if (total == 0) return;
  WideMove move{joined(axes), static_cast<const std::byte*>(x) + from * item,
                static_cast<std::byte*>(y) + to * item, item};
  move.widen();
  if (run_transposed(device, move)) return;
  const CopyArgs args = copy_args(move.axes);
  total = total * item / move.item;
  const void* const source = move.x;
  void* const target = move.y;
  Arguments().add(source).add(target).add(total).add(args).launch(
      device, copy_entry(device, "copy", move.item), looping_grid(device, total));
}

void fill_bytes(Device& device, void* to, uint64_t pattern, int64_t bytes) {
  if (bytes == 0) return;
  Arguments().add(to).add(pattern).add(bytes).launch(device, cuda_function(device, "copy", "fill"),
                                                     looping_grid(device, groups_of(bytes, 8)));
}

std::vector<int64_t> integers_of(const TclTensor& tensor) {
  const auto count = static_cast<size_t>(tensor.size);
  if (static_cast<DType>(tensor.dtype) == DType::Int32) {
    const auto* data = static_cast<const int32_t*>(tensor.data);
    return {data, data + count};
  }
  const auto* data = static_cast<const int64_t*>(tensor.data);
  return {data, data + count};
}

int64_t item_bytes(const TclTensor& tensor) {
  return dtype_bytes(static_cast<DType>(tensor.dtype), 1);
}

std::optional<std::string> move_refuses(const Graph& graph, const Node& node, size_t input) {
  if (node.attributes.find("epilogue") != nullptr) return "a program behind it";
  const Type& type = graph.value(node.inputs[input]).type;
  const int64_t bits = dtype_bits(type.dtype);
  if (bits % 8 != 0 || bits > kWidestItem * 8) return concat("items of ", bits, " bits");
  if (!type.shape) return "its rank is not known";
  if (type.shape->size() > kMoveAxes) return concat("more than ", kMoveAxes, " axes");
  return std::nullopt;
}

void fail_step(const Step& step, RunContext& context, size_t inputs, int32_t code) {
  std::vector<TclTensor*> tensors;
  for (size_t i = 0; i < inputs; ++i) tensors.push_back(context.tensor(step.inputs[i]));
  TclCall call{};
  call.in = tensors.data();
  call.n_in = static_cast<int64_t>(inputs);
  call.error_index = -1;
  report_kernel_error(context.node(step), call, code);
}

Step move_step(const Graph& graph, const Node& node, StepFn run, std::string_view kernel,
               const std::shared_ptr<Device>& device) {
  Step step = launched_step(graph, node, run, kernel);
  step.state = std::make_shared<MoveState>(MoveState{device});
  return step;
}

namespace {

// ---- Transpose, Expand, Tile, Slice

void run_transpose(const Step& step, RunContext& context) {
  const TclTensor &x = *context.tensor(step.inputs[0]), &y = *context.tensor(step.outputs[0]);
  const auto* perm = context.node(step).attributes.get<std::vector<int64_t>>("perm");
  const std::vector<int64_t> from = strides_of(x), to = strides_of(y);
  Move move;
  for (int64_t i = 0; i < y.rank; ++i) {
    const auto at = static_cast<size_t>(i);
    const int64_t axis =
        perm == nullptr || perm->empty() ? x.rank - 1 - i : normalize_axis((*perm)[at], x.rank);
    move.axes.push_back({y.dims[i], from[static_cast<size_t>(axis)], to[at]});
  }
  move.run(device_of(step), x.data, y.data, item_bytes(x));
}

void run_expand(const Step& step, RunContext& context) {
  const TclTensor &x = *context.tensor(step.inputs[0]), &y = *context.tensor(step.outputs[0]);
  const std::vector<int64_t> from = strides_of(x), to = strides_of(y);
  Move move;
  for (int64_t i = 0; i < y.rank; ++i) {
    const int64_t axis = i - (y.rank - x.rank);
    const bool moves = axis >= 0 && x.dims[axis] != 1;
    move.axes.push_back(
        {y.dims[i], moves ? from[static_cast<size_t>(axis)] : 0, to[static_cast<size_t>(i)]});
  }
  move.run(device_of(step), x.data, y.data, item_bytes(x));
}

// Each axis is two: the repeats, which stand still in x, and its own.
void run_tile(const Step& step, RunContext& context) {
  const TclTensor &x = *context.tensor(step.inputs[0]), &y = *context.tensor(step.outputs[0]);
  if (y.size == 0) return;
  const std::vector<int64_t> from = strides_of(x), to = strides_of(y);
  Move move;
  for (int64_t i = 0; i < y.rank; ++i) {
    const auto at = static_cast<size_t>(i);
    move.axes.push_back({y.dims[i] / x.dims[i], 0, to[at] * x.dims[i]});
    move.axes.push_back({x.dims[i], from[at], to[at]});
  }
  move.run(device_of(step), x.data, y.data, item_bytes(x));
}

void run_slice(const Step& step, RunContext& context) {
  const TclTensor &x = *context.tensor(step.inputs[0]), &y = *context.tensor(step.outputs[0]);
  if (y.size == 0) return;
  const auto list = [&](size_t i) {
    const bool given = i < step.inputs.size() && step.inputs[i] != kNone;
    return given ? integers_of(*context.tensor(step.inputs[i])) : std::vector<int64_t>();
  };
  const std::vector<int64_t> starts = list(1), axes = list(3), steps = list(4);
  const std::vector<int64_t> from = strides_of(x), to = strides_of(y);
  Move move;
  for (size_t i = 0; i < to.size(); ++i) move.axes.push_back({y.dims[i], from[i], to[i]});
  for (size_t i = 0; i < starts.size(); ++i) {
    const int64_t axis = axes.empty() ? static_cast<int64_t>(i) : normalize_axis(axes[i], x.rank);
    const int64_t extent = x.dims[axis], stride = from[static_cast<size_t>(axis)];
    const int64_t by = steps.empty() ? 1 : steps[i];
    const int64_t first = starts[i] < 0 ? starts[i] + extent : starts[i];
    move.from += std::min(std::max<int64_t>(first, 0), by < 0 ? extent - 1 : extent) * stride;
    if (y.dims[axis] != 1) move.axes[static_cast<size_t>(axis)].from = by * stride;
  }
  move.run(device_of(step), x.data, y.data, item_bytes(x));
}

// ---- Concat, Split: one part of the whole at a time

void run_parts(const Step& step, RunContext& context) {
  const Node& node = context.node(step);
  const bool joins = node.op_type == "Concat";
  const TclTensor& whole = *context.tensor(joins ? step.outputs[0] : step.inputs[0]);
  const Dims strides = strides_of(whole);
  const auto axis =
      static_cast<size_t>(normalize_axis(node.attributes.get_or<int64_t>("axis", 0), whole.rank));
  int64_t at = 0;
  for (const ValueId id : joins ? step.inputs : step.outputs) {
    const TclTensor& part = *context.tensor(id);
    const Dims own = strides_of(part);
    Move move;
    for (size_t i = 0; i < own.size(); ++i) {
      move.axes.push_back({part.dims[i], joins ? own[i] : strides[i], joins ? strides[i] : own[i]});
    }
    (joins ? move.to : move.from) = at * strides[axis];
    const TclTensor &x = joins ? part : whole, &y = joins ? whole : part;
    move.run(device_of(step), x.data, y.data, item_bytes(x));
    at += part.dims[axis];
  }
}

// ---- DepthToSpace, SpaceToDepth

// The two orders of axes: n, c, h, block, w, block of the image, and where they lie in the
// channels.
void run_blocks(const Step& step, RunContext& context) {
  const Node& node = context.node(step);
  const TclTensor &x = *context.tensor(step.inputs[0]), &y = *context.tensor(step.outputs[0]);
  const bool to_space = node.op_type == "DepthToSpace";
  const TclTensor& image = to_space ? y : x;
  const TclTensor& depth = to_space ? x : y;
  const auto block = node.attributes.get_or<int64_t>("blocksize", 1);
  const bool columns_first = node.attributes.get_or<std::string>("mode", "DCR") == "CRD";
  const int64_t channels = image.dims[1], h = depth.dims[2], w = depth.dims[3], area = h * w;
  const int64_t across = columns_first ? area : channels * area;  // between columns of a block
  const int64_t channel = columns_first ? block * block * area : area;
  const int64_t extents[] = {image.dims[0], channels, h, block, w, block};
  const int64_t in_image[] = {channels * area * block * block,
                              area * block * block,
                              w * block * block,
                              w * block,
                              block,
                              1};
  const int64_t in_depth[] = {
      channels * area * block * block, channel, w, block * across, 1, across};
  Move move;
  for (size_t i = 0; i < 6; ++i) {
    move.axes.push_back(
        {extents[i], to_space ? in_depth[i] : in_image[i], to_space ? in_image[i] : in_depth[i]});
  }
  move.run(device_of(step), x.data, y.data, item_bytes(x));
}

// ---- Pad, CenterCropPad

int64_t pad_mode(const Node& node) {
  const std::string mode = node.attributes.get_or<std::string>("mode", "constant");
  return mode == "edge" ? 1 : mode == "reflect" ? 2 : mode == "wrap" ? 3 : 0;
}

// `before`: items in front of each axis of x, negative to cut. Axes that nothing is added to join
// the one before them, where that is the same to the mode.
PadArgs pad_args(const TclTensor& x, const TclTensor& y, const std::vector<int64_t>& before,
                 int64_t mode) {
  PadArgs args;
  args.mode = mode;
  bool plain = false;  // the last axis of args
  for (int64_t i = 0; i < x.rank; ++i) {
    const auto from = before[static_cast<size_t>(i)];
    const bool unchanged = from == 0 && x.dims[i] == y.dims[i];
    if (unchanged && args.rank > 0 && (plain || mode == 0)) {
      const auto last = static_cast<size_t>(args.rank - 1);
      args.shape[last] *= y.dims[i];
      args.size[last] *= x.dims[i];
      args.before[last] *= x.dims[i];
      continue;
    }
    const auto at = static_cast<size_t>(args.rank++);
    args.shape[at] = y.dims[i];
    args.size[at] = x.dims[i];
    args.before[at] = from;
    plain = unchanged;
  }
  return args;
}

void launch_pad(const Step& step, const TclTensor& x, const void* value, const TclTensor& y,
                const PadArgs& args) {
  Device& device = device_of(step);
  Arguments().add(x.data).add(value).add(y.data).add(y.size).add(args).launch(
      device, copy_entry(device, "pad", item_bytes(x)), looping_grid(device, y.size));
}

void run_pad(const Step& step, RunContext& context) {
  const Node& node = context.node(step);
  const TclTensor &x = *context.tensor(step.inputs[0]), &y = *context.tensor(step.outputs[0]);
  if (y.size == 0) return;
  const int64_t mode = pad_mode(node);
  if (x.size == 0 && mode != 0) fail_step(step, context, 1, TCL_INVALID_VALUE);
  const auto given = [&](size_t i) { return i < step.inputs.size() && step.inputs[i] != kNone; };
  const std::vector<int64_t> pads = integers_of(*context.tensor(step.inputs[1]));
  const std::vector<int64_t> axes =
      given(3) ? integers_of(*context.tensor(step.inputs[3])) : std::vector<int64_t>();
  std::vector<int64_t> before(static_cast<size_t>(x.rank), 0);
  for (size_t i = 0; i < pads.size() / 2; ++i) {
    const int64_t axis = given(3) ? normalize_axis(axes[i], x.rank) : static_cast<int64_t>(i);
    before[static_cast<size_t>(axis)] = pads[i];
  }
  const void* const value = given(2) ? context.tensor(step.inputs[2])->data : nullptr;
  launch_pad(step, x, value, y, pad_args(x, y, before, mode));
}

void run_center(const Step& step, RunContext& context) {
  const TclTensor &x = *context.tensor(step.inputs[0]), &y = *context.tensor(step.outputs[0]);
  if (y.size == 0) return;
  std::vector<int64_t> before;
  for (int64_t i = 0; i < x.rank; ++i) before.push_back((y.dims[i] - x.dims[i]) / 2);
  launch_pad(step, x, nullptr, y, pad_args(x, y, before, 0));
}

// ---- ConstantOfShape

void run_constant_of_shape(const Step& step, RunContext& context) {
  const TclTensor& y = *context.tensor(step.outputs[0]);
  const auto* value = context.node(step).attributes.get<Tensor>("value");
  uint64_t pattern = 0;
  const int64_t item = item_bytes(y);
  for (int64_t at = 0; value != nullptr && at < 8; at += item) {
    std::memcpy(reinterpret_cast<std::byte*>(&pattern) + at, value->raw(),
                static_cast<size_t>(item));
  }
  fill_bytes(device_of(step), y.data, pattern, y.size * item);
}

std::optional<std::string> constant_refuses(const Graph& graph, const Node& node) {
  const auto* value = node.attributes.get<Tensor>("value");
  if (value != nullptr && value->size() != 1) return "its value has not one element";
  const int64_t bits = dtype_bits(graph.value(node.outputs[0]).type.dtype);
  if (bits % 8 != 0 || bits > 64) return concat("items of ", bits, " bits");
  return std::nullopt;
}

// ---- what runs

std::optional<std::string> copy_refuses(const Graph& graph, const Node& node) {
  if (auto refusal = move_refuses(graph, node)) return refusal;
  const auto& shape = graph.value(node.outputs[0]).type.shape;
  if (!shape || shape->size() > kMoveAxes) return concat("more than ", kMoveAxes, " axes");
  if (node.op_type == "Tile" && shape->size() * 2 > kMoveAxes) return "more than four axes";
  return std::nullopt;
}

std::optional<std::string> split_refuses(const Graph& graph, const Node& node) {
  for (const ValueId id : node.outputs) {
    if (id == kNone) return "a part of it is not wanted";
  }
  return move_refuses(graph, node);
}

template <StepFn Run>
Step compile_move(const Graph& graph, const Node& node, const std::shared_ptr<Device>& device) {
  return move_step(graph, node, Run, "copy", device);
}

}  // namespace

std::vector<LaunchedOp> move_ops() {
  return {{"", "Transpose", copy_refuses, compile_move<run_transpose>},
          {"", "Expand", copy_refuses, compile_move<run_expand>},
          {"", "Tile", copy_refuses, compile_move<run_tile>},
          {"", "Slice", copy_refuses, compile_move<run_slice>},
          {"", "Concat", copy_refuses, compile_move<run_parts>},
          {"", "Split", split_refuses, compile_move<run_parts>},
          {"", "DepthToSpace", copy_refuses, compile_move<run_blocks>},
          {"", "SpaceToDepth", copy_refuses, compile_move<run_blocks>},
          {"", "Pad", copy_refuses, compile_move<run_pad>},
          {"", "CenterCropPad", copy_refuses, compile_move<run_center>},
          {"", "ConstantOfShape", constant_refuses, compile_move<run_constant_of_shape>}};
}

}  // namespace tiercel::cuda
