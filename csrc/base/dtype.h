// Element types: ONNX's own numbering, names, and widths.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace tiercel {

enum class DType : int32_t {
  Undefined = 0,
  Float = 1,
  UInt8 = 2,
  Int8 = 3,
  UInt16 = 4,
  Int16 = 5,
  Int32 = 6,
  Int64 = 7,
  String = 8,
  Bool = 9,
  Float16 = 10,
  Double = 11,
  UInt32 = 12,
  UInt64 = 13,
  Complex64 = 14,
  Complex128 = 15,
  BFloat16 = 16,
  Float8E4M3FN = 17,
  Float8E4M3FNUZ = 18,
  Float8E5M2 = 19,
  Float8E5M2FNUZ = 20,
  UInt4 = 21,
  Int4 = 22,
  Float4E2M1 = 23,
  Float8E8M0 = 24,
  UInt2 = 25,
  Int2 = 26,
  Float6E2M3 = 27,
  Float6E3M2 = 28,
};

// Bits of one element in memory; sub-byte types are packed low bits first. 0 for Undefined; String
// elements are std::string objects.
[[nodiscard]] int64_t dtype_bits(DType dtype);
// Bytes of `count` packed elements, rounded up; throws Error(TooLarge → InvalidArgument) on
// overflow.
[[nodiscard]] int64_t dtype_bytes(DType dtype, int64_t count);
// ONNX's type-string name: "float", "int64", "float8e4m3fn" as in "tensor(float)".
[[nodiscard]] std::string_view dtype_name(DType dtype);
[[nodiscard]] std::optional<DType> dtype_from_name(std::string_view name);
// True for the numbers that TensorProto.DataType defines and this runtime knows.
[[nodiscard]] bool dtype_is_valid(int64_t number);
[[nodiscard]] bool dtype_is_float(DType dtype);    // every floating type, 4 to 64 bits
[[nodiscard]] bool dtype_is_half(DType dtype);     // float16 and bfloat16
[[nodiscard]] bool dtype_is_integer(DType dtype);  // signed and unsigned, without bool

}  // namespace tiercel
