// C API: values, which are tensors, sequences, maps and absent optionals.
#include <cstring>

#include "capi/guard.h"
#include "capi/handles.h"
#include "runtime/provider.h"

namespace tiercel::capi {
namespace {

DType dtype_of(TclDType number) {
  if (!dtype_is_valid(number)) {
    throw_error(ErrorKind::InvalidArgument, "element type ", number, " does not exist");
  }
  return static_cast<DType>(number);
}

Dims dims_of(const int64_t* dims, size_t rank) {
  if (rank == 0) return {};
  const int64_t* first = &needed(dims, "dims");
  return {first, first + rank};
}

const Value& value_of(const TclValue* value) { return needed(value, "value").value; }

[[noreturn]] void wrong_kind(const Value& value, const char* expected) {
  throw_error(ErrorKind::InvalidArgument, "the value is ", kind_name(kind_of(value)), "; expected ",
              expected);
}

// Elements are read as what they are, so they have to lie as the processor expects them.
void check_alignment(DType dtype, const void* data) {
  const bool complex = dtype == DType::Complex64 || dtype == DType::Complex128;
  const int64_t bytes = (dtype_bits(dtype) + 7) / 8 / (complex ? 2 : 1);
  if (bytes > 0 && reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(bytes) != 0) {
    throw_error(ErrorKind::InvalidArgument, "data of type ", std::string(dtype_name(dtype)),
                " must be aligned to ", bytes, " bytes");
  }
}

Tensor wrapped(DeviceMemory* memory, DType dtype, Dims dims, void* data, size_t bytes,
               const std::shared_ptr<void>& owner) {
  if (dtype == DType::String) {
    throw_error(ErrorKind::InvalidArgument, "strings are made by tcl_value_strings");
  }
  const int64_t expected = dtype_bytes(dtype, element_count(dims));
  if (bytes < static_cast<size_t>(expected)) {
    throw_error(ErrorKind::InvalidArgument, "tensor(", std::string(dtype_name(dtype)),
                ") of shape ", dims_text(dims), " has ", expected, " bytes; got ", bytes);
  }
  if (expected > 0) (void)needed(static_cast<char*>(data), "data");
  check_alignment(dtype, data);
  return {dtype, std::move(dims), Buffer::wrap(data, expected, [owner] {}, memory), data};
}

}  // namespace

TclKind kind_of(const Value& value) {
  if (value.tensor() != nullptr) return TCL_KIND_TENSOR;
  if (value.sequence() != nullptr) return TCL_KIND_SEQUENCE;
  if (value.map() != nullptr) return TCL_KIND_MAP;
  return value.sparse() != nullptr ? TCL_KIND_SPARSE_TENSOR : TCL_KIND_NONE;
}

const char* kind_name(TclKind kind) {
  constexpr const char* names[] = {"empty",       "a tensor", "a sequence",
                                   "an optional", "a map",    "a sparse tensor"};
  return names[kind];
}

const Tensor& tensor_of(const TclValue* value) {
  const Value& found = value_of(value);
  if (found.tensor() == nullptr) wrong_kind(found, "a tensor");
  return *found.tensor();
}

}  // namespace tiercel::capi

using namespace tiercel;
using namespace tiercel::capi;

TclStatus tcl_value_wrap(TclDType dtype, const int64_t* dims, size_t rank, void* data, size_t bytes,
                         TclReleaseFn release, void* context, TclValue** out) {
  return guard([&] {
    const std::shared_ptr<void> owner = lent(release, context);
    TclValue*& slot = emptied(out);
    slot = new TclValue{wrapped(nullptr, dtype_of(dtype), dims_of(dims, rank), data, bytes, owner)};
  });
}

