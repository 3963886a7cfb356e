// Operators in element types that no kernel has, by way of one that does: packed integers as bytes,
// small operands widened, strings by their numbers in a table.
#include <algorithm>
#include <array>
#include <cmath>

#include "passes/expand.h"

namespace tiercel {
namespace {

// Inputs of the type parameter that input 0 has, or of `parameter`.
bool is_of(const Expander& e, size_t i, std::string_view parameter) {
  const std::vector<Param>& params = e.node().def->inputs;
  return e.has(i) && params[std::min(i, params.size() - 1)].type == parameter;
}

// The node over inputs of `parameter` cast to `wide`; outputs of the same parameter are cast back.
bool run_as(Expander& e, std::string_view parameter, DType wide, bool back = true) {
  std::vector<ValueId> inputs = e.node().inputs;
  DType narrow = DType::Undefined;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!is_of(e, i, parameter)) continue;
    narrow = e.dtype(inputs[i]);
    inputs[i] = e.cast(inputs[i], wide);
  }
  const std::string op = e.node().op_type;
  std::vector<ValueId> made =
      e.ops(op, std::move(inputs), e.node().outputs.size(), e.node().attributes);
  for (size_t i = 0; i < made.size() && back; ++i) {
    const std::vector<Param>& params = e.node().def->outputs;
    if (params[std::min(i, params.size() - 1)].type == parameter) made[i] = e.cast(made[i], narrow);
  }
  return e.finish(made);
}

DType unpacked(DType dtype) {
  switch (dtype) {
    case DType::Int4:
    case DType::Int2:
      return DType::Int8;
    case DType::UInt4:
    case DType::UInt2:
      return DType::UInt8;
    default:
      return dtype_bits(dtype) < 8 ? DType::Float : dtype;
  }
}

// Strings lie in a table, behind an empty one; the node moves their numbers, and what it pads with
// is number 0.
bool by_number(Expander& e, std::string_view parameter) {
  std::vector<ValueId> table = {e.constant(Tensor(DType::String, {1}))};
  std::vector<ValueId> inputs = e.node().inputs;
  ValueId first = e.number(DType::Int64, 1);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!is_of(e, i, parameter)) continue;
    table.push_back(e.op("Reshape", {inputs[i], e.ints({-1})}));
    const ValueId after = e.op("Add", {first, e.op("Size", {inputs[i]})});
    const ValueId numbers = e.op("Range", {first, after, e.number(DType::Int64, 1)});
    inputs[i] =
        e.op("Reshape", {numbers, e.op("Shape", {inputs[i]})}, with("allowzero", int64_t{1}));
    first = after;
  }
  Attributes axis;
  axis.set("axis", int64_t{0});
  const ValueId all = e.op("Concat", std::move(table), axis);
  const std::string op = e.node().op_type;
  const ValueId numbers = e.op(op, std::move(inputs), e.node().attributes);
  return e.finish({e.op("Gather", {all, numbers}, std::move(axis))});
}

// Operators that only move the elements of T.
bool moves(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const DType dtype = e.dtype(e.input(0));
  if (dtype == DType::String) return by_number(e, "T");
  const DType wide = unpacked(dtype);
  return wide != dtype && run_as(e, "T", wide);
}

bool transpose(Graph& graph, NodeId id) {
  Expander e(graph, id);
  if (e.dtype(e.input(0)) == DType::String) return false;  // there is a host operator
  return moves(graph, id);
}

// What compares or adds does not need the narrow type.
bool in_widest(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const DType dtype = e.dtype(e.input(0));
  DType wide = dtype;
  switch (dtype) {
    case DType::Float16:
    case DType::BFloat16:
      wide = DType::Float;
      break;
    case DType::Bool:
    case DType::Int8:
    case DType::Int16:
    case DType::Int32:
      wide = DType::Int64;
      break;
    case DType::UInt8:
    case DType::UInt16:
    case DType::UInt32:
      wide = DType::UInt64;
      break;
    default:
      break;
  }
  return wide != dtype && run_as(e, "T", wide);
}

// What only compares is exact in float for numbers of 16 bits.
bool compares(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const DType dtype = e.dtype(e.input(0));
  const bool small = dtype_is_integer(dtype) && dtype_bits(dtype) <= 16;
  return small ? run_as(e, "T", DType::Float) : in_widest(graph, id);
}

bool reduces(Graph& graph, NodeId id) {
  Expander e(graph, id);
  return e.dtype(e.input(0)) != DType::Bool && in_widest(graph, id);
}

// Bytes and bools have kernels of their own.
bool most(Graph& graph, NodeId id) {
  Expander e(graph, id);
  return dtype_bits(e.dtype(e.input(0))) > 8 && compares(graph, id);
}

