// A dense row-major tensor with shared ownership of its bytes, and the other ONNX values: sequence,
// optional, map, sparse tensor.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/buffer.h"
#include "base/dtype.h"
#include "base/error.h"
#include "base/shape.h"

namespace tiercel {

class Tensor {
 public:
  Tensor() = default;
  // Uninitialised (String: empty strings).
  Tensor(DType dtype, Dims dims);
  // Over existing bytes; `data` must stay inside `buffer` and, for String, point at constructed
  // std::string objects.
  Tensor(DType dtype, Dims dims, std::shared_ptr<Buffer> buffer, void* data);

  template <class T>
  static Tensor of(DType dtype, Dims dims, std::span<const T> values) {
    Tensor t(dtype, std::move(dims));
    std::copy(values.begin(), values.end(), t.data<T>());
    return t;
  }
  static Tensor scalar_i64(int64_t value) {
    return of<int64_t>(DType::Int64, {}, std::span(&value, 1));
  }
  static Tensor vector_i64(std::span<const int64_t> v) {
    return of<int64_t>(DType::Int64, {static_cast<int64_t>(v.size())}, v);
  }

  [[nodiscard]] DType dtype() const { return dtype_; }
  [[nodiscard]] const Dims& dims() const { return dims_; }
  [[nodiscard]] int64_t rank() const { return static_cast<int64_t>(dims_.size()); }
  [[nodiscard]] int64_t size() const { return size_; }  // elements
  [[nodiscard]] int64_t bytes() const {
    return dtype_bytes(dtype_, size_);
  }  // String: of the std::string objects
  [[nodiscard]] void* raw() const { return data_; }
  [[nodiscard]] const std::shared_ptr<Buffer>& buffer() const { return buffer_; }
  [[nodiscard]] bool valid() const { return dtype_ != DType::Undefined; }
  template <class T>
  [[nodiscard]] T* data() const {
    return static_cast<T*>(data_);
  }
  // The same bytes under other dims of equal size.
  [[nodiscard]] Tensor reshaped(Dims dims) const;
  // Integer tensors (int64, int32) as int64 values; throws Error(InvalidArgument) for other types.
  [[nodiscard]] std::vector<int64_t> as_i64() const;

 private:
  DType dtype_ = DType::Undefined;
  Dims dims_;
  int64_t size_ = 0;
  std::shared_ptr<Buffer> buffer_;
  void* data_ = nullptr;
};

struct Value;
using Sequence = std::vector<Value>;
// Keys are an int64 or string vector; values a tensor of the same length.
struct Map {
  Tensor keys;
  Tensor values;
};
struct SparseTensor {
  Tensor values;   // [nnz]
  Tensor indices;  // int64 [nnz] or [nnz, rank]
  Dims dims;
};

// A run-time value; std::monostate is the empty optional (and the absent input).
struct Value : std::variant<std::monostate, Tensor, std::shared_ptr<Sequence>, std::shared_ptr<Map>,
                            std::shared_ptr<SparseTensor>> {
  using variant::variant;
  [[nodiscard]] bool empty() const { return std::holds_alternative<std::monostate>(*this); }
  [[nodiscard]] const Tensor* tensor() const { return std::get_if<Tensor>(this); }
  [[nodiscard]] const Sequence* sequence() const {
    auto p = std::get_if<std::shared_ptr<Sequence>>(this);
    return p ? p->get() : nullptr;
  }
  [[nodiscard]] const Map* map() const {
    auto p = std::get_if<std::shared_ptr<Map>>(this);
    return p ? p->get() : nullptr;
  }
  [[nodiscard]] const SparseTensor* sparse() const {
    auto p = std::get_if<std::shared_ptr<SparseTensor>>(this);
    return p ? p->get() : nullptr;
  }
};

}  // namespace tiercel
