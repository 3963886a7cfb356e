// The table of element types.
#include "base/dtype.h"

#include <array>

#include "base/error.h"

namespace tiercel {

namespace {

struct Row {
  std::string_view name;
  int bits;
};

// By ONNX's number.
constexpr std::array<Row, 29> kTypes{{
    {"undefined", 0},      {"float", 32},     {"uint8", 8},
    {"int8", 8},           {"uint16", 16},    {"int16", 16},
    {"int32", 32},         {"int64", 64},     {"string", static_cast<int>(sizeof(std::string)) * 8},
    {"bool", 8},           {"float16", 16},   {"double", 64},
    {"uint32", 32},        {"uint64", 64},    {"complex64", 64},
    {"complex128", 128},   {"bfloat16", 16},  {"float8e4m3fn", 8},
    {"float8e4m3fnuz", 8}, {"float8e5m2", 8}, {"float8e5m2fnuz", 8},
    {"uint4", 4},          {"int4", 4},       {"float4e2m1", 4},
    {"float8e8m0", 8},     {"uint2", 2},      {"int2", 2},
    {"float6e2m3", 6},     {"float6e3m2", 6},
}};

const Row& row(DType dtype) {
  const auto number = static_cast<size_t>(dtype);
  return kTypes[number < kTypes.size() ? number : 0];
}

}  // namespace

int64_t dtype_bits(DType dtype) { return row(dtype).bits; }

int64_t dtype_bytes(DType dtype, int64_t count) {
  int64_t bits = 0;
  if (__builtin_mul_overflow(count, dtype_bits(dtype), &bits) || bits > INT64_MAX - 7) {
    throw_error(ErrorKind::InvalidArgument, "a tensor of ", count, " elements of type ",
                std::string(dtype_name(dtype)), " is too large for this machine");
  }
  return (bits + 7) / 8;
}

std::string_view dtype_name(DType dtype) { return row(dtype).name; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (size_t i = 1; i < kTypes.size(); ++i) {
    if (kTypes[i].name == name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

bool dtype_is_valid(int64_t number) {
  return number > 0 && number < static_cast<int64_t>(kTypes.size());
}

bool dtype_is_float(DType dtype) {
  const std::string_view name = dtype_name(dtype);
  return name.starts_with("float") || dtype == DType::Double || dtype == DType::BFloat16;
}

bool dtype_is_half(DType dtype) { return dtype == DType::Float16 || dtype == DType::BFloat16; }

bool dtype_is_integer(DType dtype) {
  const std::string_view name = dtype_name(dtype);
  return name.starts_with("int") || name.starts_with("uint");
}

}  // namespace tiercel
