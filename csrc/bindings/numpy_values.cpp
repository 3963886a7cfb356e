// Conversions between Python objects and run-time values: numpy arrays, strings, lists, dicts and
// None.
#include "bindings/numpy_values.h"

#include <pybind11/stl.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <variant>

#include "base/blocks.h"
#include "bindings/containers.h"
#include "bindings/device_values.h"
#include "bindings/ort_value.h"

namespace py = pybind11;

namespace tiercel::bindings {
namespace {

struct ForeignType {
  DType dtype;
  const char* name;  // in ml_dtypes
};
constexpr ForeignType kForeign[] = {
    {DType::BFloat16, "bfloat16"},
    {DType::Float8E4M3FN, "float8_e4m3fn"},
    {DType::Float8E4M3FNUZ, "float8_e4m3fnuz"},
    {DType::Float8E5M2, "float8_e5m2"},
    {DType::Float8E5M2FNUZ, "float8_e5m2fnuz"},
    {DType::Float8E8M0, "float8_e8m0fnu"},
    {DType::UInt4, "uint4"},
    {DType::Int4, "int4"},
    {DType::Float4E2M1, "float4_e2m1fn"},
    {DType::UInt2, "uint2"},
    {DType::Int2, "int2"},
    {DType::Float6E2M3, "float6_e2m3fn"},
    {DType::Float6E3M2, "float6_e3m2fn"},
};

int numpy_number(DType dtype) {
  switch (dtype) {
    case DType::Float:
      return NPY_FLOAT;
    case DType::UInt8:
      return NPY_UINT8;
    case DType::Int8:
      return NPY_INT8;
    case DType::UInt16:
      return NPY_UINT16;
    case DType::Int16:
      return NPY_INT16;
    case DType::Int32:
      return NPY_INT32;
    case DType::Int64:
      return NPY_INT64;
    case DType::String:
      return NPY_OBJECT;
    case DType::Bool:
      return NPY_BOOL;
    case DType::Float16:
      return NPY_HALF;
    case DType::Double:
      return NPY_DOUBLE;
    case DType::UInt32:
      return NPY_UINT32;
    case DType::UInt64:
      return NPY_UINT64;
    case DType::Complex64:
      return NPY_CFLOAT;
    case DType::Complex128:
      return NPY_CDOUBLE;
    default:
      return NPY_NOTYPE;
  }
}

DType foreign_dtype(PyArray_Descr* descr) {
  const char* name = descr->typeobj->tp_name;
  if (const char* dot = std::strrchr(name, '.')) name = dot + 1;
  for (const ForeignType& row : kForeign) {
    if (std::strcmp(row.name, name) == 0) return row.dtype;
  }
  return DType::Undefined;
}

PyArrayObject* as_array(PyObject* object) { return reinterpret_cast<PyArrayObject*>(object); }

Dims dims_of(PyArrayObject* array) {
  return Dims(PyArray_DIMS(array), PyArray_DIMS(array) + PyArray_NDIM(array));
}

// Elements of numpy's byte-per-element form into packed bits, lowest bits first.
Tensor packed(PyArrayObject* array, DType dtype) {
  Tensor tensor(dtype, dims_of(array));
  const int64_t bits = dtype_bits(dtype);
  const auto* from = static_cast<const uint8_t*>(PyArray_DATA(array));
  auto* to = tensor.data<uint8_t>();
  std::memset(to, 0, static_cast<size_t>(tensor.bytes()));
  for (int64_t i = 0; i < tensor.size(); ++i) {
    const unsigned value = from[i] & ((1U << bits) - 1);
    const int64_t bit = i * bits;
    const unsigned shifted = value << (bit % 8);
    to[bit / 8] |= static_cast<uint8_t>(shifted);
    if (shifted > 0xFF) to[bit / 8 + 1] |= static_cast<uint8_t>(shifted >> 8);
  }
  return tensor;
}

void unpack(const Tensor& tensor, uint8_t* to) {
  const int64_t bits = dtype_bits(tensor.dtype());
  const bool is_signed = tensor.dtype() == DType::Int4 || tensor.dtype() == DType::Int2;
  const auto* from = tensor.data<uint8_t>();
  const int64_t last = tensor.bytes() - 1;
  for (int64_t i = 0; i < tensor.size(); ++i) {
    const int64_t bit = i * bits;
    unsigned word = from[bit / 8];
    if (bit / 8 < last) word |= static_cast<unsigned>(from[bit / 8 + 1]) << 8;
    unsigned value = (word >> (bit % 8)) & ((1U << bits) - 1);
    if (is_signed && (value >> (bits - 1)) != 0) value |= ~0U << bits;
    to[i] = static_cast<uint8_t>(value);
  }
}

std::string text_of(PyObject* item, const std::string& name) {
  Py_ssize_t size = 0;
  if (PyUnicode_Check(item)) {
    const char* text = PyUnicode_AsUTF8AndSize(item, &size);
    if (text == nullptr) throw py::error_already_set();
    return {text, static_cast<size_t>(size)};
  }
  if (PyBytes_Check(item)) {
    return {PyBytes_AS_STRING(item), static_cast<size_t>(PyBytes_GET_SIZE(item))};
  }
  throw_error(ErrorKind::InvalidArgument, "input \"", name,
              "\": a string tensor holds str or bytes, got ", Py_TYPE(item)->tp_name);
}

Tensor string_tensor(PyArrayObject* array, const std::string& name) {
  py::object objects = py::reinterpret_steal<py::object>(
      PyArray_FromAny(reinterpret_cast<PyObject*>(array), PyArray_DescrFromType(NPY_OBJECT), 0, 0,
                      NPY_ARRAY_CARRAY | NPY_ARRAY_FORCECAST, nullptr));
  if (!objects) throw py::error_already_set();
  Tensor tensor(DType::String, dims_of(array));
  auto* items = static_cast<PyObject**>(PyArray_DATA(as_array(objects.ptr())));
  auto* strings = tensor.data<std::string>();
  for (int64_t i = 0; i < tensor.size(); ++i) strings[i] = text_of(items[i], name);
  return tensor;
}

Tensor host_tensor(const Value& value, const std::string& name) {
  if (const Tensor* tensor = value.tensor()) return on_host(*tensor);
  throw_error(ErrorKind::InvalidArgument, "input \"", name, "\": keys and values are tensors");
}

// New reference to a contiguous, aligned, native array; `guide` is the dtype for objects that have
// none of their own.
PyArrayObject* contiguous(PyObject* object, DType guide) {
  PyArray_Descr* descr = nullptr;
  const bool own_dtype = PyArray_Check(object) || PyArray_CheckScalar(object) ||
                         PyObject_HasAttrString(object, "__array__") == 1;
  if (!own_dtype && guide != DType::Undefined && guide != DType::String) descr = descr_of(guide);
  PyObject* array = PyArray_CheckFromAny(object, descr, 0, 0,
                                         NPY_ARRAY_CARRAY_RO | NPY_ARRAY_NOTSWAPPED, nullptr);
  if (array == nullptr) throw py::error_already_set();
  return as_array(array);
}

bool ready(PyArrayObject* array) {
  return PyArray_CHKFLAGS(array, NPY_ARRAY_CARRAY_RO) && PyArray_ISNOTSWAPPED(array);
}

// With `held` the array is borrowed for as long as it lives; without, the tensor owns a reference.
Tensor tensor_over(PyArrayObject* array, DType dtype, Held* held) {
  PyObject* object = reinterpret_cast<PyObject*>(array);
  Dims dims = dims_of(array);
  const int64_t bytes = PyArray_NBYTES(array);
  void* data = PyArray_DATA(array);
  if (held != nullptr) {
    held->steal(object);
    return {dtype, std::move(dims), Buffer::wrap(data, bytes, {}), data};
  }
  return {dtype, std::move(dims), Buffer::wrap(data, bytes, [object] { drop_reference(object); }),
          data};
}

Tensor tensor_from(PyObject* object, DType guide, const std::string& name, Held* held) {
  PyArrayObject* array;
  if (PyArray_Check(object) && ready(as_array(object))) {
    Py_INCREF(object);
    array = as_array(object);
  } else {
    array = contiguous(object, guide);
  }
  const DType dtype = dtype_of(PyArray_DESCR(array));
  if (same_layout(dtype)) return tensor_over(array, dtype, held);
  py::object owner = py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(array));
  if (dtype == DType::String) return string_tensor(array, name);
  if (dtype != DType::Undefined) return packed(array, dtype);
  throw_error(
      ErrorKind::InvalidArgument, "input \"", name, "\": numpy dtype ",
      py::str(py::handle(reinterpret_cast<PyObject*>(PyArray_DESCR(array)))).cast<std::string>(),
      " has no ONNX element type");
}

Value convert(PyObject* object, const Type& type, const std::string& name, Held* held);

Value sequence_from(PyObject* object, const Type& type, const std::string& name, Held* held) {
  py::object items = py::reinterpret_steal<py::object>(PySequence_Fast(object, "not a sequence"));
  if (!items) {
    PyErr_Clear();
    throw_error(ErrorKind::InvalidArgument, "input \"", name, "\": expected a list for ",
                type.text(), ", got ", Py_TYPE(object)->tp_name);
  }
  auto sequence = std::make_shared<Sequence>();
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(items.ptr());
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* item = PySequence_Fast_GET_ITEM(items.ptr(), i);
    Value element = convert(item, type.element ? *type.element : Type{}, name, held);
    if (const Tensor* tensor = element.tensor()) element = on_host(*tensor);
    sequence->push_back(std::move(element));
  }
  return sequence;
}

