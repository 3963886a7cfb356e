// Matrix products on a GPU: MatMul, PermutedMatMul and Gemm by the kernels of gemm.cu and gemv.cu.
#include "ops/op_def.h"
#include "providers/cuda/attached.h"
#include "providers/cuda/gemm.h"
#include "runtime/executor.h"

namespace tiercel::cuda {
namespace {

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
  state.kernels.run(product, {state.epilogue, step, context});
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
  state.kernels.run(product, {state.epilogue, step, context});
}

std::optional<std::string> refuses(const Graph& graph, const Node& node) {
  const DType dtype = graph.value(node.inputs[0]).type.dtype;
  const bool unsigned_words = dtype == DType::UInt32 || dtype == DType::UInt64;
  if (type_suffix(dtype).empty() && !unsigned_words) return "no product of these types";
  if (auto refusal = ranks_refused(graph, node.inputs[0], node.inputs[1])) return refusal;
  return attached_refuses(node, "epilogue");
}

Step compile_product(const Graph& graph, const Node& node, const std::shared_ptr<Device>& device,
                     bool tf32) {
  const DType dtype = graph.value(node.inputs[0]).type.dtype;
  Step step = launched_step(graph, node, node.op_type == "Gemm" ? run_gemm : run_matmul, "gemm");
  Attached epilogue(node, "epilogue", step, device);
  step.state = std::make_shared<ProductState>(
      ProductState{ProductKernels(device, dtype, tf32), std::move(epilogue)});
  return step;
}

}  // namespace

std::vector<LaunchedOp> product_ops() {
  return {
      {"", "MatMul", refuses, compiled<compile_product, false>, compiled<compile_product, true>},
      {"tiercel", "PermutedMatMul", refuses, compiled<compile_product, false>,
       compiled<compile_product, true>},
      {"", "Gemm", refuses, compiled<compile_product, false>, compiled<compile_product, true>}};
}

}  // namespace tiercel::cuda
