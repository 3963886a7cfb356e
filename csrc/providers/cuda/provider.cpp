// The GPU provider: which nodes a GPU runs, and how.
#include "providers/cuda/provider.h"

#include <charconv>

#include "ops/op_def.h"
#include "providers/cuda/launched.h"
#include "providers/cuda/steps.h"

namespace tiercel {
namespace {

bool is_copy(const Node& node) { return node.domain == "tiercel" && node.op_type == "Copy"; }

class CudaProvider final : public Provider {
 public:
  CudaProvider(std::shared_ptr<cuda::Device> device, std::shared_ptr<void> limit)
      : device_(std::move(device)), limit_(std::move(limit)) {}

  [[nodiscard]] std::string_view name() const override { return "CUDAExecutionProvider"; }
  [[nodiscard]] std::string_view memory() const override { return "cuda"; }

  [[nodiscard]] std::optional<std::string> refuses(const Graph& graph,
                                                   const Node& node) const override {
    if (is_copy(node)) return std::nullopt;
    if (node.def->has(kReadsDims)) return "the host knows shapes";
    if (node.def->has(kDataDependent)) return "its output's shape depends on data";
    for (const auto* list : {&node.inputs, &node.outputs}) {
      for (const ValueId id : *list) {
        if (id == kNone) continue;
        const Type& type = graph.value(id).type;
        if (!type.is_tensor() || type.dtype == DType::String) return "values other than numbers";
      }
    }
    if (node.def->has(kElementwise)) return cuda::pointwise_refuses(graph, node);
    std::optional<std::string> refusal;
    if (const cuda::LaunchedOp* launched = cuda::find_launched(node)) {
      // In front of the fast kernel the program is a step of its own.
      if (node.attributes.find("prologue") != nullptr) return "a program in front of it";
      refusal = launched->refuses(graph, node);
      if (!refusal) return std::nullopt;
    }
    const std::optional<std::string> other = cuda::kernel_refuses(graph, node);
    return other && refusal ? refusal : other;
  }

  [[nodiscard]] Step compile(const Graph& graph, const Node& node) const override {
    if (is_copy(node)) return cuda::compile_copy(node, device_);
    if (node.def->has(kElementwise)) return cuda::compile_pointwise(graph, node, device_);
    const cuda::LaunchedOp* launched = cuda::find_launched(node);
    if (launched != nullptr && !launched->refuses(graph, node)) {
      return launched->compile(graph, node, device_);
    }
    return cuda::compile_kernel(graph, node, device_);
  }

  [[nodiscard]] std::shared_ptr<Buffer> allocate(int64_t bytes) const override {
    const auto inside = device_->enter();
    return device_->allocate(bytes);
  }
  [[nodiscard]] Tensor resident(const Tensor& constant) const override {
    return device_->resident(constant);
  }
  [[nodiscard]] std::shared_ptr<void> enter() const override { return device_->enter(); }

 private:
  std::shared_ptr<cuda::Device> device_;
  std::shared_ptr<void> limit_;  // nullptr: none
};

int64_t whole_number(const std::string& name, const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) {
    throw_error(ErrorKind::InvalidArgument, "CUDAExecutionProvider: option ", name, " is \"", text,
                "\"; expected a whole number that is not negative");
  }
  return value;
}

}  // namespace

std::string cuda_missing() {
  std::string reason;
  static_cast<void>(cuda::find_driver(reason));
  return reason;
}

std::shared_ptr<Provider> make_cuda_provider(
    const std::vector<std::pair<std::string, std::string>>& options) {
  int64_t number = 0, limit = INT64_MAX;
  for (const auto& [name, value] : options) {
    if (name == "device_id") {
      number = whole_number(name, value);
    } else if (name == "gpu_mem_limit") {
      limit = whole_number(name, value);
    } else {
      throw_error(ErrorKind::InvalidArgument, "CUDAExecutionProvider: unknown option \"", name,
                  "\"; known: device_id, gpu_mem_limit");
    }
  }
  auto device = cuda::Device::open(static_cast<int>(std::min<int64_t>(number, INT32_MAX)));
  auto limited = limit == INT64_MAX ? nullptr : device->limit(limit);
  return std::make_shared<CudaProvider>(std::move(device), std::move(limited));
}

}  // namespace tiercel
