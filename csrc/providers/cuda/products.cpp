// Matrix products on a GPU: MatMul, PermutedMatMul and Gemm by the kernels of gemm.cu and gemv.cu.
#include <array>
#include <numeric>

#include "ops/op_def.h"
#include "providers/cuda/attached.h"
#include "providers/cuda/launched.h"
#include "runtime/executor.h"

namespace tiercel::cuda {
namespace {

// As in kernels/cuda/gemm.cuh.
struct GemmArgs {
  int64_t m, n, k;
  int64_t batch[2];
  int64_t a[5], b[5], c[5], d[5];
  float alpha, beta;
};

constexpr int kBatchAxes = 3;

struct Product {
  const void* a = nullptr;
  const void* b = nullptr;
  const void* c = nullptr;
  void* d = nullptr;
  int64_t batches = 1;
  GemmArgs args{};
};

// Entries of a file, found when a launch first needs them.
class ProductKernels {
 public:
  ProductKernels(std::shared_ptr<Device> device, DType dtype)
      : device_(std::move(device)), suffix_(type_suffix(dtype)) {
    if (dtype == DType::UInt32) suffix_ = "i32";  // the same bits
    if (dtype == DType::UInt64) suffix_ = "i64";
  }

  void run(const Product& product) const {
    const GemmArgs& g = product.args;
    if (product.batches == 0 || g.m == 0 || g.n == 0) return;
    const bool floats = suffix_ == "f32" || suffix_ == "f16" || suffix_ == "bf16";
    if (floats && g.m <= 8 && (g.b[0] == 1 || g.b[1] == 1)) return by_rows(product);
    const bool large = floats && g.m > 64 && g.n > 64;
    const int64_t tile = large ? 128 : 64;
    Grid grid;
    grid.x = static_cast<unsigned>(product.batches * groups_of(g.m, tile) * groups_of(g.n, tile));
    const bool tensor_cores = suffix_ == "f16" || suffix_ == "bf16";
    grid.threads = tensor_cores && !large ? 128 : 256;
    launch(product, tensor_cores ? "gemm_mma" : "gemm", large ? "gemm_" : "gemm_small_", grid);
  }

 private:
  // Few rows: each column, or group of columns, is a warp's or a block's.
  void by_rows(const Product& product) const {
    const GemmArgs& g = product.args;
    Grid grid;
    if (g.b[1] == 1) {
      grid.x = static_cast<unsigned>(product.batches * groups_of(g.n, 128));
      return launch(product, "gemv", "gemv_n_", grid);
    }
    const int64_t columns = g.n * product.batches;
    grid.x = static_cast<unsigned>(groups_of(columns, 8));
    arguments(product).add(columns).launch(*device_, entry("gemv", "gemv_k_"), grid);
  }

  static Arguments arguments(const Product& product) {
    const void* const no_bias = nullptr;
    Arguments made;
    made.add(product.a).add(product.b).add(product.c).add(no_bias).add(product.d);
    made.add(product.args);
    return made;
  }

  FunctionHandle entry(std::string_view file, const char* name) const {
    return cuda_function(*device_, file, concat(name, suffix_));
  }

  void launch(const Product& product, std::string_view file, const char* name,
              const Grid& grid) const {
    arguments(product).launch(*device_, entry(file, name), grid);
  }