Value map_from(PyObject* object, const Type& type, const std::string& name, Held* held) {
  if (!PyDict_Check(object)) {
    throw_error(ErrorKind::InvalidArgument, "input \"", name, "\": expected a dict for ",
                type.text(), ", got ", Py_TYPE(object)->tp_name);
  }
  const Type values = type.element ? *type.element : Type{};
  auto map = std::make_shared<Map>();
  py::object keys = py::reinterpret_steal<py::object>(PyDict_Keys(object));
  py::object items = py::reinterpret_steal<py::object>(PyDict_Values(object));
  const Type key = Type::tensor(type.dtype);
  Value key_tensor = convert(keys.ptr(), key, name, held);
  Value item_tensor = convert(items.ptr(), Type::tensor(values.dtype), name, held);
  map->keys = host_tensor(key_tensor, name);
  map->values = host_tensor(item_tensor, name);
  return map;
}

Value convert(PyObject* object, const Type& type, const std::string& name, Held* held) {
  if (!PyArray_Check(object)) {
    if (const Value* given = ort_value_in(object)) return *given;
    if (std::optional<Tensor> there = from_cuda_array(object)) return *std::move(there);
  }
  switch (type.kind) {
    case Type::Kind::Optional:
      if (object == Py_None) return {};
      return convert(object, type.element ? *type.element : Type{}, name, held);
    case Type::Kind::Sequence:
      return sequence_from(object, type, name, held);
    case Type::Kind::Map:
      return map_from(object, type, name, held);
    default:
      break;
  }
  if (object == Py_None) return {};
  return tensor_from(object, type.dtype, name, held);
}

