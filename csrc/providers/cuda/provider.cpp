// The GPU provider: which nodes a GPU runs, and how.
#include "providers/cuda/provider.h"

#include <algorithm>
#include <charconv>

#include "ops/op_def.h"
#include "providers/cuda/launched.h"
#include "providers/cuda/steps.h"

namespace tiercel {
namespace {

bool is_copy(const Node& node) { return node.domain == "tiercel" && node.op_type == "Copy"; }

class CudaProvider final : public Provider {
 public:
  CudaProvider(std::shared_ptr<cuda::Device> device, std::shared_ptr<void> limit, bool records,
               bool tf32)
      : device_(std::move(device)), limit_(std::move(limit)), records_(records), tf32_(tf32) {}

  [[nodiscard]] std::string_view name() const override { return "CUDAExecutionProvider"; }
  [[nodiscard]] DeviceMemory* device() const override { return device_.get(); }

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
      refusal = cuda::launch_refuses(*launched, graph, node);
      if (!refusal) return std::nullopt;
    }
    const std::optional<std::string> other = cuda::kernel_refuses(graph, node);
    return other && refusal ? refusal : other;
  }

  [[nodiscard]] Step compile(const Graph& graph, const Node& node) const override {
    if (is_copy(node)) return cuda::compile_copy(node, device_);
    if (node.def->has(kElementwise)) return cuda::compile_pointwise(graph, node, device_);
    const cuda::LaunchedOp* launched = cuda::find_launched(node);
    if (launched != nullptr && !cuda::launch_refuses(*launched, graph, node)) {
      const auto compile =
          tf32_ && launched->compile_tf32 ? launched->compile_tf32 : launched->compile;
      return compile(graph, node, device_);
    }
    return cuda::compile_kernel(graph, node, device_);
  }

  void finish(RunContext& context) const override { cuda::finish_run(*device_, context); }
  [[nodiscard]] bool records() const override { return records_; }
  [[nodiscard]] std::shared_ptr<void> record(const std::function<void()>& work) const override {
    return device_->record(work);
  }
  void replay(void* recording) const override {
    device_->replay(*static_cast<cuda::Recording*>(recording));
  }

 private:
  std::shared_ptr<cuda::Device> device_;
  std::shared_ptr<void> limit_;  // nullptr: none
  bool records_;                 // CUDA graphs
  bool tf32_;
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

// ONNX Runtime's options on what is not here: cuDNN's algorithms, arenas that grow, tuning.
constexpr std::string_view kIgnored[] = {"arena_extend_strategy",
                                         "cudnn_conv1d_pad_to_nc1d",
                                         "cudnn_conv_algo_search",
                                         "cudnn_conv_use_max_workspace",
                                         "do_copy_in_default_stream",
                                         "enable_skip_layer_norm_strict_mode",
                                         "fuse_conv_bias",
                                         "has_user_compute_stream",
                                         "prefer_nhwc",
                                         "sdpa_kernel",
                                         "tunable_op_enable",
                                         "tunable_op_max_tuning_duration_ms",
                                         "tunable_op_tuning_enable",
                                         "use_ep_level_unified_stream"};

// As ONNX Runtime's users write it.
bool switched_on(const std::string& name, const std::string& value) {
  if (value == "1" || value == "True" || value == "true") return true;
  if (value == "0" || value == "False" || value == "false") return false;
  throw_error(ErrorKind::InvalidArgument, "CUDAExecutionProvider: option ", name, " is \"", value,
              "\"; expected 0 or 1");
}

}  // namespace

std::string cuda_missing() {
  std::string reason;
  static_cast<void>(cuda::find_driver(reason));
  return reason;
}

DeviceMemory* cuda_memory(int number) { return cuda::Device::open(number).get(); }

DeviceMemory* cuda_memory_at(uintptr_t address) {
  if (address == 0) return cuda_memory(0);  // of an array without elements
  const int number = cuda::device_of(address);
  if (number >= 0) return cuda_memory(number);
  throw_error(ErrorKind::InvalidArgument, "address ", address, " is in no GPU's memory");
}

std::shared_ptr<Provider> make_cuda_provider(
    const std::vector<std::pair<std::string, std::string>>& options) {
  int64_t number = 0, limit = INT64_MAX, stream = 0;
  bool records = false, tf32 = false;
  for (const auto& [name, value] : options) {
    if (name == "device_id") {
      number = whole_number(name, value);
    } else if (name == "gpu_mem_limit") {
      limit = whole_number(name, value);
    } else if (name == "user_compute_stream") {
      stream = whole_number(name, value);
    } else if (name == "enable_cuda_graph") {
      records = switched_on(name, value);
    } else if (name == "use_tf32") {
      tf32 = switched_on(name, value);
    } else if (std::ranges::find(kIgnored, name) == std::end(kIgnored)) {
      throw_error(ErrorKind::InvalidArgument, "CUDAExecutionProvider: unknown option \"", name,
                  "\"; known: device_id, gpu_mem_limit, user_compute_stream, enable_cuda_graph, "
                  "use_tf32");
    }
  }
  const int device_id = static_cast<int>(std::min<int64_t>(number, INT32_MAX));
  auto device = cuda::Device::open(device_id, static_cast<uintptr_t>(stream));
  auto limited = limit == INT64_MAX ? nullptr : device->limit(limit);
  return std::make_shared<CudaProvider>(std::move(device), std::move(limited), records, tf32);
}

}  // namespace tiercel
