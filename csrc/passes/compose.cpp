// What expansions compose from: shapes as values, layouts, and the checks of attributes.
#include "passes/compose.h"

#include <algorithm>

namespace tiercel {

ValueId Composer::scaled(ValueId x, double factor) {
  return factor == 1 ? x : mul(x, number(dtype(x), factor));
}

ValueId Composer::shifted(ValueId x, double addend) {
  return addend == 0 ? x : add(x, number(dtype(x), addend));
}

ValueId Composer::extent(ValueId x, int64_t axis) {
  Attributes attributes = with("start", axis);
  if (axis != -1) attributes.set("end", axis + 1);
  return op("Shape", {x}, std::move(attributes));
}

ValueId Composer::range(ValueId length) {
  return op("Range",
            {constant(Tensor::scalar_i64(0)), scalar_of(length), constant(Tensor::scalar_i64(1))});
}

ValueId Composer::filled(ValueId dims, DType dtype, double value) {
  return op("ConstantOfShape", {dims},
            with("value", make_tensor(dtype, {1}, std::span(&value, 1))));
}

ValueId Composer::channels_first(ValueId x) {
  const int64_t n = rank(x, "the input");
  std::vector<int64_t> perm = {0, n - 1};
  for (int64_t i = 1; i + 1 < n; ++i) perm.push_back(i);
  return transpose(x, std::move(perm));
}

ValueId Composer::channels_last(ValueId x) {
  const int64_t n = rank(x, "the input");
  std::vector<int64_t> perm = {0};
  for (int64_t i = 2; i < n; ++i) perm.push_back(i);
  perm.push_back(1);
  return transpose(x, std::move(perm));
}

int64_t Composer::rank(ValueId x, std::string_view name) const {
  if (!shape(x)) fail(concat("the rank of ", std::string(name), " is not known at load"));
  return static_cast<int64_t>(shape(x)->size());
}

int64_t Composer::known(ValueId x, int64_t axis, std::string_view name) const {
  const int64_t n = rank(x, name);
  const int64_t at = axis < 0 ? axis + n : axis;
  if (at < 0 || at >= n) {
    fail(concat(std::string(name), " has rank ", n, "; expected more than ", axis));
  }
  const Dim& dim = (*shape(x))[static_cast<size_t>(at)];
  if (!dim.known()) {
    fail(concat("extent ", at, " of ", std::string(name), " is not known at load"));
  }
  return dim.value();
}

Attributes Composer::attributes_but(std::initializer_list<std::string_view> names) const {
  Attributes out = node().attributes;
  for (std::string_view name : names) out.erase(name);
  return out;
}

void Composer::refuse(std::string_view name, const std::string& expected) const {
  const Attribute* value = node().attributes.find(name);
  std::string got = "absent";
  if (value && std::holds_alternative<int64_t>(*value)) got = concat(std::get<int64_t>(*value));
  if (value && std::holds_alternative<double>(*value)) got = concat(std::get<double>(*value));
  if (value && std::holds_alternative<std::string>(*value)) {
    got = concat("\"", std::get<std::string>(*value), "\"");
  }
  fail(concat("attribute ", std::string(name), " is ", got, "; expected ", expected));
}

void Composer::expect_integer(std::string_view name, std::initializer_list<int64_t> values) const {
  if (!node().attributes.find(name)) return;
  if (std::find(values.begin(), values.end(), integer(name)) != values.end()) return;
  std::string expected;
  for (int64_t value : values) expected += concat(expected.empty() ? "" : ", ", value);
  refuse(name, values.size() > 1 ? concat("one of ", expected) : expected);
}

void Composer::expect_text(std::string_view name,
                           std::initializer_list<std::string_view> values) const {
  if (std::find(values.begin(), values.end(), text(name)) != values.end()) return;
  std::string expected;
  for (std::string_view value : values) {
    expected += concat(expected.empty() ? "" : ", ", std::string(value));
  }
  refuse(name, concat(values.size() > 1 ? "one of " : "", expected));
}

void Composer::expect_none(size_t input, std::string_view name) const {
  if (has(input)) fail(concat("has input ", std::string(name), "; expected it to be absent"));
}

}  // namespace tiercel
