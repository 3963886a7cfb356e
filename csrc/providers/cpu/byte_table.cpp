// Tables of programs over bytes: filled by running the program once on every value.
#include "providers/cpu/byte_table.h"

#include <numeric>

#include "base/platform.h"
#include "ops/op_def.h"

namespace tiercel {
namespace {

constexpr int64_t kValues = 256;
// Instructions from which on a table is faster than a program.
constexpr size_t kFewestByVectors = 3, kFewest = 6;

template <class T>
void look_up_each(const std::byte* table, const uint8_t* from, void* to, int64_t begin,
                  int64_t end) {
  const T* values = reinterpret_cast<const T*>(table);
  T* out = static_cast<T*>(to);
  for (int64_t i = begin; i < end; ++i) out[i] = values[from[i]];
}

// The only operand that is no constant; nullopt when it is not one of bytes, or others are not one
// number each.
std::optional<size_t> byte_operand(const Graph& graph, const Node& node) {
  std::optional<size_t> found;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const ValueId id = node.inputs[i];
    if (id == kNone) return std::nullopt;
    if (const Tensor* constant = graph.constant(id)) {
      if (constant->size() != 1 || constant->dtype() == DType::String) return std::nullopt;
      continue;
    }
    const DType dtype = graph.value(id).type.dtype;
    if (found || (dtype != DType::Int8 && dtype != DType::UInt8)) return std::nullopt;
    found = i;
  }
  return found;
}

}  // namespace

int64_t ByteTable::work(int64_t count) const {
  return out_bytes == 1 && looks_up_bytes() ? count / 20 : count / 2;
}

void ByteTable::look_up(const void* from, void* to, int64_t begin, int64_t end) const {
  const auto* bytes = static_cast<const uint8_t*>(from);
  if (out_bytes == 4) return look_up_each<uint32_t>(values.data(), bytes, to, begin, end);
  if (out_bytes == 2) return look_up_each<uint16_t>(values.data(), bytes, to, begin, end);
  if (looks_up_bytes()) {
    look_up_bytes(reinterpret_cast<const uint8_t*>(values.data()), bytes + begin,
                  static_cast<uint8_t*>(to) + begin, end - begin);
    return;
  }
  look_up_each<uint8_t>(values.data(), bytes, to, begin, end);
}

std::optional<ByteTable> tabulate(const PointwiseProgram& program, const Graph& graph,
                                  const Node& node) {
  if (program.n_outputs != 1 || node.inputs.size() > kPointwiseOperands) return std::nullopt;
  const std::optional<size_t> operand = byte_operand(graph, node);
  const DType out_dtype = graph.value(node.outputs[0]).type.dtype;
  const int64_t bits = dtype_bits(out_dtype);
  if (!operand || (bits != 8 && bits != 16 && bits != 32)) return std::nullopt;
  const size_t fewest = bits == 8 && looks_up_bytes() ? kFewestByVectors : kFewest;
  if (program.instructions.size() < fewest) return std::nullopt;

  std::array<uint8_t, kValues> all;
  std::iota(all.begin(), all.end(), uint8_t{0});
  int64_t extent = kValues;
  ByteTable table{.operand = *operand, .out_bytes = bits / 8};
  std::vector<TclTensor> tensors;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (i == *operand) {
      const auto dtype = static_cast<int64_t>(graph.value(node.inputs[i]).type.dtype);
      tensors.push_back({all.data(), &extent, 1, dtype, kValues});
    } else {
      const Tensor& number = *graph.constant(node.inputs[i]);
      tensors.push_back({number.raw(), nullptr, 0, static_cast<int64_t>(number.dtype()), 1});
    }
  }
  TclTensor result{table.values.data(), &extent, 1, static_cast<int64_t>(out_dtype), kValues};
  std::vector<TclTensor*> in;
  for (TclTensor& tensor : tensors) in.push_back(&tensor);
  TclTensor* out = &result;
  PointwiseWalk walk;
  program.walk(in.data(), &out, walk);
  program.run(walk, in.data(), &out, 0, PointwiseProgram::units(walk));
  return table;
}

}  // namespace tiercel
