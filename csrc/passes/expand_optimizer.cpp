// Optimiser steps (Adagrad, Momentum, Adam) as standard nodes.
#include <array>

#include "passes/expand.h"

namespace tiercel {
namespace {

// Arithmetic on values, in the element type of the tensor that is being updated.
class Arithmetic {
 public:
  Arithmetic(Expander& e, DType dtype) : e_(e), dtype_(dtype) {}

  ValueId number(double value) { return e_.number(dtype_, value); }
  ValueId attribute(std::string_view name, double fallback = 0) {
    return number(attr_float(e_.node(), name, fallback));
  }
  ValueId add(ValueId a, ValueId b) { return e_.op("Add", {a, b}); }
  ValueId sub(ValueId a, ValueId b) { return e_.op("Sub", {a, b}); }
  ValueId mul(ValueId a, ValueId b) { return e_.op("Mul", {a, b}); }
  ValueId div(ValueId a, ValueId b) { return e_.op("Div", {a, b}); }
  ValueId pow(ValueId a, ValueId b) { return e_.op("Pow", {a, b}); }
  ValueId sqrt(ValueId a) { return e_.op("Sqrt", {a}); }
  ValueId rate() { return scalar(0); }
  ValueId step() { return scalar(1); }
  // One when no step has been made yet.
  ValueId unless_first(ValueId later, ValueId first) {
    const ValueId zero = e_.number(DType::Int64, 0);
    return e_.op("Where", {e_.op("Greater", {e_.input(1), zero}), later, first});
  }
  // The gradient with the weight decay of `norm_coefficient`.
  ValueId regularized(ValueId x, ValueId gradient) {
    return add(mul(attribute("norm_coefficient"), x), gradient);
  }

 private:
  ValueId scalar(size_t input) { return e_.cast(e_.input(input), dtype_); }

  Expander& e_;
  DType dtype_;
};

// Tensor i of list `list` of the inputs after R and T.
ValueId listed(const Expander& e, size_t list, size_t i, size_t count) {
  return e.input(2 + list * count + i);
}

bool adagrad(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const size_t count = (e.node().inputs.size() - 2) / 3;
  std::vector<ValueId> made(2 * count, kNone);
  for (size_t i = 0; i < count; ++i) {
    const ValueId x = listed(e, 0, i, count);
    Arithmetic a(e, e.dtype(x));
    const ValueId decay = a.add(a.number(1), a.mul(a.step(), a.attribute("decay_factor")));
    const ValueId rate = a.div(a.rate(), decay);
    const ValueId g = a.regularized(x, listed(e, 1, i, count));
    const ValueId h = a.add(listed(e, 2, i, count), a.mul(g, g));
    const ValueId adapted = a.add(a.sqrt(h), a.attribute("epsilon", 1e-6));
    made[i] = a.sub(x, a.div(a.mul(rate, g), adapted));
    made[count + i] = h;
  }
  return e.finish(made);
}

bool momentum(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const size_t count = (e.node().inputs.size() - 2) / 3;
  const std::string mode = attr_string(e.node(), "mode");
  if (mode != "standard" && mode != "nesterov") {
    e.fail(concat("mode is \"", mode, "\"; expected standard or nesterov"));
  }
  std::vector<ValueId> made(2 * count, kNone);
  for (size_t i = 0; i < count; ++i) {
    const ValueId x = listed(e, 0, i, count);
    Arithmetic a(e, e.dtype(x));
    const ValueId g = a.regularized(x, listed(e, 1, i, count));
    const ValueId beta = a.unless_first(a.attribute("beta"), a.number(1));
    const ValueId v = a.add(a.mul(a.attribute("alpha"), listed(e, 2, i, count)), a.mul(beta, g));
    const ValueId step = mode == "standard" ? v : a.add(g, a.mul(a.attribute("alpha"), v));
    made[i] = a.sub(x, a.mul(a.rate(), step));
    made[count + i] = v;
  }
  return e.finish(made);
}

// R * sqrt(1 - beta^T) / (1 - alpha^T), or R at the first step.
ValueId adam_rate(Arithmetic& a, double alpha, double beta) {
  const ValueId one = a.number(1);
  const ValueId second = a.sqrt(a.sub(one, a.pow(a.number(beta), a.step())));
  const ValueId first = a.sub(one, a.pow(a.number(alpha), a.step()));
  return a.unless_first(a.div(a.mul(a.rate(), second), first), a.rate());
}

bool adam(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const size_t count = (e.node().inputs.size() - 2) / 4;
  const double alpha = attr_float(e.node(), "alpha", 0.9);
  const double beta = attr_float(e.node(), "beta", 0.999);
  std::vector<ValueId> made(3 * count, kNone);
  for (size_t i = 0; i < count; ++i) {
    const ValueId x = listed(e, 0, i, count);
    Arithmetic a(e, e.dtype(x));
    const ValueId g = a.regularized(x, listed(e, 1, i, count));
    const ValueId v =
        a.add(a.mul(a.number(alpha), listed(e, 2, i, count)), a.mul(a.number(1 - alpha), g));
    const ValueId h = a.add(a.mul(a.number(beta), listed(e, 3, i, count)),
                            a.mul(a.number(1 - beta), a.mul(g, g)));
    const ValueId adapted = a.add(a.sqrt(h), a.attribute("epsilon", 1e-6));
    const ValueId moved = a.sub(x, a.div(a.mul(adam_rate(a, alpha, beta), v), adapted));
    const double kept = 1 - attr_float(e.node(), "norm_coefficient_post", 0);
    made[i] = kept == 1 ? moved : a.mul(a.number(kept), moved);
    made[count + i] = v;
    made[2 * count + i] = h;
  }
  return e.finish(made);
}

constexpr Expansion kOptimizerExpansions[] = {
    {"ai.onnx.preview.training", "Adagrad", adagrad},
    {"ai.onnx.preview.training", "Momentum", momentum},
    {"ai.onnx.preview.training", "Adam", adam},
};

}  // namespace

std::span<const Expansion> optimizer_expansions() { return kOptimizerExpansions; }

}  // namespace tiercel