TclStatus tcl_value_wrap_on(const char* device, int32_t number, TclDType dtype, const int64_t* dims,
                            size_t rank, void* data, size_t bytes, TclReleaseFn release,
                            void* context, TclValue** out) {
  return guard([&] {
    const std::shared_ptr<void> owner = lent(release, context);
    TclValue*& slot = emptied(out);
    DeviceMemory* memory = device_memory(&needed(device, "device"), number);
    slot = new TclValue{wrapped(memory, dtype_of(dtype), dims_of(dims, rank), data, bytes, owner)};
  });
}

TclStatus tcl_value_tensor(TclDType dtype, const int64_t* dims, size_t rank, TclValue** out) {
  return guard([&] {
    TclValue*& slot = emptied(out);
    slot = new TclValue{zeros_in(nullptr, dtype_of(dtype), dims_of(dims, rank))};
  });
}

TclStatus tcl_value_tensor_on(const char* device, int32_t number, TclDType dtype,
                              const int64_t* dims, size_t rank, TclValue** out) {
  return guard([&] {
    TclValue*& slot = emptied(out);
    slot = new TclValue{zeros_in(device_memory(&needed(device, "device"), number), dtype_of(dtype),
                                 dims_of(dims, rank))};
  });
}

TclStatus tcl_value_device(const TclValue* value, const char** device, int32_t* number) {
  return guard([&] {
    const DeviceMemory* memory = memory_of(tensor_of(value));
    needed(device, "device") = memory == nullptr ? "cpu" : memory->name().data();
    if (number != nullptr) *number = memory == nullptr ? 0 : memory->number();
  });
}

TclStatus tcl_value_copy(const TclValue* from, TclValue* to) {
  return guard([&] {
    const Tensor& source = tensor_of(from);
    const Tensor& target = tensor_of(to);
    if (needed(to, "to").part) {
      throw_error(ErrorKind::InvalidArgument, "a part of a sequence or map cannot be written to");
    }
    if (source.dtype() != target.dtype() || source.dims() != target.dims()) {
      throw_error(ErrorKind::InvalidArgument, "tensor(", std::string(dtype_name(source.dtype())),
                  ") of shape ", dims_text(source.dims()), " cannot be copied to tensor(",
                  std::string(dtype_name(target.dtype())), ") of shape ", dims_text(target.dims()));
    }
    copy_elements(target, source);
    if (DeviceMemory* memory = memory_of(target)) memory->synchronize();
  });
}

TclStatus tcl_value_strings(const int64_t* dims, size_t rank, const char* const* texts,
                            const size_t* lengths, TclValue** out) {
  return guard([&] {
    TclValue*& slot = emptied(out);
    Tensor tensor(DType::String, dims_of(dims, rank));
    const auto count = static_cast<size_t>(tensor.size());
    if (count > 0) (void)needed(texts, "texts");
    for (size_t i = 0; i < count; ++i) {
      const char* text = &needed(texts[i], "a text");
      const size_t length = lengths != nullptr ? lengths[i] : std::strlen(text);
      tensor.data<std::string>()[i].assign(text, length);
    }
    slot = new TclValue{std::move(tensor)};
  });
}

TclStatus tcl_value_sequence(const TclValue* const* elements, size_t count, TclValue** out) {
  return guard([&] {
    TclValue*& slot = emptied(out);
    auto sequence = std::make_shared<Sequence>();
    if (count > 0) (void)needed(elements, "elements");
    for (size_t i = 0; i < count; ++i) {
      const Value& element = needed(elements[i], "an element").value;
      const Tensor* tensor = element.tensor();
      sequence->push_back(tensor != nullptr ? Value(moved_to(nullptr, *tensor)) : element);
    }
    slot = new TclValue{std::move(sequence)};
  });
}

