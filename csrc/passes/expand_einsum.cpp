// Einsum as transposes, sums and matrix products.
#include <algorithm>
#include <map>

#include "passes/expand.h"

namespace tiercel {
namespace {

// An axis is named by its letter, or, under an ellipsis, by -1 (the last), -2 and so on.
using Labels = std::vector<int>;

struct Operand {
  ValueId value;
  Labels labels;
};

bool holds(const Labels& labels, int label) {
  return std::find(labels.begin(), labels.end(), label) != labels.end();
}

void append(Labels& labels, const Labels& more) {
  labels.insert(labels.end(), more.begin(), more.end());
}

// The labels of `from` that are also in `other` (or, with `in` false, that are not).
Labels chosen(const Labels& from, const Labels& other, bool in) {
  Labels out;
  for (int label : from) {
    if (holds(other, label) == in) out.push_back(label);
  }
  return out;
}

class Einsum {
 public:
  explicit Einsum(Expander& e) : e_(e) {}

  // The operator's result.
  ValueId run(const std::vector<std::string>& terms, const std::string* result) {
    std::vector<Operand> operands;
    for (size_t i = 0; i < terms.size(); ++i) operands.push_back(read(terms[i], i));
    const Labels out = result ? labels_of(*result, ellipsis_) : implied();
    for (Operand& operand : operands) diagonals(operand);
    Operand product = operands[0];
    sum(product, needed(operands, 1, out));
    for (size_t i = 1; i < operands.size(); ++i) {
      Labels wanted = needed(operands, i + 1, out);
      Labels wanted_here = wanted;
      append(wanted_here, product.labels);
      sum(operands[i], wanted_here);
      product = multiply(product, operands[i], wanted);
    }
    return arrange(product, out).value;
  }

 private:
  static Labels labels_of(const std::string& term, int hidden) {
    Labels out;
    for (size_t i = 0; i < term.size(); ++i) {
      if (term[i] != '.') {
        out.push_back(static_cast<unsigned char>(term[i]));
        continue;
      }
      for (int axis = hidden; axis > 0; --axis) out.push_back(-axis);
      i += 2;
    }
    return out;
  }

  Operand read(const std::string& term, size_t index) {
    const size_t dots = term.find("...");
    int hidden = 0;
    if (dots != std::string::npos) {
      const auto rank = rank_of(e_.graph(), e_.input(index));
      if (!rank) e_.fail(concat("operand ", index, " has an ellipsis and an unknown rank"));
      hidden = static_cast<int>(*rank) - static_cast<int>(term.size() - 3);
      ellipsis_ = std::max(ellipsis_, hidden);
    }
    Operand out{widened(e_.input(index)), labels_of(term, hidden)};
    for (int label : out.labels) ++counts_[label];
    return out;
  }

  // Small integers are summed as wide ones: the low bits are the same.
  ValueId widened(ValueId value) {
    switch (e_.dtype(value)) {
      case DType::Int8:
      case DType::Int16:
        return e_.cast(value, DType::Int32);
      case DType::UInt8:
      case DType::UInt16:
        return e_.cast(value, DType::UInt32);
      default:
        return value;
    }
  }

  // What an equation without arrow gives: the ellipsis, then letters that occur once, in order.
  Labels implied() const {
    Labels out;
    for (int axis = ellipsis_; axis > 0; --axis) out.push_back(-axis);
    for (const auto& [label, count] : counts_) {
      if (label > 0 && count == 1) out.push_back(label);
    }
    return out;
  }

  static Labels needed(const std::vector<Operand>& operands, size_t from, const Labels& out) {
    Labels labels = out;
    for (size_t i = from; i < operands.size(); ++i) append(labels, operands[i].labels);
    return labels;
  }

  // Extents [begin, end) of a value, as a list.
  ValueId extents(ValueId value, size_t begin, size_t end) {
    Attributes range;
    range.set("start", static_cast<int64_t>(begin));
    range.set("end", static_cast<int64_t>(end));
    return e_.op("Shape", {value}, std::move(range));
  }

  // Their product, as a list of one.
  ValueId size(ValueId value, size_t begin, size_t end) {
    if (begin == end) return e_.ints({1});
    const ValueId list = extents(value, begin, end);
    return end - begin == 1 ? list : e_.op("ReduceProd", {list, e_.ints({0})});
  }

  ValueId reshape(ValueId value, std::vector<ValueId> lists) {
    Attributes axis, zero;
    axis.set("axis", int64_t{0});
    zero.set("allowzero", int64_t{1});
    const ValueId shape = e_.op("Concat", std::move(lists), std::move(axis));
    return e_.op("Reshape", {value, shape}, std::move(zero));
  }

  Operand arrange(const Operand& operand, const Labels& order) {
    if (order == operand.labels) return operand;
    std::vector<int64_t> perm;
    for (int label : order) {
      const auto at = std::find(operand.labels.begin(), operand.labels.end(), label);
      perm.push_back(at - operand.labels.begin());
    }
    return {transposed(operand.value, std::move(perm)), order};
  }

  ValueId transposed(ValueId value, std::vector<int64_t> perm) {
    Attributes attributes;
    attributes.set("perm", std::move(perm));
    return e_.op("Transpose", {value}, std::move(attributes));
  }

  // A letter that stands twice in one term means that term's diagonal: every (n+1)th of n*n.
  void diagonals(Operand& operand) {
    for (size_t first = 0; first < operand.labels.size(); ++first) {
      const int label = operand.labels[first];
      for (size_t second = first + 1; second < operand.labels.size(); ++second) {
        if (operand.labels[second] != label) continue;
        diagonal(operand, first, second);
        return diagonals(operand);
      }
    }
  }

