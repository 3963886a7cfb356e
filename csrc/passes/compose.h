// Short names for the nodes that expansions make most.
#pragma once
#include <initializer_list>

#include "passes/expand.h"

namespace tiercel {

class Composer : public Expander {
 public:
  using Expander::Expander;

  ValueId add(ValueId a, ValueId b) { return op("Add", {a, b}); }
  ValueId sub(ValueId a, ValueId b) { return op("Sub", {a, b}); }
  ValueId mul(ValueId a, ValueId b) { return op("Mul", {a, b}); }
  ValueId div(ValueId a, ValueId b) { return op("Div", {a, b}); }
  ValueId mat_mul(ValueId a, ValueId b) { return op("MatMul", {a, b}); }
  ValueId where(ValueId condition, ValueId a, ValueId b) { return op("Where", {condition, a, b}); }
  ValueId sigmoid(ValueId x) { return op("Sigmoid", {x}); }
  ValueId silu(ValueId x) { return mul(x, sigmoid(x)); }
  ValueId scaled(ValueId x, double factor);   // x itself when the factor is 1
  ValueId shifted(ValueId x, double addend);  // x itself when it is 0
  // The sum of those that there are; kNone when there are none.
  ValueId sum(ValueId a, ValueId b) { return a == kNone ? b : b == kNone ? a : add(a, b); }

  ValueId reshape(ValueId x, const std::vector<int64_t>& dims) {
    return op("Reshape", {x, ints(dims)});
  }
  ValueId reshape_to(ValueId x, ValueId dims) { return op("Reshape", {x, dims}); }
  ValueId flat(ValueId x) { return reshape(x, {-1}); }
  ValueId scalar_of(ValueId x) { return reshape(x, {}); }  // of one element
  ValueId transpose(ValueId x, std::vector<int64_t> perm) {
    return op("Transpose", {x}, with("perm", std::move(perm)));
  }
  ValueId unsqueeze(ValueId x, const std::vector<int64_t>& axes) {
    return op("Unsqueeze", {x, ints(axes)});
  }
  ValueId squeeze(ValueId x, const std::vector<int64_t>& axes) {
    return op("Squeeze", {x, ints(axes)});
  }
  ValueId slice(ValueId x, int64_t axis, int64_t begin, int64_t end) {
    return op("Slice", {x, ints({begin}), ints({end}), ints({axis})});
  }
  ValueId concat_of(std::vector<ValueId> parts, int64_t axis) {
    return op("Concat", std::move(parts), with("axis", axis));
  }
  ValueId gather(ValueId x, ValueId indices, int64_t axis) {
    return op("Gather", {x, indices}, with("axis", axis));
  }
  std::vector<ValueId> split(ValueId x, const std::vector<int64_t>& sizes, int64_t axis) {
    return ops("Split", {x, ints(sizes)}, sizes.size(), with("axis", axis));
  }
  ValueId reduce(std::string_view name, ValueId x, const std::vector<int64_t>& axes,
                 int64_t keepdims = 1) {
    return op(name, {x, ints(axes)}, with("keepdims", keepdims));
  }
  ValueId extent(ValueId x, int64_t axis);  // int64 [1]
  ValueId range(ValueId length);            // int64 0, 1 … of a length of one element
  ValueId filled(ValueId dims, DType dtype, double value);
  // Channels from the last axis to axis 1, and back.
  ValueId channels_first(ValueId x);
  ValueId channels_last(ValueId x);

  [[nodiscard]] const Shape* shape(ValueId x) const {
    return x != kNone && type(x).shape ? &*type(x).shape : nullptr;
  }
  // Rank and extents that must be known when the model is loaded; else the node fails.
  [[nodiscard]] int64_t rank(ValueId x, std::string_view name) const;
  [[nodiscard]] int64_t known(ValueId x, int64_t axis, std::string_view name) const;

  [[nodiscard]] int64_t integer(std::string_view name, int64_t fallback = 0) const {
    return attr_int(node(), name, fallback);
  }
  [[nodiscard]] bool flag(std::string_view name) const { return integer(name) != 0; }
  [[nodiscard]] double real(std::string_view name, double fallback = 0) const {
    return attr_float(node(), name, fallback);
  }
  [[nodiscard]] std::string text(std::string_view name) const { return attr_string(node(), name); }
  // The node's attributes without those named.
  [[nodiscard]] Attributes attributes_but(std::initializer_list<std::string_view> names) const;

  // attribute NAME is VALUE; expected EXPECTED
  [[noreturn]] void refuse(std::string_view name, const std::string& expected) const;
  // Fails where the attribute is not one of these.
  void expect_integer(std::string_view name, std::initializer_list<int64_t> values) const;
  void expect_text(std::string_view name, std::initializer_list<std::string_view> values) const;
  // Fails where the node has an input that this runtime has no meaning for.
  void expect_none(size_t input, std::string_view name) const;
};

}  // namespace tiercel
