// Sequences and maps as lists and dicts of Python's own numbers and texts.
#include "bindings/containers.h"

#include <algorithm>
#include <utility>

#include "bindings/numpy_values.h"

namespace py = pybind11;

namespace tiercel::bindings {
namespace {

// New reference to one element as Python's own number or text; nullptr without an error for types
// that are left to numpy.
PyObject* scalar_object(const Tensor& tensor, int64_t i) {
  switch (tensor.dtype()) {
    case DType::Float:
      return PyFloat_FromDouble(static_cast<double>(tensor.data<float>()[i]));
    case DType::Double:
      return PyFloat_FromDouble(tensor.data<double>()[i]);
    case DType::Int64:
      return PyLong_FromLongLong(tensor.data<int64_t>()[i]);
    case DType::String: {
      const std::string& text = tensor.data<std::string>()[i];
      return PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()),
                                  "surrogateescape");
    }
    default:
      return nullptr;
  }
}

// The elements of a tensor as a list of Python's own numbers or texts.
py::list list_of_elements(const Tensor& tensor) {
  py::list out(static_cast<size_t>(tensor.size()));
  for (int64_t i = 0; i < tensor.size(); ++i) {
    PyObject* item = scalar_object(tensor, i);
    if (item == nullptr) {
      if (PyErr_Occurred() != nullptr) throw py::error_already_set();
      return py::list(py::reinterpret_steal<py::object>(from_value(Value(tensor), true))
                          .attr("ravel")()
                          .attr("tolist")());
    }
    PyList_SET_ITEM(out.ptr(), static_cast<Py_ssize_t>(i), item);
  }
  return out;
}

PyObject* dict_of(const Map& map, const py::list& keys) {
  const py::list values = list_of_elements(map.values);
  py::dict out;
  const Py_ssize_t count = std::min(PyList_GET_SIZE(keys.ptr()), PyList_GET_SIZE(values.ptr()));
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (PyDict_SetItem(out.ptr(), PyList_GET_ITEM(keys.ptr(), i),
                       PyList_GET_ITEM(values.ptr(), i)) != 0) {
      throw py::error_already_set();
    }
  }
  return out.release().ptr();
}

}  // namespace

PyObject* map_object(const Map& map) { return dict_of(map, list_of_elements(map.keys)); }

PyObject* list_object(const Sequence& sequence) {
  py::list out(sequence.size());
  py::list keys;
  const Tensor* shared = nullptr;  // whose elements `keys` are: maps often have the same tensor
  for (size_t i = 0; i < sequence.size(); ++i) {
    PyObject* item;
    if (const Map* map = sequence[i].map()) {
      const bool same = shared != nullptr && shared->raw() == map->keys.raw() &&
                        shared->size() == map->keys.size() && shared->dtype() == map->keys.dtype();
      if (!same) keys = list_of_elements(map->keys);
      shared = &map->keys;
      item = dict_of(*map, keys);
    } else {
      item = from_value(Value(sequence[i]), true);
    }
    PyList_SET_ITEM(out.ptr(), static_cast<Py_ssize_t>(i), item);
  }
  return out.release().ptr();
}

}  // namespace tiercel::bindings
