// Tensors: allocation, strings, views and integer access.
#include "base/tensor.h"

#include <new>

namespace tiercel {

namespace {

// Strings are objects: they are constructed here and destroyed with the buffer.
std::shared_ptr<Buffer> allocate_strings(int64_t count) {
  auto* strings = new std::string[static_cast<size_t>(count)];
  return Buffer::wrap(strings, dtype_bytes(DType::String, count), [strings] { delete[] strings; });
}

}  // namespace

Tensor::Tensor(DType dtype, Dims dims)
    : dtype_(dtype), dims_(std::move(dims)), size_(element_count(dims_)) {
  const int64_t bytes = dtype_bytes(dtype, size_);
  buffer_ = dtype == DType::String ? allocate_strings(size_) : Buffer::allocate(bytes);
  data_ = buffer_->data();
}

Tensor::Tensor(DType dtype, Dims dims, std::shared_ptr<Buffer> buffer, void* data)
    : dtype_(dtype),
      dims_(std::move(dims)),
      size_(element_count(dims_)),
      buffer_(std::move(buffer)),
      data_(data) {}

Tensor Tensor::reshaped(Dims dims) const {
  if (element_count(dims) != size_) {
    throw_error(ErrorKind::InvalidArgument, "a tensor of shape ", dims_text(dims_),
                " cannot be seen as ", dims_text(dims), ": the numbers of elements differ");
  }
  return {dtype_, std::move(dims), buffer_, data_};
}

std::vector<int64_t> Tensor::as_i64() const {
  if (dtype_ == DType::Int64) return {data<int64_t>(), data<int64_t>() + size_};
  if (dtype_ == DType::Int32) return {data<int32_t>(), data<int32_t>() + size_};
  throw_error(ErrorKind::InvalidArgument, "expected a tensor of int64 or int32, got ",
              std::string(dtype_name(dtype_)));
}

}  // namespace tiercel
