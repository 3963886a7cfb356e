// DLPack exchange of tensors, both ways, without a copy (protocol: the array API standard's
// __dlpack__).
#include <algorithm>
#include <memory>

#include "bindings/device_values.h"
#include "bindings/ort_value.h"
#include "runtime/provider.h"

namespace py = pybind11;

namespace tiercel::bindings {
namespace {

// The C structures of DLPack 0.8 (github.com/dmlc/dlpack, dlpack.h), which every consumer still
// takes.
struct DLDevice {
  int32_t device_type;  // 1: CPU, 2: CUDA
  int32_t device_id;
};
struct DLDataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(DLManagedTensor*);
};

struct Row {
  DType dtype;
  uint8_t code, bits;
};
// Codes: 0 int, 1 uint, 2 float, 4 bfloat, 5 complex, 6 bool, 7 and on the 8-bit floats.
constexpr Row kRows[] = {
    {DType::Int8, 0, 8},
    {DType::Int16, 0, 16},
    {DType::Int32, 0, 32},
    {DType::Int64, 0, 64},
    {DType::UInt8, 1, 8},
    {DType::UInt16, 1, 16},
    {DType::UInt32, 1, 32},
    {DType::UInt64, 1, 64},
    {DType::Float16, 2, 16},
    {DType::Float, 2, 32},
    {DType::Double, 2, 64},
    {DType::BFloat16, 4, 16},
    {DType::Complex64, 5, 64},
    {DType::Complex128, 5, 128},
    {DType::Bool, 6, 8},
    {DType::Float8E4M3FN, 10, 8},
    {DType::Float8E4M3FNUZ, 11, 8},
    {DType::Float8E5M2, 12, 8},
    {DType::Float8E5M2FNUZ, 13, 8},
    {DType::Float8E8M0, 14, 8},
};

constexpr int32_t kCpu = 1, kCuda = 2;
constexpr intptr_t kUnordered = -1, kLegacy = 1;  // streams of the protocol

struct Export {
  DLManagedTensor managed;
  Tensor tensor;
  Dims dims;
  intptr_t stream = kUnordered;  // whose work the memory is used in
};

// Who takes the memory next comes after what its consumer did with it.
void delete_export(DLManagedTensor* managed) {
  const std::unique_ptr<Export> whole(static_cast<Export*>(managed->manager_ctx));
  if (whole->stream == kUnordered) return;
  try {
    without_gil([&] { memory_of(whole->tensor)->follow(static_cast<uintptr_t>(whole->stream)); });
  } catch (const Error&) {  // the stream is gone, and its work done
  }
}

// A capsule that was consumed is renamed, and its consumer calls the deleter.
void delete_capsule(PyObject* capsule) {
  if (PyCapsule_IsValid(capsule, "dltensor") == 0) return;
  auto* managed = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, "dltensor"));
  if (managed != nullptr && managed->deleter != nullptr) managed->deleter(managed);
}

bool is_dense(const DLTensor& tensor) {
  if (tensor.strides == nullptr) return true;
  if (std::count(tensor.shape, tensor.shape + tensor.ndim, 0) > 0) return true;
  int64_t expected = 1;
  for (int32_t axis = tensor.ndim - 1; axis >= 0; --axis) {
    if (tensor.shape[axis] != 1 && tensor.strides[axis] != expected) return false;
    expected *= tensor.shape[axis];
  }
  return true;
}

}  // namespace

py::tuple dlpack_device(const Tensor& tensor) {
  const DeviceMemory* memory = memory_of(tensor);
  return memory == nullptr ? py::make_tuple(kCpu, 0) : py::make_tuple(kCuda, memory->number());
}

py::capsule to_dlpack(const Tensor& tensor, std::optional<intptr_t> stream) {
  DeviceMemory* memory = memory_of(tensor);
  for (const Row& row : kRows) {
    if (row.dtype != tensor.dtype()) continue;
    auto made = std::make_unique<Export>();
    made->tensor = tensor;
    made->dims = tensor.dims();
    made->managed.dl_tensor = {
        tensor.raw(),
        {memory == nullptr ? kCpu : kCuda, memory == nullptr ? 0 : memory->number()},
        static_cast<int32_t>(tensor.rank()),
        {row.code, row.bits, 1},
        made->dims.data(),
        nullptr,
        0};
    if (memory != nullptr) made->stream = stream.value_or(kLegacy);
    if (made->stream != kUnordered) {
      without_gil([&] { memory->let_follow(static_cast<uintptr_t>(made->stream)); });
    }
    made->managed.manager_ctx = made.get();
    made->managed.deleter = delete_export;
    PyObject* capsule = PyCapsule_New(&made->managed, "dltensor", delete_capsule);
    if (capsule == nullptr) throw py::error_already_set();
    static_cast<void>(made.release());
    return py::reinterpret_steal<py::capsule>(capsule);
  }
  throw_error(ErrorKind::NotImplemented, "DLPack has no type for tensor(",
              dtype_name(tensor.dtype()), ")");
}

namespace {

// A GPU's tensor comes in the order of our stream.
py::object exported(const py::object& source) {
  if (py::hasattr(source, "__dlpack_device__")) {
    const auto [type, number] = source.attr("__dlpack_device__")().cast<std::pair<int, int>>();
    if (type == kCuda) {
      return source.attr("__dlpack__")(py::arg("stream") = device_memory("cuda", number)->stream());
    }
  }
  return source.attr("__dlpack__")();
}

}  // namespace

Tensor from_dlpack(const py::object& source) {
  py::object capsule = source;
  if (py::hasattr(source, "__dlpack__")) capsule = exported(source);
  if (PyCapsule_IsValid(capsule.ptr(), "dltensor") == 0) {
    throw_error(ErrorKind::InvalidArgument,
                "from_dlpack: expected an object with __dlpack__ or an unused DLPack capsule, got ",
                Py_TYPE(source.ptr())->tp_name);
  }
  auto* managed = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
  const DLTensor& view = managed->dl_tensor;
  if (view.device.device_type != kCpu && view.device.device_type != kCuda) {
    throw_error(ErrorKind::InvalidArgument, "from_dlpack: the tensor is on DLPack device type ",
                view.device.device_type, ", expected 1 (CPU) or 2 (CUDA): copy it there first");
  }
  DeviceMemory* const memory =
      view.device.device_type == kCuda ? device_memory("cuda", view.device.device_id) : nullptr;
  if (view.dtype.lanes != 1 || !is_dense(view)) {
    throw_error(ErrorKind::InvalidArgument,
                "from_dlpack: expected a dense row-major tensor: make it contiguous first");
  }
  for (const Row& row : kRows) {
    if (row.code != view.dtype.code || row.bits != view.dtype.bits) continue;
    Dims dims(view.shape, view.shape + view.ndim);
    const int64_t bytes = dtype_bytes(row.dtype, element_count(dims));
    void* data = static_cast<std::byte*>(view.data) + view.byte_offset;
    PyCapsule_SetName(capsule.ptr(), "used_dltensor");
    auto release = [managed] {
      if (managed->deleter == nullptr || !Py_IsInitialized()) return;
      PyGILState_STATE state = PyGILState_Ensure();
      managed->deleter(managed);
      PyGILState_Release(state);
    };
    return {row.dtype, std::move(dims), Buffer::wrap(data, bytes, release, memory), data};
  }
  throw_error(ErrorKind::InvalidArgument, "from_dlpack: DLPack type code ", view.dtype.code,
              " with ", view.dtype.bits, " bits has no ONNX element type");
}

}  // namespace tiercel::bindings
