// Matrix products of 8-bit integers on a GPU, by the kernels of gemm_bytes.cu and gemv_bytes.cu:
// MatMulInteger and QLinearMatMul; and DynamicQuantizeLinear.
#include <algorithm>

#include "ops/op_def.h"
#include "providers/cuda/bytes.h"
#include "providers/cuda/gemm.h"
#include "providers/cuda/kept.h"
#include "providers/cuda/lines.h"
#include "runtime/executor.h"

namespace tiercel::cuda {
namespace {

// As in kernels/cuda/gemm_bytes.cu.
struct Rounding {
  const void *a_scale, *b_scale, *y_scale, *y_zero;
  int64_t a_step, b_step, y_step, zero_step;
  int32_t scale_type, is_signed;
};

constexpr int64_t kFewByteRows = 8;  // that the kernels of gemv_bytes.cu take

struct ByteProductState {
  std::shared_ptr<Device> device;
  size_t b = 1, a_zero = 2, b_zero = 3;  // inputs of the step
  FunctionHandle product = nullptr, few = nullptr;
  bool a_zeros = false, b_zeros = false;  // whether zero points may differ from 0
  int32_t scale_type = 0;
  Derived turned;  // the matrices of b
};

bool is_byte(DType dtype) { return dtype == DType::Int8 || dtype == DType::UInt8; }

// Operands as the kernels want them: columns of b lie one behind the other.
Product byte_product(const TclTensor& a, const TclTensor& b, const TclTensor& y) {
  View right = view_of(b, nullptr);
  const size_t rank = right.dims.size();
  if (rank >= 2) {
    Dims turned = right.dims;
    std::swap(turned[rank - 2], turned[rank - 1]);
    turned[rank - 1] = turned_pitch(turned[rank - 1]);
    right.strides = dense_strides(turned);
    std::swap(right.strides[rank - 2], right.strides[rank - 1]);
  }
  return matmul(view_of(a, nullptr), right, y);
}

// The step along rows, or columns, of a scale or zero point of one number or of one for each.
int64_t step_of(const Node& node, const TclTensor& tensor, int64_t extent) {
  if (tensor.size == 1) return 0;
  if (tensor.size == extent) return 1;
  throw_error(ErrorKind::InvalidArgument, where(node), ": a scale or zero point has ", tensor.size,
              " elements; expected 1 or ", extent);
}

// Numbers for each row of a matrix lie so for each matrix: its rows are no further rows of others.
void unfold(Product& product, const TclTensor& a) {
  GemmArgs& g = product.args;
  const int64_t rows = a.rank < 2 ? 1 : a.dims[a.rank - 2];
  if (g.m == rows || rows == 0) return;
  product.batches = g.m / rows;
  g.m = rows;
  g.batch[0] = 1;
  g.batch[1] = product.batches;
  g.a[4] = rows * g.k;
  g.d[4] = rows * g.n;
}

struct ByteOperands {
  Product product;
  std::shared_ptr<Buffer> turned;
  const void *a_zero = nullptr, *b_zero = nullptr;
  int64_t a_step = 0, b_step = 0;
};

ByteOperands operands_of(const ByteProductState& state, const Step& step, RunContext& context,
                         std::initializer_list<size_t> of_rows) {
  const Node& node = context.node(step);
  const TclTensor& a = *context.tensor(step.inputs[0]);
  const TclTensor& b = *context.tensor(step.inputs[state.b]);
  ByteOperands made;  // without an a where there is nothing to do
  made.product = byte_product(a, b, *context.tensor(step.outputs[0]));
  for (const size_t i : of_rows) {
    const ValueId id = input_of(node, i);
    const int64_t size = id == kNone ? 1 : context.tensor(id)->size;
    if (size != 1 && size != made.product.args.m) unfold(made.product, a);
  }
  const GemmArgs& g = made.product.args;
  if (g.m == 0 || g.n == 0 || made.product.batches == 0) return made;
  made.product.a = a.data;
  made.product.b = b.data;
  if (b.rank >= 2) {
    made.turned = state.turned.get([&] {
      const int64_t matrices = b.size / std::max<int64_t>(g.k * g.n, 1);
      return turn_matrices(*state.device, b.data, matrices, g.k, g.n);
    });
    made.product.b = made.turned->data();
  }
  if (state.a_zeros) {
    const TclTensor& zero = *context.tensor(step.inputs[state.a_zero]);
    made.a_zero = zero.data;
    made.a_step = step_of(node, zero, g.m);
  }
  if (state.b_zeros) {
    const TclTensor& zero = *context.tensor(step.inputs[state.b_zero]);
    made.b_zero = zero.data;
    made.b_step = step_of(node, zero, g.n);
  }
  return made;
}

// By columns where there are few rows, else by tiles.
void launch_product(const ByteProductState& state, const Product& product, Arguments& made) {
  const GemmArgs& g = product.args;
  if (g.m <= kFewByteRows) {
    const int64_t columns = g.n * product.batches;
    return made.add(columns).launch(*state.device, state.few, grid_of(groups_of(columns, 8)));
  }
  const int64_t tiles = groups_of(g.m, 128) * groups_of(g.n, 64);
  made.launch(*state.device, state.product, grid_of(product.batches * tiles));
}

void run_integer(const Step& step, RunContext& context) {
  const auto& state = *static_cast<const ByteProductState*>(step.state.get());
  const ByteOperands it = operands_of(state, step, context, {2});
  const Product& product = it.product;
  if (product.a == nullptr) return;
  const void* const no_bias = nullptr;
  Arguments made;
  made.add(product.a).add(product.b).add(it.a_zero).add(it.b_zero).add(no_bias).add(product.d);
  made.add(product.args).add(it.a_step).add(it.b_step);
  launch_product(state, product, made);
}

void run_rounded(const Step& step, RunContext& context) {
  const auto& state = *static_cast<const ByteProductState*>(step.state.get());
  const Node& node = context.node(step);
  const ByteOperands it = operands_of(state, step, context, {1, 2, 6, 7});
  const Product& product = it.product;
  if (product.a == nullptr) return;
  const TclTensor &a = *context.tensor(step.inputs[1]), &b = *context.tensor(step.inputs[4]);
  const TclTensor &y = *context.tensor(step.inputs[6]), &zero = *context.tensor(step.inputs[7]);
  const GemmArgs& g = product.args;
  Rounding rounding{a.data, b.data, y.data, zero.data, 0, 0, 0, 0, state.scale_type, 0};
  rounding.a_step = step_of(node, a, g.m);
  rounding.b_step = step_of(node, b, g.n);
  rounding.y_step = step_of(node, y, g.m);
  rounding.zero_step = step_of(node, zero, g.m);
  rounding.is_signed = static_cast<DType>(zero.dtype) == DType::Int8 ? 1 : 0;
  Arguments made;
  made.add(product.a).add(product.b).add(it.a_zero).add(it.b_zero).add(product.d);
  made.add(product.args).add(it.a_step).add(it.b_step).add(rounding);
  launch_product(state, product, made);
}

// Whether all axes have one step but that `from_end` axes from the end, as rows (2) and columns
// (1) of a product have.
bool lies_along(const Graph& graph, ValueId id, size_t from_end) {
  if (id == kNone) return true;
  const auto& shape = graph.value(id).type.shape;
  if (!shape || shape->size() < 2) return shape.has_value();
  for (size_t i = 0; i < shape->size(); ++i) {
    const Dim& dim = (*shape)[i];
    if (i + from_end != shape->size() && !(dim.known() && dim.value() == 1)) return false;
  }
  return true;
}

std::optional<std::string> byte_product_refuses(const Graph& graph, const Node& node) {
  const bool rounded = node.op_type == "QLinearMatMul";
  const size_t b = rounded ? 3 : 1;
  const auto type = [&](size_t i) { return graph.value(node.inputs[i]).type.dtype; };
  if (!is_byte(type(0)) || !is_byte(type(b)) || (rounded && !is_byte(type(7)))) {
    return "no product of these types";
  }
  if (auto refusal = ranks_refused(graph, node.inputs[0], node.inputs[b])) return refusal;
  const std::initializer_list<size_t> of_rows = {2}, of_rounded_rows = {1, 2, 6, 7};
  const std::initializer_list<size_t> of_columns = {3}, of_rounded_columns = {4, 5};
  for (const size_t i : rounded ? of_rounded_rows : of_rows) {
    if (!lies_along(graph, input_of(node, i), 2)) return "scales or zero points for each matrix";
  }
  for (const size_t i : rounded ? of_rounded_columns : of_columns) {
    if (!lies_along(graph, input_of(node, i), 1)) return "scales or zero points for each matrix";
  }
  return std::nullopt;
}

Step compile_byte_product(const Graph& graph, const Node& node,
                          const std::shared_ptr<Device>& device) {
  const bool rounded = node.op_type == "QLinearMatMul";
  ByteProductState state{.device = device};
  if (rounded) state.b = 3, state.b_zero = 5;
  const auto type = [&](size_t i) { return graph.value(node.inputs[i]).type.dtype; };
  const std::string types = concat(type_suffix(type(0)), "_", type_suffix(type(state.b)));
  Step step = launched_step(graph, node, rounded ? run_rounded : run_integer, "gemm_bytes");
  const auto inside = device->enter();
  state.product =
      cuda_function(*device, "gemm_bytes", concat(rounded ? "gemm_rounded_" : "gemm_", types));
  state.few =
      cuda_function(*device, "gemv_bytes", concat(rounded ? "gemv_rounded_" : "gemv_", types));
  state.a_zeros = !is_nothing(graph, input_of(node, state.a_zero));
  state.b_zeros = !is_nothing(graph, input_of(node, state.b_zero));
  if (rounded) {
    state.scale_type = type(1) == DType::Float16 ? 1 : type(1) == DType::BFloat16 ? 2 : 0;
  }
  state.turned = {device, graph, node.inputs[state.b], kTurned};
  step.state = std::make_shared<ByteProductState>(std::move(state));
  return step;
}

// ---- DynamicQuantizeLinear

constexpr int64_t kRanges = 256;  // blocks that look for the range, at most

void run_dynamic(const Step& step, RunContext& context) {
  const LinesState& state = lines_in(step);
  const TclTensor& x = *context.tensor(step.inputs[0]);
  const auto data = [&](size_t i) { return context.tensor(step.outputs[i])->data; };
  const int64_t blocks = std::clamp<int64_t>(groups_of(x.size, 1024), 1, kRanges);
  const auto ranges = state.device->allocate(blocks * 8);
  void* const found = ranges->data();
  Arguments().add(x.data).add(found).add(x.size).launch(*state.device, state.entries[0],
                                                        grid_of(blocks));
  Grid grid = looping_grid(*state.device, x.size);
  grid.x = std::max<int64_t>(grid.x, 1);
  Arguments made;
  made.add(x.data).add(found).add(data(0)).add(data(1)).add(data(2)).add(x.size).add(blocks);
  made.launch(*state.device, state.entries[1], grid);
}

std::optional<std::string> dynamic_refuses(const Graph&, const Node&) { return std::nullopt; }

Step compile_dynamic(const Graph& graph, const Node& node, const std::shared_ptr<Device>& device) {
  return compile_lines(graph, node, device, run_dynamic, "dynamic_quantize", "quantize",
                       {"range_", "dynamic_quantize_"});
}

}  // namespace

std::vector<LaunchedOp> byte_product_ops() {
  return {{"", "MatMulInteger", byte_product_refuses, compile_byte_product},
          {"", "QLinearMatMul", byte_product_refuses, compile_byte_product},
          {"", "DynamicQuantizeLinear", dynamic_refuses, compile_dynamic}};
}

}  // namespace tiercel::cuda