// log Σ exp(x - m) + m, m being the largest finite x.
bool log_sum_exp(Graph& graph, NodeId id) {
  Expander e(graph, id);
  if (reduces(graph, id)) return true;
  const auto& shape = e.type(e.input(0)).shape;
  if (e.dtype(e.input(0)) != DType::Float || !shape) return false;
  if (attr_int(e.node(), "noop_with_empty_axes", 0) != 0) return false;
  const auto reduce = [&](std::string_view op, ValueId x, int64_t keeps) {
    std::vector<ValueId> inputs = {x};
    if (e.has(1)) inputs.push_back(e.input(1));
    return e.op(op, std::move(inputs), with("keepdims", keeps));
  };
  const int64_t keeps = attr_int(e.node(), "keepdims", 1);
  const ValueId most = reduce("ReduceMax", e.input(0), 1);
  const ValueId infinite = e.op("IsInf", {most});
  ValueId shift = e.op("Where", {infinite, e.number(DType::Float, 0), most});
  const ValueId sum = reduce("ReduceSum", e.op("Exp", {e.op("Sub", {e.input(0), shift})}), keeps);
  if (keeps == 0) shift = e.op("Reshape", {shift, e.op("Shape", {sum})});
  return e.finish({e.op("Add", {e.op("Log", {sum}), shift})});
}

bool in_floats(Graph& graph, NodeId id);

// Neighbouring numbers are turned one by one, which half types are slow at.
bool interleaved_halves(Graph& graph, NodeId id) {
  return attr_int(graph.node(id), "interleaved", 0) != 0 && in_floats(graph, id);
}

// Half types, and a mixture of types, as the widest float among the inputs, or float.
bool in_floats(Graph& graph, NodeId id) {
  Expander e(graph, id);
  std::vector<ValueId> inputs = e.node().inputs;
  DType wide = DType::Float;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (e.has(i) && e.dtype(inputs[i]) == DType::Double) wide = DType::Double;
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (e.has(i) && dtype_is_float(e.dtype(inputs[i]))) inputs[i] = e.cast(inputs[i], wide);
  }
  if (inputs == e.node().inputs) return false;
  const std::string op = e.node().op_type;
  std::vector<ValueId> made =
      e.ops(op, std::move(inputs), e.node().outputs.size(), e.node().attributes);
  for (size_t i = 0; i < made.size(); ++i) {
    if (e.wants(i)) made[i] = e.cast(made[i], e.dtype(e.node().outputs[i]));
  }
  return e.finish(made);
}

// Float inputs of several types: kernels take one.
bool of_one_float(Graph& graph, NodeId id) {
  Expander e(graph, id);
  DType seen = DType::Undefined;
  for (ValueId input : e.node().inputs) {
    if (input == kNone || !dtype_is_float(e.dtype(input))) continue;
    if (seen != DType::Undefined && seen != e.dtype(input)) return in_floats(graph, id);
    seen = e.dtype(input);
  }
  return false;
}

// A mask of numbers is added to the scores: in their type.
bool attention_of_one_float(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const DType dtype = e.dtype(e.input(0));
  if (dtype != e.dtype(e.input(2))) return of_one_float(graph, id);
  if (!e.has(3) || e.dtype(e.input(3)) == DType::Bool || e.dtype(e.input(3)) == dtype) return false;
  std::vector<ValueId> inputs = e.node().inputs;
  inputs[3] = e.cast(inputs[3], dtype);
  return e.finish(
      e.ops("Attention", std::move(inputs), e.node().outputs.size(), e.node().attributes));
}

// Kernels take half types beside float, but not beside double.
bool rms_normalization(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const bool twice = e.dtype(e.input(0)) == DType::Double || e.dtype(e.input(1)) == DType::Double;
  return twice && of_one_float(graph, id);
}

// What is linear in its first input, for complex ones: real and imaginary parts each on their own.
bool by_parts(Expander& e) {
  const ValueId x = e.input(0);
  const std::vector<ValueId> parts = e.ops("RealParts", {x}, 2, {}, "tiercel");
  const std::string op = e.node().op_type;
  std::vector<ValueId> made;
  for (ValueId part : parts) {
    std::vector<ValueId> inputs = e.node().inputs;
    inputs[0] = part;
    made.push_back(e.op(op, std::move(inputs), e.node().attributes));
  }
  return e.finish({e.op("OfRealParts", made, {}, "tiercel")});
}

bool is_complex(DType dtype) { return dtype == DType::Complex64 || dtype == DType::Complex128; }

