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

namespace {

void check_device(std::string_view name) {
  if (name == "cuda") return;
  throw_error(ErrorKind::InvalidArgument, "there is no device \"", name,
              "\"; expected \"cpu\" or \"cuda\"");
}

}  // namespace

std::shared_ptr<DeviceMemory> device_memory(std::string_view name, int number) {
  check_device(name);
  return cuda_memory(number);
}

std::shared_ptr<DeviceMemory> device_memory_at(std::string_view name, uintptr_t address) {
  check_device(name);
  return cuda_memory_at(address);
}

}  // namespace tiercel
