// The GPU provider.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/provider.h"

namespace tiercel {

// What keeps GPUs from being used on this machine; empty: nothing.
[[nodiscard]] std::string cuda_missing();
// Options as ONNX Runtime names them: device_id, gpu_mem_limit, user_compute_stream,
// enable_cuda_graph. Throws Error(EPFail) that names
// what is missing, Error(InvalidArgument) for an option that it does not know.
[[nodiscard]] std::shared_ptr<Provider> make_cuda_provider(
    const std::vector<std::pair<std::string, std::string>>& options);

// The memory of that GPU, in the order of our own stream.
[[nodiscard]] DeviceMemory* cuda_memory(int number);
// That of the GPU which has the address. Throws Error(InvalidArgument) when none has it.
[[nodiscard]] DeviceMemory* cuda_memory_at(uintptr_t address);

}  // namespace tiercel
