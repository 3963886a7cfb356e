// What shape functions ask of axes, small integer inputs and constant numbers.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "ops/op_def.h"

namespace tiercel {

// Type sets of the operators that move elements or slide windows.
inline constexpr std::string_view kStandardTensors =
    "float double float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool string "
    "complex64 complex128";
inline constexpr std::string_view kAllTensors =
    "float double float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool string "
    "complex64 complex128 float8e4m3fn float8e4m3fnuz float8e5m2 float8e5m2fnuz float8e8m0 "
    "float4e2m1 int4 uint4 int2 uint2";
inline constexpr std::string_view kFloats = "float double float16 bfloat16";
inline constexpr std::string_view kNumbers =
    "float double float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64";
inline constexpr std::string_view kFloatsAndFloat8 =
    "float double float16 bfloat16 float8e4m3fn float8e4m3fnuz float8e5m2 float8e5m2fnuz";

// Propagated values stay small: longer lists are left to the kernels.
inline constexpr int64_t kMaxKnown = 256;

// `axis` of input 0's rank in [0, rank); a value outside [-rank, rank) fails the node.
int64_t axis_in(InferContext& ctx, int64_t axis, int64_t rank);
// The axes of a list, each in [0, rank) and none twice; otherwise the node fails.
[[nodiscard]] std::vector<int64_t> axes_in(InferContext& ctx, const std::vector<int64_t>& axes,
                                           int64_t rank);
// The length of a rank-1 input, when it is known.
[[nodiscard]] std::optional<int64_t> list_length(InferContext& ctx, int input);
// Elements of a numeric constant of any float or integer type; nullopt when it is not constant.
[[nodiscard]] std::optional<std::vector<double>> numbers(InferContext& ctx, int input);
// Hands the known elements of `input` on to output 0 of the same elements in the same order.
void pass_elements(InferContext& ctx, int input, const std::optional<Shape>& out);
// Whether `shape` is a scalar or a list of at most kMaxKnown elements; then how many it has.
[[nodiscard]] std::optional<int64_t> small_list(const std::optional<Shape>& shape);
// Known elements of a small integer result, from the elements of inputs 0 and 1, broadcast.
void combine_elements(InferContext& ctx, Dim (*combine)(const Dim&, const Dim&));
// Sets output 0 to the type of input 0 with `shape`.
void set_like_first(InferContext& ctx, std::optional<Shape> shape);

}  // namespace tiercel