void free_capsule(PyObject* capsule) { release_block(PyCapsule_GetPointer(capsule, nullptr)); }

void drop_buffer(PyObject* capsule) {
  delete static_cast<std::shared_ptr<Buffer>*>(PyCapsule_GetPointer(capsule, nullptr));
}

PyObject* new_array(DType dtype, std::span<const int64_t> dims, void* data) {
  static_assert(sizeof(npy_intp) == sizeof(int64_t));
  if (dims.size() > NPY_MAXDIMS) {
    throw_error(ErrorKind::NotImplemented, "numpy arrays have at most ", NPY_MAXDIMS,
                " dimensions, the value has ", dims.size());
  }
  PyObject* array =
      PyArray_NewFromDescr(&PyArray_Type, descr_of(dtype), static_cast<int>(dims.size()),
                           reinterpret_cast<npy_intp*>(const_cast<int64_t*>(dims.data())), nullptr,
                           data, data == nullptr ? 0 : NPY_ARRAY_CARRAY, nullptr);
  if (array == nullptr) throw py::error_already_set();
  return array;
}

PyObject* string_array(const Tensor& tensor) {
  py::object array =
      py::reinterpret_steal<py::object>(new_array(DType::String, tensor.dims(), nullptr));
  auto** items = static_cast<PyObject**>(PyArray_DATA(as_array(array.ptr())));
  const auto* strings = tensor.data<std::string>();
  for (int64_t i = 0; i < tensor.size(); ++i) {
    const auto size = static_cast<Py_ssize_t>(strings[i].size());
    PyObject* text = PyUnicode_DecodeUTF8(strings[i].data(), size, "surrogateescape");
    if (text == nullptr) throw py::error_already_set();
    Py_XSETREF(items[i], text);
  }
  return array.release().ptr();
}

