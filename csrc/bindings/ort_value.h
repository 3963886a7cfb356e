// The Python class _core.OrtValue: a run-time value held outside numpy.
#pragma once
#include <pybind11/pybind11.h>

#include <optional>

#include "base/device_memory.h"

namespace tiercel::bindings {

struct OrtValue {
  Value value;
};

// The value inside a _core.OrtValue, or inside an object that keeps one as `_ortvalue`; nullptr for
// anything else.
[[nodiscard]] const Value* ort_value_in(PyObject* object);

void bind_ort_value(pybind11::module_& module);

// DLPack, both ways, without a copy. `stream` (of the GPU, as the array API standard numbers them:
// none, -1 for no order, 1 the legacy one) is the consumer's.
[[nodiscard]] pybind11::capsule to_dlpack(const Tensor& tensor, std::optional<intptr_t> stream);
[[nodiscard]] pybind11::tuple dlpack_device(const Tensor& tensor);
[[nodiscard]] Tensor from_dlpack(const pybind11::object& source);
[[nodiscard]] pybind11::tuple tensor_dims(const Tensor& tensor);

}  // namespace tiercel::bindings
