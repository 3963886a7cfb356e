// Cast between numbers and text.
#include <array>
#include <cmath>
#include <cstring>

#include "passes/edit.h"
#include "providers/cpu/host_call.h"
#include "providers/cpu/number_text.h"

namespace tiercel {
namespace {

template <class T>
void integers_to_text(const Tensor& x, Tensor& y) {
  for (int64_t i = 0; i < x.size(); ++i) {
    y.data<std::string>()[i] = std::to_string(+x.data<T>()[i]);
  }
}

void to_text(const HostCall& call, const Tensor& x, Tensor& y) {
  auto* out = y.data<std::string>();
  switch (x.dtype()) {
    case DType::Bool:
      for (int64_t i = 0; i < x.size(); ++i) out[i] = x.data<bool>()[i] ? "1" : "0";
      return;
    case DType::Int8:
      return integers_to_text<int8_t>(x, y);
    case DType::Int16:
      return integers_to_text<int16_t>(x, y);
    case DType::Int32:
      return integers_to_text<int32_t>(x, y);
    case DType::Int64:
      return integers_to_text<int64_t>(x, y);
    case DType::UInt8:
      return integers_to_text<uint8_t>(x, y);
    case DType::UInt16:
      return integers_to_text<uint16_t>(x, y);
    case DType::UInt32:
      return integers_to_text<uint32_t>(x, y);
    case DType::UInt64:
      return integers_to_text<uint64_t>(x, y);
    case DType::Double:
      for (int64_t i = 0; i < x.size(); ++i) out[i] = number_text(x.data<double>()[i]);
      return;
    case DType::String:
      std::copy_n(x.data<std::string>(), x.size(), out);
      return;
    default:
      break;
  }
  for (int64_t i = 0; i < x.size(); ++i) {
    const auto value = element(x, i);
    if (!value)
      host_fail(call,
                concat("tensor(", std::string(dtype_name(x.dtype())), ") is not cast to strings"));
    out[i] = number_text(static_cast<float>(*value));
  }
}

template <class T>
void text_to_integers(const std::string& place, const Tensor& x, Tensor& y) {
  for (int64_t i = 0; i < x.size(); ++i) {
    const std::string& text = x.data<std::string>()[i];
    if constexpr (std::is_same_v<T, uint64_t>) {
      y.data<T>()[i] = parse_unsigned(place, text);
    } else if (text.find_first_of(".eEnN") != std::string::npos) {
      y.data<T>()[i] = static_cast<T>(static_cast<int64_t>(parse_number(place, text)));
    } else {
      y.data<T>()[i] = static_cast<T>(parse_integer(place, text));
    }
  }
}

template <class T>
void text_to_floats(const std::string& place, const Tensor& x, Tensor& y) {
  const auto* text = x.data<std::string>();
  for (int64_t i = 0; i < x.size(); ++i) {
    y.data<T>()[i] = static_cast<T>(parse_number(place, text[i]));
  }
}

void from_text(const std::string& place, const Tensor& x, Tensor& y) {
  switch (y.dtype()) {
    case DType::Bool:
      for (int64_t i = 0; i < x.size(); ++i) {
        y.data<bool>()[i] = parse_number(place, x.data<std::string>()[i]) != 0;
      }
      return;
    case DType::Int8:
      return text_to_integers<int8_t>(place, x, y);
    case DType::Int16:
      return text_to_integers<int16_t>(place, x, y);
    case DType::Int32:
      return text_to_integers<int32_t>(place, x, y);
    case DType::Int64:
      return text_to_integers<int64_t>(place, x, y);
    case DType::UInt8:
      return text_to_integers<uint8_t>(place, x, y);
    case DType::UInt16:
      return text_to_integers<uint16_t>(place, x, y);
    case DType::UInt32:
      return text_to_integers<uint32_t>(place, x, y);
    case DType::UInt64:
      return text_to_integers<uint64_t>(place, x, y);
    case DType::Float:
      return text_to_floats<float>(place, x, y);
    case DType::Double:
      return text_to_floats<double>(place, x, y);
    default:
      break;
  }
  const int64_t width = dtype_bits(y.dtype()) / 8;
  for (int64_t i = 0; i < x.size(); ++i) {
    const std::array value = {parse_number(place, x.data<std::string>()[i])};
    const Tensor one = make_tensor(y.dtype(), {}, value);
    std::memcpy(y.data<std::byte>() + i * width, one.raw(), static_cast<size_t>(width));
  }
}

void cast_to(HostCall& call, DType to) {
  const Tensor& x = tensor(call, 0);
  Tensor y(to, x.dims());
  if (to == DType::String) {
    to_text(call, x, y);
  } else {
    from_text(where(call.node), x, y);
  }
  give(call, 0, std::move(y));
}

void cast(HostCall& call) {
  const int64_t to = attribute<int64_t>(call.node, "to", 0);
  if (!dtype_is_valid(to)) host_fail(call, concat("to is ", to, ", which is no element type"));
  cast_to(call, static_cast<DType>(to));
}

void cast_like(HostCall& call) { cast_to(call, tensor(call, 1).dtype()); }

constexpr HostOp kStringCast[] = {
    {"", "Cast", cast, "T1=string"},
    {"", "Cast", cast, "T2=string"},
    {"", "CastLike", cast_like, "T1=string"},
    {"", "CastLike", cast_like, "T2=string"},
};

}  // namespace

std::span<const HostOp> host_string_cast_ops() { return kStringCast; }

}  // namespace tiercel