PyObject* array_from(Tensor&& tensor, bool copy) {
  if (tensor.dtype() == DType::String) return string_array(tensor);
  if (!same_layout(tensor.dtype())) {
    PyObject* array = new_array(tensor.dtype(), tensor.dims(), nullptr);
    unpack(tensor, static_cast<uint8_t*>(PyArray_DATA(as_array(array))));
    return array;
  }
  const bool unique = tensor.buffer() && tensor.buffer().use_count() == 1 && tensor.size() > 0;
  if (copy || !unique) {
    PyObject* array = new_array(tensor.dtype(), tensor.dims(), nullptr);
    const auto bytes = static_cast<size_t>(tensor.bytes());
    if (bytes != 0) std::memcpy(PyArray_DATA(as_array(array)), tensor.raw(), bytes);
    return array;
  }
  py::object array =
      py::reinterpret_steal<py::object>(new_array(tensor.dtype(), tensor.dims(), tensor.raw()));
  PyObject* owner =
      PyCapsule_New(new std::shared_ptr<Buffer>(tensor.buffer()), nullptr, drop_buffer);
  if (owner == nullptr || PyArray_SetBaseObject(as_array(array.ptr()), owner) < 0) {
    throw py::error_already_set();
  }
  return array.release().ptr();
}

py::tuple dims_tuple(const Dims& dims) {
  py::tuple out(dims.size());
  for (size_t i = 0; i < dims.size(); ++i) out[i] = py::int_(dims[i]);
  return out;
}

}  // namespace

Tensor on_host(const Tensor& tensor) {
  if (memory_of(tensor) == nullptr) return tensor;
  return without_gil([&] { return moved_to(nullptr, tensor); });
}

void drop_reference(PyObject* object) {
  if (!Py_IsInitialized()) return;
  PyGILState_STATE state = PyGILState_Ensure();
  Py_DECREF(object);
  PyGILState_Release(state);
}

DType dtype_of(PyArray_Descr* descr) {
  switch (descr->type_num) {
    case NPY_FLOAT:
      return DType::Float;
    case NPY_DOUBLE:
      return DType::Double;
    case NPY_HALF:
      return DType::Float16;
    case NPY_BOOL:
      return DType::Bool;
    case NPY_BYTE:
      return DType::Int8;
    case NPY_UBYTE:
      return DType::UInt8;
    case NPY_SHORT:
      return DType::Int16;
    case NPY_USHORT:
      return DType::UInt16;
    case NPY_INT:
      return DType::Int32;
    case NPY_UINT:
      return DType::UInt32;
    case NPY_LONG:
      return sizeof(long) == 8 ? DType::Int64 : DType::Int32;
    case NPY_ULONG:
      return sizeof(long) == 8 ? DType::UInt64 : DType::UInt32;
    case NPY_LONGLONG:
      return DType::Int64;
    case NPY_ULONGLONG:
      return DType::UInt64;
    case NPY_CFLOAT:
      return DType::Complex64;
    case NPY_CDOUBLE:
      return DType::Complex128;
    case NPY_OBJECT:
    case NPY_UNICODE:
    case NPY_STRING:
      return DType::String;
    default:
      break;
  }
  if (descr->kind == 'T') return DType::String;  // numpy.dtypes.StringDType
  return foreign_dtype(descr);
}

