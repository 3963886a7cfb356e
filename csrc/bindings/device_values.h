// Tensors in the memory of a GPU, as Python's libraries exchange them: __cuda_array_interface__ and
// DLPack.
#pragma once
#include <pybind11/pybind11.h>

#include <optional>
#include <string>

#include "base/device_memory.h"

namespace tiercel::bindings {

// "cpu" (also "cpu_pinned"): nullptr; "cuda" or "gpu" and a number: that memory, for ever. Throws
// Error(InvalidArgument) for another name, Error(EPFail) where there is no such device.
[[nodiscard]] DeviceMemory* memory_by_name(const std::string& name, int number);
// The same of a tuple of both.
[[nodiscard]] DeviceMemory* memory_in(const pybind11::handle& name_and_number);

// The array behind an object with __cuda_array_interface__ (version 2 or 3), which lives as long as
// the tensor; nullopt for other objects. Our work follows what the object's stream has.
[[nodiscard]] std::optional<Tensor> from_cuda_array(pybind11::handle object);
// `work` without the GIL, where it is held. For what waits for a device: a run on it may wait for
// the GIL.
template <class Work>
auto without_gil(const Work& work) {
  if (Py_IsInitialized() == 0 || PyGILState_Check() == 0) return work();
  const pybind11::gil_scoped_release released;
  return work();
}

// A dict of version 3. Throws Error(InvalidArgument) for a tensor on the host.
[[nodiscard]] pybind11::dict cuda_array_interface(const Tensor& tensor);

void bind_device_memory(pybind11::module_& module);

}  // namespace tiercel::bindings
