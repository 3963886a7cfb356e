// Products with matrices of 4 or 8 bits on a GPU: WeightMatMul by the kernels of weights.cu. Few
// rows multiply the numbers as they are packed; for many the matrix is widened, then multiplied.
#include "base/error.h"
#include "ops/op_def.h"
#include "providers/cuda/gemm.h"
#include "providers/cuda/lines.h"
#include "runtime/executor.h"

namespace tiercel::cuda {
namespace {

constexpr int64_t kFewWeightRows = 8;  // that are multiplied without widening the matrix

// As in kernels/cuda/weights.cu.
struct WeightArgs {
  int64_t m, n, k, blocks, pitch, zero_pitch;
  int32_t block, bits, flip, zero;
};

struct WeightState {
  std::shared_ptr<Device> device;
  WeightArgs args{};  // without what a run brings
  bool by_rows = false;
  int64_t item = 0;        // bytes
  std::string few, widen;  // entries
  ProductKernels products;
  Attached epilogue;
};

struct WeightCall {
  const void *x, *b, *scales, *zeros;
  void* y;
};

void multiply_packed(const WeightState& state, const WeightArgs& args, const WeightCall& call,
                     const Results& results) {
  Arguments made;
  made.add(call.x).add(call.b).add(call.scales).add(call.zeros).add(call.y).add(args);
  results.launch(*state.device, "weights", state.few, made,
                 grid_of(groups_of(args.n, state.by_rows ? 64 : 8)));
}

void multiply_widened(const WeightState& state, const WeightArgs& args, const WeightCall& call,
                      const Results& results) {
  const auto wide = state.device->allocate(args.n * args.k * state.item);
  const void* const matrix = wide->data();
  Arguments made;
  made.add(call.b).add(call.scales).add(call.zeros).add(matrix).add(args);
  made.launch(*state.device, cuda_function(*state.device, "weights", state.widen),
              looping_grid(*state.device, args.n * args.k / 8 + 1));
  Product product{.a = call.x, .b = matrix, .d = call.y};
  GemmArgs& g = product.args;
  g.m = args.m, g.n = args.n, g.k = args.k;
  g.batch[0] = g.batch[1] = 1;
  g.a[0] = g.k, g.a[1] = 1;
  g.b[0] = state.by_rows ? g.n : 1, g.b[1] = state.by_rows ? 1 : g.k;
  g.d[0] = g.n, g.d[1] = 1;
  g.alpha = 1;
  state.products.run(product, results);
}

void run_weights(const Step& step, RunContext& context) {
  const auto& state = *static_cast<const WeightState*>(step.state.get());
  const TclTensor &x = *context.tensor(step.inputs[0]), &b = *context.tensor(step.inputs[1]);
  const TclTensor& y = *context.tensor(step.outputs[0]);
  if (y.size == 0) return;
  WeightArgs args = state.args;
  args.k = x.dims[x.rank - 1];
  args.m = y.size / args.n;
  args.pitch = b.dims[1];
  if (args.k >= INT32_MAX - 256) {
    throw_error(ErrorKind::EPFail, "CUDAExecutionProvider: rows of ", args.k, " elements; at most ",
                INT32_MAX - 256);
  }
  const TclTensor& scales = *context.tensor(step.inputs[2]);
  args.blocks = scales.dims[state.by_rows ? 0 : 1];
  WeightCall call{x.data, b.data, scales.data, nullptr, y.data};
  if (step.inputs[3] != kNone) {
    const TclTensor& zeros = *context.tensor(step.inputs[3]);
    call.zeros = zeros.data;
    args.zero_pitch = zeros.dims[1];
  }
  const Results results(state.epilogue, step, context);
  args.m <= kFewWeightRows ? multiply_packed(state, args, call, results)
                           : multiply_widened(state, args, call, results);
}

std::optional<std::string> weights_refuse(const Graph& graph, const Node& node) {
  if (!graph.value(node.inputs[0]).type.shape) return "its rank is not known";
  const int64_t bits = node.attributes.get_or<int64_t>("bits", 4);
  if (bits != 4 && bits != 8) return concat("numbers of ", bits, " bits");
  if (node.attributes.get_or<int64_t>("block_size", 0) > INT32_MAX) return "blocks too large";
  return attached_refuses(node, "epilogue");
}

Step compile_weights(const Graph& graph, const Node& node, const std::shared_ptr<Device>& device,
                     bool tf32) {
  const DType dtype = graph.value(node.inputs[0]).type.dtype;
  const auto number = [&](const char* name, int64_t otherwise) {
    return node.attributes.get_or<int64_t>(name, otherwise);
  };
  WeightArgs args{};
  args.n = number("N", 0);
  args.block = static_cast<int32_t>(number("block_size", 0));
  args.bits = static_cast<int32_t>(number("bits", 4));
  args.flip = number("is_signed", 0) != 0 ? 1 << (args.bits - 1) : 0;
  args.zero = static_cast<int32_t>(number("zero_point", 0));
  const bool by_rows = number("axis", 0) == 0;
  const std::string_view suffix = type_suffix(dtype);
  Step step = launched_step(graph, node, run_weights, "weights");
  step.inputs.resize(4, kNone);
  Attached epilogue(node, "epilogue", step, device);
  const auto entry = [&](const char* of_rows, const char* of_columns) {
    return concat(by_rows ? of_rows : of_columns, suffix);
  };
  step.state =
      std::make_shared<WeightState>(WeightState{.device = device,
                                                .args = args,
                                                .by_rows = by_rows,
                                                .item = dtype_bytes(dtype, 1),
                                                .few = entry("weights_rows_", "weights_columns_"),
                                                .widen = entry("widen_rows_", "widen_columns_"),
                                                .products = {device, dtype, tf32},
                                                .epilogue = std::move(epilogue)});
  return step;
}

}  // namespace

std::vector<LaunchedOp> weight_ops() {
  return {{"tiercel", "WeightMatMul", weights_refuse, compiled<compile_weights, false>,
           compiled<compile_weights, true>}};
}

}  // namespace tiercel::cuda