bool same_layout(DType dtype) {
  return dtype != DType::String && dtype != DType::Undefined && dtype_bits(dtype) >= 8;
}

PyArray_Descr* descr_of(DType dtype) {
  const int number = numpy_number(dtype);
  if (number != NPY_NOTYPE) return PyArray_DescrFromType(number);
  static std::array<PyArray_Descr*, 64> cache{};  // guarded by the GIL
  PyArray_Descr*& known = cache[static_cast<size_t>(dtype) % cache.size()];
  if (known == nullptr) {
    const char* name = nullptr;
    for (const ForeignType& row : kForeign) {
      if (row.dtype == dtype) name = row.name;
    }
    if (name == nullptr) throw_error(ErrorKind::Fail, "a value without an element type");
    py::object module;
    try {
      module = py::module_::import("ml_dtypes");
    } catch (py::error_already_set&) {
      throw_error(ErrorKind::NotImplemented, "numpy has no dtype for tensor(", dtype_name(dtype),
                  "): install ml_dtypes, or use run_with_ort_values and DLPack");
    }
    PyArray_Descr* made = nullptr;
    if (!py::hasattr(module, name) ||
        PyArray_DescrConverter(module.attr(name).ptr(), &made) != NPY_SUCCEED) {
      PyErr_Clear();
      throw_error(ErrorKind::NotImplemented, "this ml_dtypes has no ", name,
                  ": install a newer one");
    }
    known = made;
  }
  Py_INCREF(known);
  return known;
}

Value to_value(PyObject* object, const Type& type, const std::string& name, Held& held) {
  return convert(object, type, name, &held);
}

Value to_owning_value(PyObject* object, const Type& type, const std::string& name) {
  return convert(object, type, name, nullptr);
}

PyObject* from_value(Value&& value, bool copy) {
  if (auto* tensor = std::get_if<Tensor>(&value)) {
    if (memory_of(*tensor) != nullptr) return array_from(on_host(*tensor), false);
    return array_from(std::move(*tensor), copy);
  }
  if (const Sequence* sequence = value.sequence()) return list_object(*sequence);
  if (const Map* map = value.map()) return map_object(*map);
  if (const SparseTensor* sparse = value.sparse()) {
    py::module_ module = py::module_::import("tiercel.values");
    return module.attr("SparseTensor")
        .attr("_from_parts")(
            py::reinterpret_steal<py::object>(from_value(Value(sparse->values), true)),
            py::reinterpret_steal<py::object>(from_value(Value(sparse->indices), true)),
            dims_tuple(sparse->dims))
        .release()
        .ptr();
  }
  Py_RETURN_NONE;
}

py::object from_attribute(const Attribute& attribute) {
  return std::visit(
      [](const auto& value) -> py::object {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, Tensor>) {
          return py::reinterpret_steal<py::object>(from_value(Value(value), true));
        } else if constexpr (std::is_same_v<T, int64_t> || std::is_same_v<T, double> ||
                             std::is_same_v<T, std::string> ||
                             std::is_same_v<T, std::vector<int64_t>> ||
                             std::is_same_v<T, std::vector<double>> ||
                             std::is_same_v<T, std::vector<std::string>>) {
          return py::cast(value);
        } else {
          return py::none();
        }
      },
      attribute);
}

PyObject* array_over(void* memory, DType dtype, std::span<const int64_t> dims) {
  PyObject* owner = PyCapsule_New(memory, nullptr, free_capsule);
  if (owner == nullptr) {
    release_block(memory);
    throw py::error_already_set();
  }
  PyObject* array;
  try {
    array = new_array(dtype, dims, memory);
  } catch (...) {
    Py_DECREF(owner);
    throw;
  }
  if (PyArray_SetBaseObject(as_array(array), owner) < 0) {
    Py_DECREF(array);
    throw py::error_already_set();
  }
  return array;
}

}  // namespace tiercel::bindings
