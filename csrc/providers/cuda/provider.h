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
// Options as ONNX Runtime names them: device_id, gpu_mem_limit. Throws Error(EPFail) that names
// what is missing, Error(InvalidArgument) for an option that it does not know.
[[nodiscard]] std::shared_ptr<Provider> make_cuda_provider(
    const std::vector<std::pair<std::string, std::string>>& options);

}  // namespace tiercel
