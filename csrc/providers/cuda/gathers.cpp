// Operators that read or write elements at given indices on a GPU, by the kernels of gather.cu.
#include <algorithm>

#include "base/shape.h"
#include "ops/op_def.h"
#include "providers/cuda/lines.h"
#include "providers/cuda/moves.h"
#include "runtime/executor.h"

namespace tiercel::cuda {
namespace {

// As in kernels/cuda/gather.cu.
struct ElementsArgs {
  std::array<int64_t, kMoveAxes> shape{}, strides{};
  int64_t rank = 0, axis = 0, n = 0;
};
struct TupleArgs {
  std::array<int64_t, kMoveAxes> size{};
  int64_t depth = 0, inner = 1, per_batch = 1, batch_items = 1;
};

FunctionHandle gather_entry(Device& device, std::string_view name) {
  return cuda_function(device, "gather", std::string(name));
}

std::string_view index_suffix(const TclTensor& indices) {
  return static_cast<DType>(indices.dtype) == DType::Int32 ? "i32" : "i64";
}

std::string word_of(int64_t item) { return concat("b", item * 8); }

// Joins items of a run into wider ones, where all pointers allow it: `inner` items of `item` bytes.
void widen_run(int64_t& inner, int64_t& item, std::initializer_list<const void*> pointers) {
  const auto fits = [&](const void* p) {
    return reinterpret_cast<uintptr_t>(p) % static_cast<uintptr_t>(item * 2) == 0;
  };
  while (item < 16 && inner % 2 == 0 && std::all_of(pointers.begin(), pointers.end(), fits)) {
    item *= 2;
    inner /= 2;
  }
}

// Adds where a kernel reports an index out of range.
Arguments& add_report(Arguments& made, const Step& step) {
  void* const status = device_of(step).status();
  return made.add(status).add(failure_of(step, TCL_INDEX_OUT_OF_RANGE));
}

uint32_t numbered(int64_t updates) {
  if (updates >= UINT32_MAX) {
    throw_error(ErrorKind::EPFail, "CUDAExecutionProvider: ", updates, " updates; at most ",
                UINT32_MAX - 1);
  }
  return static_cast<uint32_t>(updates);
}

// ---- Gather, GatherElements, GatherND

void run_gather(const Step& step, RunContext& context) {
  const TclTensor &x = *context.tensor(step.inputs[0]), &y = *context.tensor(step.outputs[0]);
  const TclTensor& indices = *context.tensor(step.inputs[1]);
  if (y.size == 0) return;
  Lines lines = lines_along(x, context.node(step).attributes.get_or<int64_t>("axis", 0));
  int64_t item = item_bytes(x);
  widen_run(lines.inner, item, {x.data, y.data});
  Arguments made;
  made.add(x.data).add(indices.data).add(y.data);
  add_report(made, step).add(lines.outer).add(lines.n).add(indices.size).add(lines.inner);
  Device& device = device_of(step);
  made.launch(device,
              gather_entry(device, concat("gather_", word_of(item), "_", index_suffix(indices))),
              looping_grid(device, lines.outer * indices.size * lines.inner));
}

// Throws where a position of the indices lies outside of the data on another axis than theirs.
void check_positions(const Step& step, RunContext& context, const TclTensor& data,
                     const TclTensor& indices, int64_t axis) {
  bool inside = indices.rank == data.rank;
  for (int64_t i = 0; inside && i < data.rank; ++i) {
    inside = i == axis || indices.dims[i] <= data.dims[i];
  }
  if (!inside) fail_step(step, context, step.inputs.size(), TCL_INDEX_OUT_OF_RANGE);
}

ElementsArgs elements_args(const Step& step, RunContext& context, const TclTensor& data,
                           const TclTensor& indices) {
  const Node& node = context.node(step);
  ElementsArgs args;
  args.rank = data.rank;
  args.axis = normalize_axis(node.attributes.get_or<int64_t>("axis", 0), data.rank);
  args.n = data.dims[args.axis];
  check_positions(step, context, data, indices, args.axis);
  const std::vector<int64_t> strides = strides_of(data);
  std::copy(strides.begin(), strides.end(), args.strides.begin());
  std::copy_n(indices.dims, indices.rank, args.shape.begin());
  return args;
}

void run_gather_elements(const Step& step, RunContext& context) {
  const TclTensor &x = *context.tensor(step.inputs[0]), &y = *context.tensor(step.outputs[0]);
  const TclTensor& indices = *context.tensor(step.inputs[1]);
  if (y.size == 0) return;
  Arguments made;
  made.add(x.data).add(indices.data).add(y.data);
  add_report(made, step).add(y.size).add(elements_args(step, context, x, indices));
  Device& device = device_of(step);
  made.launch(device,
              gather_entry(device, concat("gather_elements_", word_of(item_bytes(x)), "_",
                                          index_suffix(indices))),
              looping_grid(device, y.size));
}

TupleArgs tuple_args(const TclTensor& data, const TclTensor& indices, int64_t batch_dims) {
  TupleArgs args;
  args.depth = indices.dims[indices.rank - 1];
  int64_t batches = 1;
  for (int64_t i = 0; i < data.rank; ++i) {
    const int64_t extent = data.dims[i], at = i - batch_dims;
    if (at < 0) {
      batches *= extent;
      continue;
    }
    args.batch_items *= extent;
    if (at < args.depth) {
      args.size[static_cast<size_t>(at)] = extent;
    } else {
      args.inner *= extent;
    }
  }
  args.per_batch = indices.size / args.depth / std::max<int64_t>(batches, 1);
  return args;
}

// The same for runs of wider items.
int64_t widen_tuples(TupleArgs& args, int64_t item, std::initializer_list<const void*> pointers) {
  const int64_t before = item;
  widen_run(args.inner, item, pointers);
  args.batch_items = args.batch_items * before / item;
  return item;
}

void run_gather_nd(const Step& step, RunContext& context) {
  const TclTensor &x = *context.tensor(step.inputs[0]), &y = *context.tensor(step.outputs[0]);
  const TclTensor& indices = *context.tensor(step.inputs[1]);
  if (y.size == 0) return;
  TupleArgs args =
      tuple_args(x, indices, context.node(step).attributes.get_or<int64_t>("batch_dims", 0));
  const int64_t item = widen_tuples(args, item_bytes(x), {x.data, y.data});
  const int64_t total = indices.size / args.depth * args.inner;
  Arguments made;
  made.add(x.data).add(indices.data).add(y.data);
  add_report(made, step).add(total).add(args);
  Device& device = device_of(step);
  made.launch(device, gather_entry(device, concat("gather_nd_", word_of(item))),
              looping_grid(device, total));
}

// ---- ScatterElements, ScatterND

int32_t reduction_number(const Node& node) {
  const std::string how = node.attributes.get_or<std::string>("reduction", "none");
  return how == "add" ? 1 : how == "mul" ? 2 : how == "max" ? 3 : how == "min" ? 4 : 0;
}

// What the scatter changes: the output, which gets the data first.
const TclTensor& scattered(const Step& step, RunContext& context) {
  const TclTensor &x = *context.tensor(step.inputs[0]), &y = *context.tensor(step.outputs[0]);
  if (x.data != y.data && x.size > 0) device_of(step).copy(y.data, x.data, x.size * item_bytes(x));
  return y;
}

// Room for the number of the last update of each place, all zeros.
std::shared_ptr<Buffer> numbers_of_last(Device& device, int64_t places) {
  auto made = device.allocate(places * 4);
  if (places > 0) device.clear(made->data(), places * 4);
  return made;
}

void run_scatter_elements(const Step& step, RunContext& context) {
  const TclTensor& y = scattered(step, context);
  const TclTensor& indices = *context.tensor(step.inputs[1]);
  const TclTensor& updates = *context.tensor(step.inputs[2]);
  if (indices.size == 0) return;
  Device& device = device_of(step);
  const ElementsArgs args = elements_args(step, context, y, indices);
  const int32_t how = reduction_number(context.node(step));
  if (how != 0) {
    const std::string_view suffix = type_suffix(static_cast<DType>(y.dtype));
    const int64_t lines = indices.size / indices.dims[args.axis];
    Arguments made;
    made.add(updates.data).add(indices.data).add(y.data);
    add_report(made, step).add(indices.size).add(how).add(args);
    made.launch(device, gather_entry(device, concat("scatter_elements_reduce_", suffix)),
                looping_grid(device, lines));
    return;
  }
  static_cast<void>(numbered(indices.size));
  const auto last = numbers_of_last(device, y.size);
  const Grid grid = looping_grid(device, indices.size);
  void* const numbers = last->data();
  Arguments mark;
  mark.add(indices.data).add(numbers);
  add_report(mark, step).add(indices.size).add(args);
  mark.launch(device, gather_entry(device, concat("mark_elements_", index_suffix(indices))), grid);
  Arguments made;
  made.add(updates.data).add(indices.data).add(numbers).add(y.data).add(indices.size).add(args);
  made.launch(device,
              gather_entry(device, concat("scatter_elements_", word_of(item_bytes(y)), "_",
                                          index_suffix(indices))),
              grid);
}

void run_scatter_nd(const Step& step, RunContext& context) {
  const TclTensor& y = scattered(step, context);
  const TclTensor& indices = *context.tensor(step.inputs[1]);
  const TclTensor& updates = *context.tensor(step.inputs[2]);
  if (updates.size == 0) return;
  Device& device = device_of(step);
  TupleArgs args = tuple_args(y, indices, 0);
  const int64_t tuples = indices.size / args.depth;
  const int32_t how = reduction_number(context.node(step));
  if (how != 0) {
    const std::string_view suffix = type_suffix(static_cast<DType>(y.dtype));
    Arguments made;
    made.add(updates.data).add(indices.data).add(y.data);
    add_report(made, step).add(updates.size).add(how).add(args);
    made.launch(device, gather_entry(device, concat("scatter_nd_reduce_", suffix)),
                looping_grid(device, args.inner));
    return;
  }
  std::shared_ptr<Buffer> last;  // one tuple meets no other
  if (tuples > 1) {
    static_cast<void>(numbered(tuples));
    last = numbers_of_last(device, y.size / args.inner);
    void* const numbers = last->data();
    Arguments()
        .add(indices.data)
        .add(numbers)
        .add(tuples)
        .add(args)
        .launch(device, gather_entry(device, "mark_nd"), looping_grid(device, tuples));
  }
  const void* const numbers = last ? last->data() : nullptr;
  const int64_t item = widen_tuples(args, item_bytes(y), {updates.data, y.data});
  const int64_t total = tuples * args.inner;
  Arguments made;
  made.add(updates.data).add(indices.data).add(numbers).add(y.data);
  add_report(made, step).add(total).add(args);
  made.launch(device, gather_entry(device, concat("scatter_nd_", word_of(item))),
              looping_grid(device, total));
}

// ---- what runs

std::optional<std::string> gather_refuses(const Graph& graph, const Node& node) {
  return move_refuses(graph, node);
}

std::optional<std::string> scatter_refuses(const Graph& graph, const Node& node) {
  if (reduction_number(node) != 0) {
    const DType dtype = graph.value(node.inputs[0]).type.dtype;
    const std::string_view suffix = type_suffix(dtype);
    if (suffix.empty() || suffix == "s8" || suffix == "u8") {
      return concat("no GPU kernel of ", node.op_type, " with a reduction of ", dtype_name(dtype));
    }
    if (graph.value(node.inputs[1]).type.dtype != DType::Int64) return "a reduction by int32";
  }
  return move_refuses(graph, node);
}

template <StepFn Run>
Step compile_gather(const Graph& graph, const Node& node, const std::shared_ptr<Device>& device) {
  return move_step(graph, node, Run, "gather", device);
}

template <StepFn Run>
Step compile_scatter(const Graph& graph, const Node& node, const std::shared_ptr<Device>& device) {
  Step step = move_step(graph, node, Run, "scatter", device);
  step.inplace = 0;
  return step;
}

}  // namespace

std::vector<LaunchedOp> gather_ops() {
  return {{"", "Gather", gather_refuses, compile_gather<run_gather>},
          {"", "GatherElements", gather_refuses, compile_gather<run_gather_elements>},
          {"", "GatherND", gather_refuses, compile_gather<run_gather_nd>},
          {"", "ScatterElements", scatter_refuses, compile_scatter<run_scatter_elements>},
          {"", "ScatterND", scatter_refuses, compile_scatter<run_scatter_nd>}};
}

}  // namespace tiercel::cuda
