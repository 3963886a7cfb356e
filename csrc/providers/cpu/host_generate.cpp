// Operators whose result lies in a tensor attribute: Constant and ConstantOfShape.
#include <algorithm>
#include <cstring>

#include "base/sparse.h"
#include "providers/cpu/host_call.h"

namespace tiercel {
namespace {

Tensor text_tensor(const std::vector<std::string>& values, Dims dims) {
  return Tensor::of<std::string>(DType::String, std::move(dims), values);
}

void constant(HostCall& call) {
  const Attributes& a = call.node.attributes;
  Value& out = call.outputs[0];
  if (const auto* value = a.get<Tensor>("value")) {
    out = *value;
  } else if (const auto* sparse = a.get<std::shared_ptr<SparseTensor>>("sparse_value")) {
    int64_t budget = kDenseBudget;
    out = dense(**sparse, budget);
  } else if (const auto* number = a.get<int64_t>("value_int")) {
    out = Tensor::scalar_i64(*number);
  } else if (const auto* ints = a.get<std::vector<int64_t>>("value_ints")) {
    out = Tensor::vector_i64(*ints);
  } else if (const auto* real = a.get<double>("value_float")) {
    const auto narrow = static_cast<float>(*real);
    out = Tensor::of<float>(DType::Float, {}, std::span(&narrow, 1));
  } else if (const auto* reals = a.get<std::vector<double>>("value_floats")) {
    const std::vector<float> narrow(reals->begin(), reals->end());
    out = Tensor::of<float>(DType::Float, {static_cast<int64_t>(narrow.size())}, narrow);
  } else if (const auto* text = a.get<std::string>("value_string")) {
    out = text_tensor({*text}, {});
  } else if (const auto* texts = a.get<std::vector<std::string>>("value_strings")) {
    out = text_tensor(*texts, {static_cast<int64_t>(texts->size())});
  } else {
    throw_error(ErrorKind::InvalidGraph, where(call.node), ": has none of the value attributes");
  }
}

// Repeats the `bits`-wide element at `element` over `out`.
void fill(Tensor& out, const void* element, int64_t bits) {
  auto* to = out.data<std::byte>();
  if (bits < 8) {
    const auto low =
        static_cast<unsigned>(*static_cast<const uint8_t*>(element)) & ((1U << bits) - 1);
    unsigned byte = 0;
    for (int64_t at = 0; at < 8; at += bits) byte |= low << at;
    std::memset(to, static_cast<int>(byte), static_cast<size_t>(out.bytes()));
    return;
  }
  constexpr size_t kMost = size_t{1} << 15;  // what lies in the nearest cache is copied on
  const auto width = static_cast<size_t>(bits / 8);
  const size_t total = static_cast<size_t>(out.size()) * width;
  std::memcpy(to, element, width);
  for (size_t done = width; done < total;) {
    const size_t next = std::min({done, total - done, kMost});
    std::memcpy(to + done, to, next);
    done += next;
  }
}

void constant_of_shape(HostCall& call) {
  const Dims dims = tensor(call, 0).as_i64();
  for (int64_t extent : dims) {
    if (extent < 0) {
      throw_error(ErrorKind::InvalidArgument, where(call.node), ": shape has the extent ", extent,
                  "; expected 0 or more");
    }
  }
  const float zero = 0;
  const auto* value = call.node.attributes.get<Tensor>("value");
  Tensor out(value != nullptr ? value->dtype() : DType::Float, dims);
  if (value != nullptr && value->size() != 1) {
    throw_error(ErrorKind::InvalidGraph, where(call.node), ": value has ", value->size(),
                " elements; expected one");
  }
  if (out.size() > 0) {
    fill(out, value != nullptr ? value->raw() : &zero, dtype_bits(out.dtype()));
  }
  call.outputs[0] = out;
}

constexpr HostOp kOps[] = {
    {"", "Constant", constant},
    {"", "ConstantOfShape", constant_of_shape},
};

}  // namespace

std::span<const HostOp> host_generate_ops() { return kOps; }

}  // namespace tiercel