// Strings are moved when no two are to be mixed.
bool picks_strings(Expander& e, std::string_view parameter) {
  const std::string mode =
      attr_string(e.node(), "mode", e.node().op_type == "Resize" ? "nearest" : "linear");
  if (mode != "nearest") e.fail(concat("mode is \"", mode, "\"; strings need \"nearest\""));
  return by_number(e, parameter);
}

// Between whole numbers: interpolated in double and rounded; what is only copied needs no numbers.
bool resize(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const DType dtype = e.dtype(e.input(0));
  if (dtype == DType::String) return picks_strings(e, "T1");
  if (attr_string(e.node(), "mode", "nearest") == "nearest") return false;
  const std::array direct = {DType::Int8, DType::UInt8, DType::Int32};
  if (!dtype_is_integer(dtype) || dtype_bits(dtype) < 8) return false;
  if (std::find(direct.begin(), direct.end(), dtype) != direct.end()) return false;
  std::vector<ValueId> inputs = e.node().inputs;
  inputs[0] = e.cast(inputs[0], DType::Double);
  const ValueId y = e.op("Round", {e.op("Resize", std::move(inputs), e.node().attributes)});
  const bool is_signed = dtype == DType::Int16 || dtype == DType::Int64;
  const double most = std::ldexp(1.0, dtype_bits(dtype) - (is_signed ? 1 : 0));
  // Below 2^64 the next double is a whole number farther off than 1.
  const double high = dtype_bits(dtype) == 64 ? std::nextafter(most, 0.0) : most - 1;
  const ValueId low = e.number(DType::Double, is_signed ? -most : 0);
  return e.finish({e.cast(e.op("Clip", {y, low, e.number(DType::Double, high)}), dtype)});
}

bool scatters(Graph& graph, NodeId id) {
  const bool moved = attr_string(graph.node(id), "reduction", "none") == "none";
  return moved ? moves(graph, id) : in_widest(graph, id);
}

// Indices of every number type as int64: fractions are cut off.
bool one_hot(Graph& graph, NodeId id) {
  Expander e(graph, id);
  if (e.dtype(e.input(2)) == DType::String) return by_number(e, "T3");
  if (e.dtype(e.input(2)) == DType::Complex128) {
    const ValueId chosen =
        e.op("OneHot", {e.input(0), e.input(1), e.ints({0, 1})}, e.node().attributes);
    return e.finish({e.op("Gather", {e.input(2), chosen})});
  }
  const DType dtype = e.dtype(e.input(0));
  const std::array direct = {DType::Int64, DType::Int32, DType::Float, DType::UInt8};
  if (std::find(direct.begin(), direct.end(), dtype) != direct.end()) return false;
  return run_as(e, "T1", DType::Int64, false);
}

// Interpolated in float or double; whole numbers lose their fractions.
bool grid_sample_in_floats(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const DType dtype = e.dtype(e.input(0));
  if (is_complex(dtype)) return by_parts(e);
  if (dtype == DType::String) return picks_strings(e, "T1");
  if (!dtype_is_integer(dtype) && dtype != DType::Bool) return of_one_float(graph, id);
  const DType wide = dtype_bits(dtype) > 16 ? DType::Double : DType::Float;
  const ValueId x = e.cast(e.input(0), wide);
  const ValueId y = e.op("GridSample", {x, e.cast(e.input(1), wide)}, e.node().attributes);
  return e.finish({e.cast(y, dtype)});
}

// Sums of whole numbers wrap, so that they may be made in a wider type; those of bool are "or".
bool col2im(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const DType dtype = e.dtype(e.input(0));
  if (is_complex(dtype)) return by_parts(e);
  if (dtype == DType::Bool) return run_as(e, "T", DType::Int64);
  if (!dtype_is_integer(dtype) || dtype == DType::Int64 || dtype == DType::Int32) return false;
  return run_as(e, "T", DType::Int64);
}

// Whole numbers: alpha and beta act as numbers of the type.
bool gemm(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const DType dtype = e.dtype(e.input(0));
  if (!dtype_is_integer(dtype)) return false;
  const auto operand = [&](size_t i, std::string_view flag) {
    const bool turned = attr_int(e.node(), flag) != 0;
    return turned ? e.op("Transpose", {e.input(i)}) : e.input(i);
  };
  const auto scaled = [&](ValueId value, double factor) {
    if (factor == 1) return value;
    const ValueId product =
        e.op("Mul", {e.cast(value, DType::Double), e.number(DType::Double, factor)});
    return e.cast(product, dtype);
  };
  ValueId y = e.op("MatMul", {operand(0, "transA"), operand(1, "transB")});
  y = scaled(y, attr_float(e.node(), "alpha", 1));
  if (e.has(2)) y = e.op("Add", {y, scaled(e.input(2), attr_float(e.node(), "beta", 1))});
  return e.finish({y});
}

