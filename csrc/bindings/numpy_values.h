// Conversions between Python objects and run-time values: numpy arrays, strings, lists, dicts and
// None.
#pragma once
#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "base/tensor.h"
#include "bindings/numpy_api.h"
#include "ir/attribute.h"
#include "ir/type.h"

namespace tiercel::bindings {

// References that must outlive a run because a Value borrows their memory. Needs the GIL to die.
class Held {
 public:
  Held() = default;
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  ~Held() {
    for (PyObject* object : objects_) Py_DECREF(object);
  }
  void steal(PyObject* object) { objects_.push_back(object); }

 private:
  std::vector<PyObject*> objects_;
};

// The tensor where the host can read it: itself, or a copy of a device's. Needs the GIL.
[[nodiscard]] Tensor on_host(const Tensor& tensor);

// From any thread; nothing where Python has ended.
void drop_reference(PyObject* object);

// Element type of a numpy dtype, Undefined when there is none.
[[nodiscard]] DType dtype_of(PyArray_Descr* descr);
// New reference to the numpy dtype; throws Error when numpy needs ml_dtypes for it and it is not
// installed.
[[nodiscard]] PyArray_Descr* descr_of(DType dtype);
// True when numpy keeps an element in the bytes that the core uses.
[[nodiscard]] bool same_layout(DType dtype);

// `object` as a Value of `type`, whose dtype guides lists and scalars; arrays keep their own.
// Memory of contiguous arrays is borrowed: `held` keeps it alive. Throws Error(InvalidArgument)
// naming input `name`.
[[nodiscard]] Value to_value(PyObject* object, const Type& type, const std::string& name,
                             Held& held);
// The same with ownership: the Value itself keeps the array alive.
[[nodiscard]] Value to_owning_value(PyObject* object, const Type& type, const std::string& name);

// New reference: array, list, dict, None, or tiercel.SparseTensor. Memory that nobody else uses is
// handed over without a copy unless `copy` is set.
[[nodiscard]] PyObject* from_value(Value&& value, bool copy = false);

// int, float, str, a list of them, or an array; None for graphs, types and lists of tensors.
[[nodiscard]] pybind11::object from_attribute(const Attribute& attribute);

// A new array of `dims` over `memory`, from take_block, which goes back there with the
// array; takes `memory` over even when it throws.
[[nodiscard]] PyObject* array_over(void* memory, DType dtype, std::span<const int64_t> dims);

}  // namespace tiercel::bindings
