// The Python class _core.OrtValue: a run-time value held outside numpy.
#include "bindings/ort_value.h"

#include <pybind11/stl.h>

#include "bindings/device_values.h"
#include "bindings/numpy_values.h"
#include "runtime/provider.h"

namespace py = pybind11;

namespace tiercel::bindings {
namespace {

const Tensor& tensor_of(const OrtValue& self) {
  if (const Tensor* tensor = self.value.tensor()) return *tensor;
  throw_error(ErrorKind::InvalidArgument, "this OrtValue holds no tensor");
}

DType checked_dtype(int number) {
  if (!dtype_is_valid(number) || number == 0) {
    throw_error(ErrorKind::InvalidArgument, number, " is no ONNX element type");
  }
  return static_cast<DType>(number);
}

std::string type_text(const Value& value) {
  if (const Tensor* tensor = value.tensor()) {
    return concat("tensor(", dtype_name(tensor->dtype()), ")");
  }
  if (const Sequence* sequence = value.sequence()) {
    return concat("seq(", sequence->empty() ? "tensor(float)" : type_text(sequence->front()), ")");
  }
  if (const Map* map = value.map()) {
    return concat("map(", dtype_name(map->keys.dtype()), ",tensor(",
                  dtype_name(map->values.dtype()), "))");
  }
  if (const SparseTensor* sparse = value.sparse()) {
    return concat("sparse_tensor(", dtype_name(sparse->values.dtype()), ")");
  }
  return "optional()";
}

OrtValue from_numpy(const py::object& array, int guide) {
  Type type;
  if (guide != 0) type = Type::tensor(checked_dtype(guide));
  return {to_owning_value(array.ptr(), type, "value")};
}

// The array's bytes under another element type of the same width: bfloat16 kept in uint16, and so
// on.
OrtValue view_as(const OrtValue& self, int number) {
  const Tensor& tensor = tensor_of(self);
  const DType dtype = checked_dtype(number);
  if (dtype_bits(dtype) != dtype_bits(tensor.dtype()) || dtype == DType::String) {
    throw_error(ErrorKind::InvalidArgument, "cannot take the bytes of tensor(",
                dtype_name(tensor.dtype()), ") as tensor(", dtype_name(dtype), ")");
  }
  return {Tensor(dtype, tensor.dims(), tensor.buffer(), tensor.raw())};
}

OrtValue from_shape(const std::vector<int64_t>& dims, int type, const std::string& device,
                    int number) {
  const DType dtype = checked_dtype(type);
  return without_gil(
      [&] { return OrtValue{zeros_in(device_memory(device, number), dtype, dims)}; });
}

OrtValue to_device(const OrtValue& self, const std::string& device, int number) {
  DeviceMemory* memory = device_memory(device, number);
  if (memory == nullptr && self.value.tensor() == nullptr) return self;
  const Tensor tensor = tensor_of(self);
  return without_gil([&] { return OrtValue{moved_to(memory, tensor)}; });
}

// Over memory of the caller, who keeps it alive.
OrtValue from_pointer(uintptr_t pointer, const std::vector<int64_t>& dims, int type,
                      const std::string& device, int number) {
  const DType dtype = checked_dtype(type);
  if (dtype == DType::String) {
    throw_error(ErrorKind::InvalidArgument, "a string tensor cannot be bound by its address");
  }
  const int64_t bytes = dtype_bytes(dtype, element_count(dims));
  if (pointer == 0 && bytes != 0) {
    throw_error(ErrorKind::InvalidArgument, "buffer_ptr is null");
  }
  void* data = reinterpret_cast<void*>(pointer);
  auto buffer = Buffer::wrap(data, bytes, {}, device_memory(device, number));
  return {Tensor(dtype, dims, std::move(buffer), data)};
}

OrtValue from_sparse(const OrtValue& values, const OrtValue& indices,
                     const std::vector<int64_t>& dims) {
  auto sparse = std::make_shared<SparseTensor>();
  sparse->values = on_host(tensor_of(values));
  sparse->indices = on_host(tensor_of(indices));
  sparse->dims = dims;
  return {Value(std::move(sparse))};
}

// Over when it returns: others may share the memory, and use it on streams of their own.
void update(OrtValue& self, const py::object& array) {
  const Tensor to = tensor_of(self);
  const Value value = to_owning_value(array.ptr(), Type::tensor(to.dtype()), "value");
  if (value.tensor() == nullptr) {
    throw_error(ErrorKind::InvalidArgument, "update_inplace: expected a tensor, got ",
                type_text(value));
  }
  const Tensor& from = *value.tensor();
  if (from.dtype() != to.dtype() || from.dims() != to.dims()) {
    throw_error(ErrorKind::InvalidArgument, "update_inplace: expected tensor(",
                dtype_name(to.dtype()), ") of shape ", dims_text(to.dims()), ", got tensor(",
                dtype_name(from.dtype()), ") of shape ", dims_text(from.dims()));
  }
  without_gil([&] {
    copy_elements(to, from);
    if (memory_of(to) != nullptr) memory_of(to)->synchronize();
  });
}

py::object numpy(const OrtValue& self, bool copy) {
  const Tensor* held = self.value.tensor();
  if (!copy && held != nullptr && memory_of(*held) == nullptr && same_layout(held->dtype()) &&
      held->size() > 0) {
    // A view: the array keeps the buffer, and with it the memory.
    const Tensor& tensor = *self.value.tensor();
    auto keep = std::make_shared<std::shared_ptr<Buffer>>(tensor.buffer());
    auto view = Buffer::wrap(tensor.raw(), tensor.bytes(), [keep] {});
    return py::reinterpret_steal<py::object>(
        from_value(Value(Tensor(tensor.dtype(), tensor.dims(), std::move(view), tensor.raw()))));
  }
  return py::reinterpret_steal<py::object>(from_value(Value(self.value), copy));
}

// The name and number of the device whose memory a tensor is in.
py::tuple device_of(const OrtValue& self) {
  const Tensor* tensor = self.value.tensor();
  const DeviceMemory* memory = tensor != nullptr ? memory_of(*tensor) : nullptr;
  if (memory == nullptr) return py::make_tuple("cpu", 0);
  return py::make_tuple(std::string(memory->name()), memory->number());
}

}  // namespace

py::tuple tensor_dims(const Tensor& tensor) {
  py::tuple out(tensor.dims().size());
  for (size_t i = 0; i < tensor.dims().size(); ++i) out[i] = py::int_(tensor.dims()[i]);
  return out;
}

const Value* ort_value_in(PyObject* object) {
  if (py::isinstance<OrtValue>(object)) return &py::cast<OrtValue&>(object).value;
  if (object == Py_None || PyList_Check(object) || PyTuple_Check(object) || PyDict_Check(object)) {
    return nullptr;
  }
  static PyObject* attribute = PyUnicode_InternFromString("_ortvalue");
  py::object inner = py::reinterpret_steal<py::object>(PyObject_GetAttr(object, attribute));
  if (!inner) {
    PyErr_Clear();
    return nullptr;
  }
  // The outer object keeps the inner one alive.
  return py::isinstance<OrtValue>(inner) ? &py::cast<OrtValue&>(inner).value : nullptr;
}

void bind_ort_value(py::module_& module) {
  py::class_<OrtValue>(module, "OrtValue")
      .def_static("from_object", &from_numpy, py::arg("array"), py::arg("element_type") = 0)
      .def_static("from_shape", &from_shape, py::arg("shape"), py::arg("element_type"),
                  py::arg("device") = "cpu", py::arg("number") = 0)
      .def_static("from_pointer", &from_pointer, py::arg("pointer"), py::arg("shape"),
                  py::arg("element_type"), py::arg("device") = "cpu", py::arg("number") = 0)
      .def_static("from_sparse", &from_sparse, py::arg("values"), py::arg("indices"),
                  py::arg("shape"))
      .def_static("from_dlpack",
                  [](const py::object& source) { return OrtValue{from_dlpack(source)}; })
      .def("view_as", &view_as, py::arg("element_type"))
      .def("update", &update, py::arg("array"))
      .def("numpy", &numpy, py::arg("copy") = true)
      .def("to_device", &to_device, py::arg("device"), py::arg("number") = 0)
      .def(
          "dlpack",
          [](const OrtValue& self, std::optional<intptr_t> stream) {
            return to_dlpack(tensor_of(self), stream);
          },
          py::arg("stream") = py::none())
      .def("dlpack_device", [](const OrtValue& self) { return dlpack_device(tensor_of(self)); })
      .def("cuda_array_interface",
           [](const OrtValue& self) { return cuda_array_interface(tensor_of(self)); })
      .def_property_readonly("device", &device_of)
      .def_property_readonly("type", [](const OrtValue& self) { return type_text(self.value); })
      .def_property_readonly(
          "kind", [](const OrtValue& self) { return static_cast<int>(self.value.index()); })
      .def_property_readonly("shape",
                             [](const OrtValue& self) { return tensor_dims(tensor_of(self)); })
      .def_property_readonly(
          "element_type",
          [](const OrtValue& self) { return static_cast<int>(tensor_of(self).dtype()); })
      .def_property_readonly("nbytes", [](const OrtValue& self) { return tensor_of(self).bytes(); })
      .def_property_readonly("pointer", [](const OrtValue& self) {
        return reinterpret_cast<uintptr_t>(tensor_of(self).raw());
      });
}

}  // namespace tiercel::bindings
