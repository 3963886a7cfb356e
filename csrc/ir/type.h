// The static type of a graph value: tensor, sequence, optional, map or sparse tensor, with what is
// known of its shape.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "base/dtype.h"
#include "base/shape.h"

namespace tiercel {

struct Type {
  enum class Kind { Unknown, Tensor, Sequence, Optional, Map, SparseTensor };
  Kind kind = Kind::Unknown;
  DType dtype = DType::Undefined;       // Tensor, SparseTensor: element type; Map: key type
  std::optional<Shape> shape;           // Tensor, SparseTensor; nullopt: rank unknown
  std::shared_ptr<const Type> element;  // Sequence, Optional: element; Map: value

  static Type tensor(DType dtype, std::optional<Shape> shape = std::nullopt) {
    return {Kind::Tensor, dtype, std::move(shape), nullptr};
  }
  static Type sequence(Type element) {
    return {Kind::Sequence, DType::Undefined, std::nullopt,
            std::make_shared<const Type>(std::move(element))};
  }
  static Type optional(Type element) {
    return {Kind::Optional, DType::Undefined, std::nullopt,
            std::make_shared<const Type>(std::move(element))};
  }
  static Type map(DType key, Type value) {
    return {Kind::Map, key, std::nullopt, std::make_shared<const Type>(std::move(value))};
  }
  [[nodiscard]] bool is_tensor() const { return kind == Kind::Tensor; }
  // ONNX Runtime's text: "tensor(float)", "seq(tensor(int64))", "map(int64,tensor(float))",
  // "optional(...)".
  [[nodiscard]] std::string text() const;
};

}  // namespace tiercel
