// The execution providers of this library, most preferred first.
#include "base/error.h"
#include "providers/cpu/provider.h"
#include "providers/cuda/provider.h"
#include "runtime/provider.h"

namespace tiercel {

std::vector<std::string> available_providers() {
  if (cuda_missing().empty()) return {"CUDAExecutionProvider", "CPUExecutionProvider"};
  return {"CPUExecutionProvider"};
}

std::string provider_missing(std::string_view name) {
  if (name == "CPUExecutionProvider") return "";
  if (name == "CUDAExecutionProvider") return cuda_missing();
  return "it is not compiled into this library";
}

std::shared_ptr<Provider> make_provider(
    std::string_view name, const std::vector<std::pair<std::string, std::string>>& options) {
  if (name == "CPUExecutionProvider") return make_cpu_provider();
  if (name == "CUDAExecutionProvider") return make_cuda_provider(options);
  throw_error(ErrorKind::EPFail, "provider ", std::string(name),
              " is not compiled into this library; available: CPUExecutionProvider, "
              "CUDAExecutionProvider");
}

DeviceMemory* device_memory(std::string_view name, int number) {
  if (name == "cuda") return cuda_memory(number);
  if (name != "cpu") {
    throw_error(ErrorKind::InvalidArgument, "there is no device \"", name,
                "\"; expected \"cpu\" or \"cuda\"");
  }
  if (number == 0) return nullptr;
  throw_error(ErrorKind::InvalidArgument, "device cpu:", number, " does not exist; expected 0");
}

DeviceMemory* device_memory_at(uintptr_t address) { return cuda_memory_at(address); }

}  // namespace tiercel