// Kernels compute with float numbers and scales: half types and int32 are exact in float, or were
// rounded to it anyway.
bool quantize_float(Graph& graph, NodeId id) {
  Expander e(graph, id);
  std::vector<ValueId> inputs = e.node().inputs;
  if (e.dtype(inputs[0]) == DType::Float && e.dtype(inputs[1]) == DType::Float) return false;
  for (size_t i = 0; i < 2; ++i) inputs[i] = e.cast(inputs[i], DType::Float);
  return e.finish({e.op("QuantizeLinear", std::move(inputs), e.node().attributes)});
}

bool dequantize_to_float(Graph& graph, NodeId id) {
  Expander e(graph, id);
  std::vector<ValueId> inputs = e.node().inputs;
  const DType made = e.dtype(e.node().outputs[0]);
  if (e.dtype(inputs[1]) == DType::Float && made == DType::Float) return false;
  inputs[1] = e.cast(inputs[1], DType::Float);
  Attributes attributes = e.node().attributes;
  attributes.set("output_dtype", static_cast<int64_t>(DType::Float));
  const ValueId y = e.op("DequantizeLinear", std::move(inputs), std::move(attributes));
  return e.finish({e.cast(y, made)});
}

// Products of 8-bit floats, by their meaning.
bool qlinear_matmul(Graph& graph, NodeId id) {
  Expander e(graph, id);
  if (!dtype_is_float(e.dtype(e.input(0))) && !dtype_is_float(e.dtype(e.input(3)))) return false;
  const auto number = [&](size_t i) {
    return e.op("DequantizeLinear", {e.input(i), e.input(i + 1), e.input(i + 2)});
  };
  const ValueId product = e.op("MatMul", {number(0), number(3)});
  return e.finish({e.op("QuantizeLinear", {product, e.input(6), e.input(7)})});
}

constexpr Expansion kTypes[] = {
    {"", "Transpose", transpose},
    {"", "Pad", moves},
    {"", "TensorScatter", moves},
    {"", "DepthToSpace", moves},
    {"", "SpaceToDepth", moves},
    {"", "ReverseSequence", moves},
    {"", "GatherElements", moves},
    {"", "GatherND", moves},
    {"", "ScatterElements", scatters},
    {"", "ScatterND", scatters},
    {"", "Compress", moves},
    {"", "CenterCropPad", moves},
    {"", "Trilu", moves},
    {"", "TopK", compares},
    {"", "Unique", in_widest},
    {"", "ArgMax", compares},
    {"", "ArgMin", compares},
    {"", "CumSum", in_widest},
    {"", "CumProd", in_widest},
    {"", "ReduceSum", reduces},
    {"", "ReduceMean", reduces},
    {"", "ReduceProd", reduces},
    {"", "ReduceMax", most},
    {"", "ReduceMin", most},
    {"", "ReduceL1", reduces},
    {"", "ReduceL2", reduces},
    {"", "ReduceSumSquare", reduces},
    {"", "ReduceLogSum", reduces},
    {"", "ReduceLogSumExp", log_sum_exp},
    {"", "BatchNormalization", in_floats},
    {"", "LpNormalization", in_floats},
    {"", "LRN", in_floats},
    {"", "MeanVarianceNormalization", in_floats},
    {"", "NegativeLogLikelihoodLoss", in_floats},
    {"", "SoftmaxCrossEntropyLoss", in_floats},
    {"", "Attention", attention_of_one_float},
    {"", "RMSNormalization", rms_normalization},
    {"", "RotaryEmbedding", interleaved_halves},
    {"", "LinearAttention", in_floats},
    {"", "Conv", in_floats},
    {"", "ConvTranspose", in_floats},
    {"", "DeformConv", in_floats},
    {"", "MaxRoiPool", in_floats},
    {"", "RoiAlign", in_floats},
    {"", "MaxPool", in_floats},
    {"", "AveragePool", in_floats},
    {"", "LpPool", in_floats},
    {"", "GlobalMaxPool", in_floats},
    {"", "GlobalAveragePool", in_floats},
    {"", "GlobalLpPool", in_floats},
    {"", "Det", in_floats},
    {"", "OneHot", one_hot},
    {"", "Resize", resize},
    {"", "GridSample", grid_sample_in_floats},
    {"", "Col2Im", col2im},
    {"", "Gemm", gemm},
    {"", "QuantizeLinear", quantize_float},
    {"", "DequantizeLinear", dequantize_to_float},
    {"", "QLinearMatMul", qlinear_matmul},
};

}  // namespace

std::span<const Expansion> type_expansions() { return kTypes; }

}  // namespace tiercel