  std::shared_ptr<Device> device_;
  std::string_view suffix_;
};

Dims dims_of(const TclTensor& tensor) { return Dims(tensor.dims, tensor.dims + tensor.rank); }

Dims dense_strides(const Dims& dims) {
  Dims strides(dims.size(), 1);
  for (size_t i = dims.size(); i-- > 1;) strides[i - 1] = strides[i] * dims[i];
  return strides;
}

// An operand by its axes: extents and strides after a permutation.
struct View {
  Dims dims, strides;
};

View view_of(const TclTensor& tensor, const std::vector<int64_t>* permutation) {
  const Dims dims = dims_of(tensor);
  const Dims strides = dense_strides(dims);
  if (permutation == nullptr) return {dims, strides};
  View out;
  for (const int64_t axis : *permutation) {
    out.dims.push_back(dims[static_cast<size_t>(axis)]);
    out.strides.push_back(strides[static_cast<size_t>(axis)]);
  }
  return out;
}

// Strides of the batch axes of an operand, which broadcasts to `batch`.
void batch_strides(const View& view, const std::array<int64_t, kBatchAxes>& batch,
                   int64_t (&strides)[5]) {
  const size_t axes = view.dims.size() < 2 ? 0 : view.dims.size() - 2;
  for (size_t i = 0; i < axes; ++i) {
    const size_t to = static_cast<size_t>(kBatchAxes) - axes + i;
    strides[2 + to] = view.dims[i] == batch[to] ? view.strides[i] : 0;
  }
}

Product matmul(View a, View b, const TclTensor& y) {
  if (a.dims.size() == 1) a = {{1, a.dims[0]}, {0, a.strides[0]}};
  if (b.dims.size() == 1) b = {{b.dims[0], 1}, {b.strides[0], 0}};
  Product product;
  GemmArgs& g = product.args;
  const size_t last_a = a.dims.size() - 1, last_b = b.dims.size() - 1;
  g.m = a.dims[last_a - 1];
  g.k = a.dims[last_a];
  g.n = b.dims[last_b];
  g.a[0] = a.strides[last_a - 1];
  g.a[1] = a.strides[last_a];
  g.b[0] = b.strides[last_b - 1];
  g.b[1] = b.strides[last_b];
  g.d[0] = g.n;
  g.d[1] = 1;
  std::array<int64_t, kBatchAxes> batch{1, 1, 1};
  for (const View* view : {&a, &b}) {
    const size_t axes = view->dims.size() - 2;
    for (size_t i = 0; i < axes; ++i) {
      int64_t& extent = batch[static_cast<size_t>(kBatchAxes) - axes + i];
      if (view->dims[i] != 1) extent = view->dims[i];
    }
  }
  batch_strides(a, batch, g.a);
  batch_strides(b, batch, g.b);
  g.d[4] = g.m * g.n;
  g.d[3] = g.d[4] * batch[2];
  g.d[2] = g.d[3] * batch[1];
  g.batch[0] = batch[1];
  g.batch[1] = batch[2];
  g.alpha = 1;
  product.batches = batch[0] * batch[1] * batch[2];
  product.d = y.data;
  return product;
}

struct ProductState {
  ProductKernels kernels;
  Attached epilogue;
};

void run_matmul(const Step& step, RunContext& context) {
  const auto& state = *static_cast<const ProductState*>(step.state.get());
  const Node& node = context.node(step);
  const TclTensor& a = *context.tensor(step.inputs[0]);
  const TclTensor& b = *context.tensor(step.inputs[1]);
  const auto permutation = [&](const char* name) {
    return node.attributes.get<std::vector<int64_t>>(name);
  };
  Product product = matmul(view_of(a, permutation("perm_a")), view_of(b, permutation("perm_b")),
                           *context.tensor(step.outputs[0]));
  product.a = a.data;
  product.b = b.data;
  state.kernels.run(product);
  state.epilogue.run_on_output(step, context);
}

void run_gemm(const Step& step, RunContext& context) {
  const auto& state = *static_cast<const ProductState*>(step.state.get());
  const Node& node = context.node(step);
  const TclTensor& a = *context.tensor(step.inputs[0]);
  const TclTensor& b = *context.tensor(step.inputs[1]);
  const std::vector<int64_t> turned{1, 0};
  const auto turns = [&](const char* name) {
    return node.attributes.get_or<int64_t>(name, 0) != 0 ? &turned : nullptr;
  };
  const TclTensor& y = *context.tensor(step.outputs[0]);
  Product product = matmul(view_of(a, turns("transA")), view_of(b, turns("transB")), y);
  product.a = a.data;
  product.b = b.data;
  GemmArgs& g = product.args;
  g.alpha = static_cast<float>(node.attributes.get_or<double>("alpha", 1.0));
  g.beta = static_cast<float>(node.attributes.get_or<double>("beta", 1.0));
  if (node.inputs.size() > 2 && node.inputs[2] != kNone) {
    const TclTensor& c = *context.tensor(step.inputs[2]);
    product.c = c.data;
    const Dims dims = dims_of(c), strides = dense_strides(dims);
    for (size_t i = 0; i < dims.size(); ++i) {
      g.c[2 - dims.size() + i] = dims[i] == 1 ? 0 : strides[i];
    }
  }
  state.kernels.run(product);
  state.epilogue.run_on_output(step, context);
}

std::optional<std::string> refuses(const Graph& graph, const Node& node) {
  if (!has_cuda_file("gemm")) return "the library was built without NVRTC";
  const DType dtype = graph.value(node.inputs[0]).type.dtype;
  const bool unsigned_words = dtype == DType::UInt32 || dtype == DType::UInt64;
  if (type_suffix(dtype).empty() && !unsigned_words) return "no product of these types";
  for (size_t i = 0; i < 2; ++i) {
    const auto& shape = graph.value(node.inputs[i]).type.shape;
    if (!shape) return "its rank is not known";
    if (shape->size() > 2 + kBatchAxes) return "more than three batch axes";
  }
  return attached_refuses(node, "epilogue");
}

Step compile(const Graph& graph, const Node& node, const std::shared_ptr<Device>& device) {
  const DType dtype = graph.value(node.inputs[0]).type.dtype;
  Step step = launched_step(graph, node, node.op_type == "Gemm" ? run_gemm : run_matmul, "gemm");
  Attached epilogue(node, "epilogue", step, device);
  step.state = std::make_shared<ProductState>(
      ProductState{ProductKernels(device, dtype), std::move(epilogue)});
  return step;
}

}  // namespace

std::vector<LaunchedOp> product_ops() {
  return {{"", "MatMul", refuses, compile},
          {"tiercel", "PermutedMatMul", refuses, compile},
          {"", "Gemm", refuses, compile}};
}

}  // namespace tiercel::cuda