  void diagonal(Operand& operand, size_t first, size_t second) {
    Labels labels;
    std::vector<int64_t> perm;
    const size_t rank = operand.labels.size();
    for (size_t axis = 0; axis < rank; ++axis) {
      if (axis == first || axis == second) continue;
      labels.push_back(operand.labels[axis]);
      perm.push_back(static_cast<int64_t>(axis));
    }
    labels.push_back(operand.labels[first]);
    perm.push_back(static_cast<int64_t>(first));
    perm.push_back(static_cast<int64_t>(second));
    const ValueId square = transposed(operand.value, std::move(perm));
    const ValueId step = e_.op("Add", {extents(square, rank - 1, rank), e_.ints({1})});
    const ValueId flat =
        reshape(square, {extents(square, 0, rank - 2), size(square, rank - 2, rank)});
    const auto last = static_cast<int64_t>(rank) - 2;
    operand.value =
        e_.op("Slice", {flat, e_.ints({0}), e_.ints({INT64_MAX}), e_.ints({last}), step});
    operand.labels = std::move(labels);
  }

  // Sums over the axes that nothing needs.
  void sum(Operand& operand, const Labels& wanted) {
    std::vector<int64_t> axes;
    for (size_t axis = 0; axis < operand.labels.size(); ++axis) {
      if (!holds(wanted, operand.labels[axis])) axes.push_back(static_cast<int64_t>(axis));
    }
    if (axes.empty()) return;
    Attributes attributes;
    attributes.set("keepdims", int64_t{0});
    operand.value = e_.op("ReduceSum", {operand.value, e_.ints(axes)}, std::move(attributes));
    operand.labels = chosen(operand.labels, wanted, true);
  }

  bool is_one(const Operand& operand, int label) {
    const Shape* shape = shape_of(e_.graph(), operand.value);
    const auto at = std::find(operand.labels.begin(), operand.labels.end(), label);
    return shape && (*shape)[static_cast<size_t>(at - operand.labels.begin())].same(Dim(1));
  }

  Operand multiply(Operand a, Operand b, const Labels& wanted) {
    const Labels shared = chosen(a.labels, b.labels, true);
    for (int label : chosen(shared, wanted, false)) {
      if (is_one(a, label) == is_one(b, label)) continue;  // else an extent of one is repeated
      sum(a, chosen(a.labels, {label}, false));
      sum(b, chosen(b.labels, {label}, false));
    }
    const Labels both = chosen(a.labels, b.labels, true);
    const Labels batch = chosen(both, wanted, true), inner = chosen(both, wanted, false);
    const Labels rows = chosen(a.labels, b.labels, false);
    const Labels columns = chosen(b.labels, a.labels, false);
    Labels out = batch;
    append(out, rows);
    append(out, columns);
    if (inner.empty()) return {outer_product(a, b, batch, rows, columns), out};
    return {matrix_product(a, b, batch, rows, inner, columns), out};
  }

  ValueId outer_product(const Operand& a, const Operand& b, const Labels& batch, const Labels& rows,
                        const Labels& columns) {
    Labels left = batch, right = batch;
    append(left, rows);
    append(right, columns);
    const ValueId x = opened(arrange(a, left).value, left.size(), columns.size());
    const ValueId y = opened(arrange(b, right).value, batch.size(), rows.size());
    return e_.op("Mul", {x, y});
  }

  // `count` axes of extent one in front of axis `at`.
  ValueId opened(ValueId value, size_t at, size_t count) {
    if (count == 0) return value;
    std::vector<int64_t> axes;
    for (size_t i = 0; i < count; ++i) axes.push_back(static_cast<int64_t>(at + i));
    return e_.op("Unsqueeze", {value, e_.ints(axes)});
  }

  ValueId matrix_product(const Operand& a, const Operand& b, const Labels& batch,
                         const Labels& rows, const Labels& inner, const Labels& columns) {
    Labels left = batch, right = batch;
    append(left, rows);
    append(left, inner);
    append(right, inner);
    append(right, columns);
    const ValueId x = arrange(a, left).value, y = arrange(b, right).value;
    const size_t start = batch.size();
    const ValueId product =
        e_.op("MatMul", {grouped(x, start, start + rows.size(), left.size()),
                         grouped(y, start, start + inner.size(), right.size())});
    if (rows.size() == 1 && columns.size() == 1) return product;
    return reshape(product, {extents(product, 0, start), extents(x, start, start + rows.size()),
                             extents(y, start + inner.size(), right.size())});
  }

  // Axes [start, middle) as one and [middle, end) as one.
  ValueId grouped(ValueId value, size_t start, size_t middle, size_t end) {
    if (middle == start + 1 && end == middle + 1) return value;
    return reshape(
        value, {extents(value, 0, start), size(value, start, middle), size(value, middle, end)});
  }

  Expander& e_;
  int ellipsis_ = 0;
  std::map<int, int> counts_;
};

bool einsum(Graph& graph, NodeId id) {
  Expander e(graph, id);
  std::string equation = attr_string(e.node(), "equation");
  std::erase(equation, ' ');
  const size_t arrow = equation.find("->");
  std::vector<std::string> terms(1);
  for (char c : equation.substr(0, arrow)) {
    if (c == ',') {
      terms.emplace_back();
    } else {
      terms.back() += c;
    }
  }
  std::string result;
  if (arrow != std::string::npos) result = equation.substr(arrow + 2);
  const ValueId y = Einsum(e).run(terms, arrow == std::string::npos ? nullptr : &result);
  return e.finish({e.cast(y, e.dtype(e.input(0)))});
}

constexpr Expansion kEinsumExpansions[] = {{"", "Einsum", einsum}};

}  // namespace

std::span<const Expansion> einsum_expansions() { return kEinsumExpansions; }

}  // namespace tiercel
