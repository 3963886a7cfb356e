// Runs on a GPU what the kernel table has.
#include "providers/cuda/kernel_call.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "providers/cuda/texts.h"
#include "runtime/kernel_call.h"

namespace tiercel::cuda {
namespace {

// The structures of kernel.h as the GPU reads them, in one block: first their sizes are added up,
// then they are written with the addresses that they will have.
class CallBlock {
 public:
  CallBlock(const TclCall& call, size_t attributes, const std::vector<bool>& on_host)
      : call_(call), attributes_(attributes), on_host_(on_host) {}

  // The address of the call.
  void* place(Device& device) {
    lay_out();
    const auto size = static_cast<int64_t>(at_);
    memory_ = device.parameters(size);
    at_ = 0;
    lay_out();
    device.send(memory_, size);
    return memory_.device;
  }

 private:
  // Room for bytes; written when the block has its memory. Gives their address.
  template <class T>
  T* put(const T* from, size_t count) {
    at_ = (at_ + 15) / 16 * 16;
    const size_t start = at_;
    at_ += count * sizeof(T);
    if (memory_.host == nullptr) return nullptr;
    if (count > 0) std::memcpy(memory_.host + start, from, count * sizeof(T));
    return reinterpret_cast<T*>(memory_.device + start);
  }

  void lay_out() {
    TclCall copy = call_;
    const TclCall* const first = put(&copy, 1);
    const TclEpilogue epilogue{};
    const TclPrologue prologue{};
    copy.epilogue = put(&epilogue, 1);
    copy.prologue = put(&prologue, 1);
    const std::vector<void*> none(static_cast<size_t>(std::max<int64_t>(call_.n_in, 1)), nullptr);
    copy.packed = put(none.data(), none.size());
    copy.in = tensors(call_.in, call_.n_in, true);
    copy.out = tensors(call_.out, call_.n_out, false);
    copy.attr = attribute_list();
    if (first != nullptr) std::memcpy(memory_.host, &copy, sizeof copy);
  }

  TclTensor* const* tensors(TclTensor* const* list, int64_t count, bool inputs) {
    std::vector<TclTensor*> pointers;
    for (int64_t i = 0; i < count; ++i) {
      TclTensor tensor = *list[i];
      if (tensor.rank >= 0) tensor.dims = put(tensor.dims, static_cast<size_t>(tensor.rank));
      if (inputs && on_host_[static_cast<size_t>(i)] && tensor.rank >= 0) {
        const int64_t size = tensor_bytes(tensor);
        tensor.data = put(static_cast<const std::byte*>(tensor.data), static_cast<size_t>(size));
      }
      pointers.push_back(put(&tensor, 1));
    }
    return put(pointers.data(), pointers.size());
  }

  const TclAttr* attribute_list() {
    std::vector<TclAttr> list(call_.attr, call_.attr + attributes_);
    for (TclAttr& attr : list) {
      const auto count = static_cast<size_t>(std::max<int64_t>(attr.n, 0));
      if (attr.ints != nullptr) attr.ints = put(attr.ints, count);
      if (attr.floats != nullptr) attr.floats = put(attr.floats, count);
    }
    return put(list.data(), list.size());
  }

  const TclCall& call_;
  const size_t attributes_;
  const std::vector<bool>& on_host_;
  Device::Parameters memory_{};
  size_t at_ = 0;
};

constexpr int64_t kScratchLimit = 64 << 20;  // bytes of all threads together

// Threads of a launch: one per unit where units are not too many.
int64_t thread_count(const Device& device, int64_t units, int64_t scratch) {
  int64_t threads = std::min<int64_t>(units, int64_t{device.multiprocessors()} * 2048 * 8);
  if (scratch > 0) threads = std::min(threads, std::max<int64_t>(1, kScratchLimit / scratch));
  return threads;
}

}  // namespace

std::vector<DeviceMatch> find_device_kernels(const Graph& graph, const Node& node,
                                             std::string& reason) {
  std::vector<DeviceMatch> found;
  for (KernelMatch& match : find_kernels(graph, node, reason)) {
    const TclDeviceText* text = kernel_text(*match.kernel);
    if (text == nullptr) continue;
    match.kernel = &kernel_of_text(*match.kernel);
    found.push_back({std::move(match), text});
  }
  if (found.empty()) reason = concat("no GPU kernel for ", node_types(graph, node));
  return found;
}

void run_device_kernel(Device& device, const TclKernel& kernel, FunctionHandle function,
                       TclCall& call, size_t attributes, const std::vector<bool>& on_host,
                       int64_t step) {
  std::shared_ptr<Buffer> workspace, scratch;
  const int64_t workspace_bytes = kernel.workspace != nullptr ? kernel.workspace(&call) : 0;
  if (workspace_bytes > 0) {
    workspace = device.allocate(workspace_bytes);
    call.workspace = workspace->data();
  }
  int64_t scratch_bytes = kernel.scratch != nullptr ? kernel.scratch(&call) : 0;
  scratch_bytes = (scratch_bytes + 63) / 64 * 64;
  void* placed = nullptr;
  for (int64_t phase = 0; phase < kernel.n_phases; ++phase) {
    int64_t units = kernel.units != nullptr ? kernel.units(&call, phase) : 1;
    if (units <= 0) continue;
    if (placed == nullptr) placed = CallBlock(call, attributes, on_host).place(device);
    const int64_t threads = thread_count(device, units, scratch_bytes);
    int64_t per_thread = (units + threads - 1) / threads;
    if (scratch_bytes > 0) scratch = device.allocate(scratch_bytes * threads);
    void* own = scratch ? scratch->data() : nullptr;
    void* status = device.status();
    void* const arguments[] = {&placed, &phase,         &units,  &per_thread,
                               &own,    &scratch_bytes, &status, &step};
    Grid grid;
    grid.threads = 128;
    grid.x = (threads + grid.threads - 1) / grid.threads;
    device.launch(function, grid, arguments);
  }
}

}  // namespace tiercel::cuda
