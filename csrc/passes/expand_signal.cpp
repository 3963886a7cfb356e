// Signal operators in the few types that kernels take: int64 sizes, float or double numbers.
#include "passes/expand.h"

namespace tiercel {
namespace {

// The same node with its inputs in the kernels' types.
bool widened(Graph& graph, NodeId id, std::span<const size_t> numbers,
             std::span<const size_t> sizes) {
  Expander e(graph, id);
  const DType dtype = e.dtype(e.input(0));
  std::vector<ValueId> inputs = e.node().inputs;
  bool changed = false;
  for (size_t i : numbers) {
    if (!e.has(i) || !dtype_is_half(dtype)) continue;
    inputs[i] = e.cast(inputs[i], DType::Float);
    changed = true;
  }
  for (size_t i : sizes) {
    if (!e.has(i) || e.dtype(inputs[i]) != DType::Int32) continue;
    inputs[i] = e.cast(inputs[i], DType::Int64);
    changed = true;
  }
  if (!changed) return false;
  const std::string op = e.node().op_type;
  return e.finish({e.cast(e.op(op, std::move(inputs), e.node().attributes), dtype)});
}

bool dft(Graph& graph, NodeId id) {
  static constexpr size_t kNumbers[] = {0}, kSizes[] = {1};
  return widened(graph, id, kNumbers, kSizes);
}

bool stft(Graph& graph, NodeId id) {
  static constexpr size_t kNumbers[] = {0, 2}, kSizes[] = {1, 3};
  return widened(graph, id, kNumbers, kSizes);
}

// Made as float, cast to what output_datatype asks for.
bool made_as_float(Graph& graph, NodeId id, bool double_too) {
  Expander e(graph, id);
  const auto wanted = static_cast<DType>(attr_int(e.node(), "output_datatype", 1));
  std::vector<ValueId> inputs = e.node().inputs;
  bool changed = false;
  for (size_t i = 0; i < inputs.size() && !double_too; ++i) {
    inputs[i] = e.cast(inputs[i], i < 3 ? DType::Int64 : DType::Float);
    changed = changed || inputs[i] != e.input(i);
  }
  const bool direct = wanted == DType::Float || (double_too && wanted == DType::Double);
  if (direct && !changed) return false;
  Attributes attributes = e.node().attributes;
  attributes.set("output_datatype", static_cast<int64_t>(DType::Float));
  const std::string op = e.node().op_type;
  return e.finish({e.cast(e.op(op, std::move(inputs), std::move(attributes)), wanted)});
}

bool window(Graph& graph, NodeId id) { return made_as_float(graph, id, true); }
bool mel_weight_matrix(Graph& graph, NodeId id) { return made_as_float(graph, id, false); }

constexpr Expansion kSignal[] = {
    {"", "DFT", dft},
    {"", "STFT", stft},
    {"", "HannWindow", window},
    {"", "HammingWindow", window},
    {"", "BlackmanWindow", window},
    {"", "MelWeightMatrix", mel_weight_matrix},
};

}  // namespace

std::span<const Expansion> signal_expansions() { return kSignal; }

}  // namespace tiercel
