// Tensors in the memory of a GPU, as Python's libraries exchange them: __cuda_array_interface__ and
// DLPack.
#pragma once
#include <pybind11/pybind11.h>

#include <optional>
#include <string>

#include "base/device_memory.h"

namespace tiercel::bindings {

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
