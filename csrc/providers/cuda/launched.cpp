// Operators that have kernels of their own in kernels/cuda: the list, entries, launches.
#include "providers/cuda/launched.h"

#include <algorithm>

#include "base/error.h"
#include "providers/cuda/texts.h"

namespace tiercel::cuda {
namespace {

std::vector<LaunchedOp> all_launched() {
  std::vector<LaunchedOp> all;
  for (const auto& family :
       {product_ops(), byte_product_ops(), weight_ops(), conv_ops(), byte_conv_ops(), row_ops(),
        reduction_ops(), attention_ops(), move_ops(), gather_ops(), pool_ops(), resize_ops(),
        recurrent_ops(), byte_lstm_ops()}) {
    all.insert(all.end(), family.begin(), family.end());
  }
  return all;
}

}  // namespace

const LaunchedOp* find_launched(const Node& node) {
  static const std::vector<LaunchedOp> all = all_launched();
  const std::string_view domain = node.domain == "ai.onnx" ? "" : std::string_view(node.domain);
  const auto found = std::find_if(all.begin(), all.end(), [&](const LaunchedOp& one) {
    return one.op == node.op_type && one.domain == domain;
  });
  return found == all.end() ? find_custom(node) : &*found;
}

FunctionHandle cuda_function(Device& device, std::string_view file, const std::string& entry) {
  const TclDeviceText* text = module_text(file);
  if (text == nullptr) {
    throw_error(ErrorKind::EPFail,
                "CUDAExecutionProvider: this library was built without NVRTC "
                "and has no kernels of kernels/cuda/",
                file, ".cu");
  }
  return device.function(*text, entry);
}

std::optional<std::string> launch_refuses(const LaunchedOp& op, const Graph& graph,
                                          const Node& node) {
  const bool missing = op.of_library && module_text("gemm") == nullptr;  // it has all or none
  if (missing) return "the library was built without NVRTC";
  return op.refuses(graph, node);
}

std::string_view type_suffix(DType dtype) {
  switch (dtype) {
    case DType::Float:
      return "f32";
    case DType::Float16:
      return "f16";
    case DType::BFloat16:
      return "bf16";
    case DType::Double:
      return "f64";
    case DType::Int32:
      return "i32";
    case DType::Int64:
      return "i64";
    case DType::Int8:
      return "s8";
    case DType::UInt8:
      return "u8";
    default:
      return "";
  }
}

const Tensor* constant_behind(const Graph& graph, ValueId id) {
  if (id == kNone) return nullptr;
  const NodeId producer = graph.value(id).producer;
  if (producer == kNone) return graph.constant(id);
  const Node& node = graph.node(producer);
  return node.domain == "tiercel" && node.op_type == "Copy" ? graph.constant(node.inputs[0])
                                                            : nullptr;
}

bool is_nothing(const Graph& graph, ValueId id) {
  if (id == kNone) return true;
  const Tensor* tensor = constant_behind(graph, id);
  if (tensor == nullptr) return false;
  const auto* bytes = static_cast<const std::byte*>(tensor->raw());
  return std::all_of(bytes, bytes + tensor->bytes(), [](std::byte b) { return b == std::byte{0}; });
}

ValueId input_of(const Node& node, size_t i) {
  return i < node.inputs.size() ? node.inputs[i] : kNone;
}

Dims dims_of(const TclTensor& tensor) { return Dims(tensor.dims, tensor.dims + tensor.rank); }

Dims dense_strides(const Dims& dims) {
  Dims strides(dims.size(), 1);
  for (size_t i = dims.size(); i-- > 1;) strides[i - 1] = strides[i] * dims[i];
  return strides;
}

Step launched_step(const Graph& graph, const Node& node, StepFn run, std::string_view kernel) {
  Step step{.run = run, .inputs = node.inputs, .outputs = node.outputs};
  step.kernel = concat(kernel, " cuda T=", dtype_name(graph.value(node.inputs[0]).type.dtype));
  return step;
}

Arguments& Arguments::add_words(const std::vector<uint32_t>& words) {
  if (words.empty()) return *this;
  offsets_.push_back((bytes_.size() + 15) / 16 * 16);
  bytes_.resize(offsets_.back() + words.size() * sizeof(uint32_t));
  std::memcpy(bytes_.data() + offsets_.back(), words.data(), words.size() * sizeof(uint32_t));
  return *this;
}

void Arguments::launch(Device& device, FunctionHandle function, const Grid& grid) {
  std::vector<void*> pointers;
  for (const size_t offset : offsets_) pointers.push_back(bytes_.data() + offset);
  device.launch(function, grid, pointers);
}

}  // namespace tiercel::cuda
