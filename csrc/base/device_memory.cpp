// Tensors in a device's memory: made, copied, moved.
#include "base/device_memory.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace tiercel {

std::string memory_text(const DeviceMemory* memory) {
  return memory == nullptr ? "cpu" : concat(memory->name(), ":", memory->number());
}

Tensor tensor_in(DeviceMemory* memory, DType dtype, Dims dims) {
  if (memory == nullptr) return {dtype, std::move(dims)};
  if (dtype == DType::String) {
    throw_error(ErrorKind::InvalidArgument,
                "strings stay in host memory; asked for: ", memory_text(memory));
  }
  auto buffer = memory->allocate(std::max<int64_t>(dtype_bytes(dtype, element_count(dims)), 1));
  void* data = buffer->data();
  return {dtype, std::move(dims), std::move(buffer), data};
}

Tensor zeros_in(DeviceMemory* memory, DType dtype, Dims dims) {
  Tensor tensor = tensor_in(memory, dtype, std::move(dims));
  if (dtype == DType::String || tensor.bytes() == 0) return tensor;
  if (memory != nullptr) {
    memory->clear(tensor.raw(), tensor.bytes());
  } else {
    std::memset(tensor.raw(), 0, static_cast<size_t>(tensor.bytes()));
  }
  return tensor;
}

void copy_elements(const Tensor& to, const Tensor& from) {
  DeviceMemory* there = memory_of(to);
  DeviceMemory* here = memory_of(from);
  if (from.dtype() == DType::String) {
    std::copy_n(from.data<std::string>(), from.size(), to.data<std::string>());
  } else if (from.bytes() == 0) {
    return;
  } else if (there == nullptr && here == nullptr) {
    std::memmove(to.raw(), from.raw(), static_cast<size_t>(from.bytes()));
  } else if (there == nullptr) {
    here->to_host(to.raw(), from.raw(), from.bytes());
  } else if (here == nullptr) {
    there->to_device(to.raw(), from.raw(), from.bytes());
  } else if (here->name() == there->name() && here->number() == there->number()) {
    if (here != there) there->follow(here->stream());
    there->copy(to.raw(), from.raw(), from.bytes());
    if (here != there) here->follow(there->stream());
  } else {
    copy_elements(to, moved_to(nullptr, from));
  }
}

Tensor moved_to(DeviceMemory* memory, const Tensor& tensor) {
  if (memory_of(tensor) == memory) return tensor;
  Tensor made = tensor_in(memory, tensor.dtype(), tensor.dims());
  copy_elements(made, tensor);
  return made;
}

}  // namespace tiercel
