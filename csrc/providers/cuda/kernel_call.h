// Runs on a GPU what the kernel table has: the call as the GPU sees it, and its launches.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "providers/cuda/device.h"
#include "runtime/kernel_table.h"

namespace tiercel::cuda {

// A row of the kernel table with its entry on a GPU.
struct DeviceMatch {
  KernelMatch match;
  const TclDeviceText* text;
};

// Rows of the kernel table that fit the node and that GPUs run. When none, `reason` says why.
[[nodiscard]] std::vector<DeviceMatch> find_device_kernels(const Graph& graph, const Node& node,
                                                           std::string& reason);

// Gives the work of `call`, whose tensors hold addresses of the GPU but for inputs in `on_host`, to
// the GPU. `step` names the step that a kernel's error belongs to.
void run_device_kernel(Device& device, const TclKernel& kernel, FunctionHandle function,
                       TclCall& call, size_t attributes, const std::vector<bool>& on_host,
                       int64_t step);

}  // namespace tiercel::cuda