TclStatus tcl_value_map(const TclValue* keys, const TclValue* values, TclValue** out) {
  return guard([&] {
    TclValue*& slot = emptied(out);
    const Tensor k = moved_to(nullptr, tensor_of(keys));
    const Tensor v = moved_to(nullptr, tensor_of(values));
    const bool key_type = k.dtype() == DType::Int64 || k.dtype() == DType::String;
    if (!key_type || k.rank() != 1 || v.rank() != 1 || k.size() != v.size()) {
      throw_error(ErrorKind::InvalidArgument, "a map has a vector of int64 or string keys and one ",
                  "of as many values; got tensor(", std::string(dtype_name(k.dtype())),
                  ") of shape ", dims_text(k.dims()), " and tensor(",
                  std::string(dtype_name(v.dtype())), ") of shape ", dims_text(v.dims()));
    }
    slot = new TclValue{std::make_shared<Map>(Map{k, v})};
  });
}

TclStatus tcl_value_none(TclValue** out) {
  return guard([&] { emptied(out) = new TclValue(); });
}

void tcl_value_release(TclValue* value) {
  (void)guard([&] { delete value; });
}

TclStatus tcl_value_kind(const TclValue* value, TclKind* kind) {
  return guard([&] { needed(kind, "kind") = kind_of(value_of(value)); });
}

TclStatus tcl_value_dtype(const TclValue* value, TclDType* dtype) {
  return guard([&] { needed(dtype, "dtype") = static_cast<TclDType>(tensor_of(value).dtype()); });
}

TclStatus tcl_value_rank(const TclValue* value, size_t* rank) {
  return guard([&] { needed(rank, "rank") = tensor_of(value).dims().size(); });
}

TclStatus tcl_value_dims(const TclValue* value, const int64_t** dims) {
  return guard([&] { needed(dims, "dims") = tensor_of(value).dims().data(); });
}

TclStatus tcl_value_count(const TclValue* value, int64_t* count) {
  return guard([&] { needed(count, "count") = tensor_of(value).size(); });
}

TclStatus tcl_value_data(const TclValue* value, void** data) {
  return guard([&] {
    const Tensor& tensor = tensor_of(value);
    if (tensor.dtype() == DType::String) {
      throw_error(ErrorKind::InvalidArgument, "strings are read by tcl_value_string");
    }
    needed(data, "data") = tensor.raw();
  });
}

TclStatus tcl_value_string(const TclValue* value, int64_t index, const char** text,
                           size_t* length) {
  return guard([&] {
    const Tensor& tensor = tensor_of(value);
    if (tensor.dtype() != DType::String || index < 0 || index >= tensor.size()) {
      throw_error(ErrorKind::InvalidArgument, "string ", index, " of tensor(",
                  std::string(dtype_name(tensor.dtype())), ") of shape ", dims_text(tensor.dims()),
                  " does not exist");
    }
    const std::string& found = tensor.data<std::string>()[index];
    needed(text, "text") = found.c_str();
    if (length != nullptr) *length = found.size();
  });
}

TclStatus tcl_value_length(const TclValue* value, size_t* length) {
  return guard([&] {
    const Value& found = value_of(value);
    if (found.sequence() == nullptr) wrong_kind(found, "a sequence");
    needed(length, "length") = found.sequence()->size();
  });
}

TclStatus tcl_value_element(const TclValue* value, size_t index, TclValue** out) {
  return guard([&] {
    TclValue*& slot = emptied(out);
    const Value& found = value_of(value);
    if (found.sequence() == nullptr) wrong_kind(found, "a sequence");
    const Sequence& sequence = *found.sequence();
    if (index >= sequence.size()) {
      throw_error(ErrorKind::InvalidArgument, "element ", index, " of a sequence of ",
                  sequence.size());
    }
    slot = new TclValue{sequence[index], true};
  });
}

TclStatus tcl_value_entries(const TclValue* value, TclValue** out_keys, TclValue** out_values) {
  return guard([&] {
    TclValue*& keys = emptied(out_keys);
    TclValue*& values = emptied(out_values);
    const Value& found = value_of(value);
    if (found.map() == nullptr) wrong_kind(found, "a map");
    auto first = std::make_unique<TclValue>(TclValue{found.map()->keys, true});
    values = new TclValue{found.map()->values, true};
    keys = first.release();
  });
}
