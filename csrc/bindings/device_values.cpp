// Tensors in the memory of a GPU, as Python's libraries exchange them: __cuda_array_interface__.
#include "bindings/device_values.h"

#include <pybind11/stl.h>

#include <map>

#include "bindings/numpy_values.h"
#include "bindings/ort_value.h"
#include "runtime/provider.h"

namespace py = pybind11;

namespace tiercel::bindings {
namespace {

constexpr const char* kInterface = "__cuda_array_interface__";

DType dtype_named(const py::object& typestr) {
  PyArray_Descr* descr = nullptr;
  if (PyArray_DescrConverter(typestr.ptr(), &descr) != NPY_SUCCEED) throw py::error_already_set();
  const DType dtype = dtype_of(descr);
  Py_DECREF(descr);
  if (dtype == DType::Undefined || dtype == DType::String) {
    throw_error(ErrorKind::InvalidArgument, kInterface, ": typestr ",
                py::repr(typestr).cast<std::string>(),
                " has no ONNX element type; DLPack knows more types");
  }
  return dtype;
}

void check_dense(const py::dict& facts, const Dims& dims, DType dtype) {
  if (!facts.contains("strides") || facts["strides"].is_none()) return;
  const auto strides = facts["strides"].cast<Dims>();
  int64_t expected = dtype_bits(dtype) / 8;
  for (size_t axis = dims.size(); axis-- > 0;) {
    if (dims[axis] != 1 && strides[axis] != expected && element_count(dims) > 0) {
      throw_error(ErrorKind::InvalidArgument, kInterface,
                  ": expected a dense row-major array, got strides ", dims_text(strides),
                  " for shape ", dims_text(dims), ": make it contiguous first");
    }
    expected *= dims[axis];
  }
}

// Memory lent to another library, by address; guarded by the GIL.
std::map<uintptr_t, std::shared_ptr<Buffer>>& lent() {
  static auto& all = *new std::map<uintptr_t, std::shared_ptr<Buffer>>;
  return all;
}

// Between these two the memory is used on `stream`.
uintptr_t lend(const std::string& name, int number, int64_t bytes, uintptr_t stream) {
  std::shared_ptr<Buffer> buffer = without_gil([&] {
    auto made = device_memory(name, number)->allocate(bytes);
    made->memory()->let_follow(stream);
    return made;
  });
  const auto address = reinterpret_cast<uintptr_t>(buffer->data());
  lent()[address] = std::move(buffer);
  return address;
}

void take_back(uintptr_t address, uintptr_t stream) {
  const auto found = lent().find(address);
  if (found == lent().end()) return;
  const std::shared_ptr<Buffer> buffer = std::move(found->second);
  lent().erase(found);
  without_gil([&] { buffer->memory()->follow(stream); });
}

}  // namespace

std::optional<Tensor> from_cuda_array(py::handle object) {
  if (PyObject_HasAttrString(object.ptr(), kInterface) == 0) return std::nullopt;
  const auto facts = object.attr(kInterface).cast<py::dict>();
  const DType dtype = dtype_named(facts["typestr"]);
  const auto dims = facts["shape"].cast<Dims>();
  check_dense(facts, dims, dtype);
  const auto address = facts["data"].cast<py::tuple>()[0].cast<uintptr_t>();
  const auto memory = without_gil([&] { return device_memory_at(address); });
  const bool ordered = facts.contains("stream") && !facts["stream"].is_none();
  if (ordered) {
    const auto stream = facts["stream"].cast<uintptr_t>();
    without_gil([&] { memory->follow(stream); });
  }
  PyObject* const owner = object.inc_ref().ptr();
  auto* data = reinterpret_cast<void*>(address);
  auto buffer = Buffer::wrap(
      data, dtype_bytes(dtype, element_count(dims)), [owner] { drop_reference(owner); }, memory);
  return Tensor(dtype, dims, std::move(buffer), data);
}

py::dict cuda_array_interface(const Tensor& tensor) {
  const DeviceMemory* memory = memory_of(tensor);
  if (memory == nullptr) {
    throw_error(ErrorKind::InvalidArgument, kInterface, ": the tensor is in the host's memory");
  }
  if (!same_layout(tensor.dtype())) {
    throw py::attribute_error(concat(kInterface, ": tensor(", dtype_name(tensor.dtype()),
                                     ") has several elements in a byte"));
  }
  py::object dtype =
      py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(descr_of(tensor.dtype())));
  py::dict out;
  out["shape"] = tensor_dims(tensor);
  out["typestr"] = dtype.attr("str");
  const auto address = tensor.size() == 0 ? 0 : reinterpret_cast<uintptr_t>(tensor.raw());
  out["data"] = py::make_tuple(address, false);
  out["strides"] = py::none();
  out["version"] = 3;
  out["stream"] = memory->stream();
  return out;
}

void bind_device_memory(py::module_& module) {
  module.def("device_stream", [](const std::string& name, int number) {
    return device_memory(name, number)->stream();
  });
  module.def("device_use", [](const std::string& name, int number) {
    const DeviceMemory::Use use = device_memory(name, number)->use();
    return py::make_tuple(use.taken, use.held);
  });
  module.def("device_synchronize", [](const std::string& name, int number) {
    DeviceMemory* memory = device_memory(name, number);
    py::gil_scoped_release released;
    memory->synchronize();
  });
  module.def("lend_device_memory", &lend);
  module.def("take_back_device_memory", &take_back);
}

}  // namespace tiercel::bindings
