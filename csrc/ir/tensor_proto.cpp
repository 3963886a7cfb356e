// Parses TensorProto in every storage form: raw bytes, typed fields, external files.
#include <bit>
#include <cstring>

#include "base/error.h"
#include "base/mapped_file.h"
#include "ir/external_data.h"
#include "ir/onnx_proto.h"

namespace tiercel::proto {

std::pair<std::string, std::string> parse_entry(WireReader m) {
  std::pair<std::string, std::string> entry;
  while (m.next()) {
    if (m.field() == 1) {
      entry.first = m.text();
    } else if (m.field() == 2) {
      entry.second = m.text();
    } else {
      m.skip();
    }
  }
  return entry;
}

namespace {

struct RawTensor {
  std::string name;
  std::vector<int64_t> dims;
  int64_t dtype = 0;
  int64_t location = 0;
  std::optional<Bytes> raw;
  std::vector<float> floats;
  std::vector<int64_t> int32s, int64s, uint64s;
  std::vector<double> doubles;
  std::vector<std::string> strings;
  std::vector<std::pair<std::string, std::string>> external;
};

RawTensor parse_fields(WireReader m) {
  RawTensor t;
  while (m.next()) {
    switch (m.field()) {
      case 1:
        m.integers(t.dims);
        break;
      case 2:
        t.dtype = m.integer();
        break;
      case 4:
        m.floats(t.floats);
        break;
      case 5:
        m.integers(t.int32s);
        break;
      case 6:
        t.strings.push_back(m.text());
        break;
      case 7:
        m.integers(t.int64s);
        break;
      case 8:
        t.name = m.text();
        break;
      case 9:
        t.raw = m.bytes();
        break;
      case 10:
        m.doubles(t.doubles);
        break;
      case 11:
        m.integers(t.uint64s);
        break;
      case 13:
        t.external.push_back(parse_entry(m.message()));
        break;
      case 14:
        t.location = m.integer();
        break;
      default:
        m.skip();
    }
  }
  return t;
}

[[noreturn]] void fail(const RawTensor& t, const std::string& what) {
  throw_error(ErrorKind::InvalidGraph, "tensor \"", t.name, "\" of shape ", dims_text(t.dims), ": ",
              what);
}

// Whether numbers may be read from any address, as x86 does at no cost worth a copy of the weights:
// neither compilers here (no loop is peeled up to an aligned address) nor kernels ask for more. The
// sanitizers do, and see copies.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
constexpr bool kAnyAddress = true;
#else
constexpr bool kAnyAddress = false;
#endif

// A view of bytes that someone else owns; small ones are copied, and misaligned ones where that is
// needed.
Tensor over_bytes(const RawTensor& t, DType dtype, Bytes bytes,
                  const std::shared_ptr<void>& owner) {
  constexpr size_t kSmall = 4096, kLarge = 1 << 18;
  const auto alignment = static_cast<uintptr_t>(std::min<int64_t>(8, (dtype_bits(dtype) + 7) / 8));
  const auto address = reinterpret_cast<uintptr_t>(bytes.data());
  const bool stays =
      alignment == 0 || address % alignment == 0 || (kAnyAddress && bytes.size() >= kLarge);
  if (!owner || bytes.size() <= kSmall || !stays) {
    Tensor copy(dtype, t.dims);
    if (!bytes.empty()) std::memcpy(copy.raw(), bytes.data(), bytes.size());
    if (bytes.size() >= kLarge) MappedFile::release(bytes);
    return copy;
  }
  void* data = const_cast<std::byte*>(bytes.data());
  auto buffer = Buffer::wrap(data, static_cast<int64_t>(bytes.size()), [owner] {});
  return {dtype, t.dims, std::move(buffer), data};
}

Tensor from_bytes(const RawTensor& t, DType dtype, Bytes bytes,
                  const std::shared_ptr<void>& owner) {
  const int64_t expected = dtype_bytes(dtype, element_count(t.dims));
  if (static_cast<int64_t>(bytes.size()) != expected) {
    fail(t, concat("holds ", bytes.size(), " bytes, but its type ", std::string(dtype_name(dtype)),
                   " and shape need ", expected));
  }
  return over_bytes(t, dtype, bytes, owner);
}

// `elements` of `each` numbers.
void expect_count(const RawTensor& t, size_t count, int64_t elements, int64_t each = 1) {
  int64_t expected = 0;
  if (__builtin_mul_overflow(elements, each, &expected) ||
      static_cast<int64_t>(count) != expected) {
    fail(t, concat("holds ", count, " elements, but its shape needs ", elements,
                   each == 1 ? "" : concat(" times ", each)));
  }
}

template <class To, class From>
Tensor converted(const RawTensor& t, DType dtype, const std::vector<From>& values, int64_t elements,
                 int64_t each = 1) {
  expect_count(t, values.size(), elements, each);
  Tensor tensor(dtype, t.dims);
  for (size_t i = 0; i < values.size(); ++i) tensor.data<To>()[i] = static_cast<To>(values[i]);
  return tensor;
}

// int32_data holds one element each; for packed types one byte of elements each.
Tensor from_int32s(const RawTensor& t, DType dtype, int64_t elements) {
  switch (dtype_bits(dtype)) {
    case 32:
      return converted<int32_t>(t, dtype, t.int32s, elements);
    case 16:
      return converted<uint16_t>(t, dtype, t.int32s, elements);
    default:
      return converted<uint8_t>(t, dtype, t.int32s, dtype_bytes(dtype, elements));
  }
}

Tensor from_fields(const RawTensor& t, DType dtype) {
  const int64_t elements = element_count(t.dims);
  switch (dtype) {
    case DType::Float:
      return converted<float>(t, dtype, t.floats, elements);
    case DType::Complex64:
      return converted<float>(t, dtype, t.floats, elements, 2);
    case DType::Double:
      return converted<double>(t, dtype, t.doubles, elements);
    case DType::Complex128:
      return converted<double>(t, dtype, t.doubles, elements, 2);
    case DType::Int64:
      return converted<int64_t>(t, dtype, t.int64s, elements);
    case DType::UInt64:
      return converted<uint64_t>(t, dtype, t.uint64s, elements);
    case DType::UInt32:
      return converted<uint32_t>(t, dtype, t.uint64s, elements);
    case DType::String: {
      expect_count(t, t.strings.size(), elements);
      Tensor tensor(dtype, t.dims);
      std::copy(t.strings.begin(), t.strings.end(), tensor.data<std::string>());
      return tensor;
    }
    default:
      return from_int32s(t, dtype, elements);
  }
}

}  // namespace

Tensor parse_tensor(WireReader message, const Source& source, std::string* name) {
  const RawTensor t = parse_fields(message);
  if (name) *name = t.name;
  if (!dtype_is_valid(t.dtype)) {
    fail(t, concat("element type ", t.dtype, " is not known to this runtime"));
  }
  const auto dtype = static_cast<DType>(t.dtype);
  constexpr int64_t kExternal = 1;
  if (dtype == DType::String && (t.raw || t.location == kExternal)) {
    fail(t, "strings cannot be raw or external data");
  }
  if (t.location == kExternal) {
    if (source.external != nullptr) {
      const auto given = source.external->tensors.find(t.name);
      if (given != source.external->tensors.end()) return given->second;
    }
    const ExternalBytes outside =
        external_bytes(t.external, source.folder, t.name, dtype_bytes(dtype, element_count(t.dims)),
                       source.external);
    return from_bytes(t, dtype, outside.bytes, outside.owner);
  }
  if (t.raw) return from_bytes(t, dtype, *t.raw, source.owner);
  return from_fields(t, dtype);
}

}  // namespace tiercel::proto
