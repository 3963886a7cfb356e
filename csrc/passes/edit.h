// Graph edits that passes share: redirecting a value, walking a graph with its subgraphs, small
// constants.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"
#include "ops/op_def.h"

namespace tiercel {

// Runs `edit` on the subgraphs that the executor runs (If, Loop, Scan bodies), innermost first,
// then on `graph`.
bool each_graph(Graph& graph, const std::function<bool(Graph&)>& edit);

// Every use of `from` becomes a use of `to`. A graph output keeps its name: `to` takes it over, or,
// where it cannot (an input, a constant, another output), the producer of `from` becomes an
// Identity of `to`. Otherwise the producer of `from` is removed when nothing uses its other
// outputs.
void redirect(Graph& graph, ValueId from, ValueId to);

// A new node of a known operator before `before`, with one fresh output of type `type`; returns the
// output.
struct NewNode {
  std::string_view op;
  std::vector<ValueId> inputs;
  Attributes attributes = {};
  std::string_view domain = "";
};
ValueId insert_node(Graph& graph, NodeId before, NewNode made, Type type, const std::string& name);

// The node that makes `id`, if it is of operator `op` of ai.onnx (or `domain`); else nullptr.
[[nodiscard]] Node* producer(Graph& graph, ValueId id, std::string_view op,
                             std::string_view domain = "");
[[nodiscard]] bool is_op(const Node& node, std::string_view op, std::string_view domain = "");
[[nodiscard]] bool has_input(const Node& node, size_t i);

// Value of a constant with one element of a real type; nullopt otherwise.
[[nodiscard]] std::optional<double> scalar(const Graph& graph, ValueId id);
// Elements of a small constant or propagated integer value when all are integers.
[[nodiscard]] std::optional<std::vector<int64_t>> integers(const Graph& graph, ValueId id);
// Element `i` of a real constant as double (float16 and bfloat16 widened); nullopt for other types.
[[nodiscard]] std::optional<double> element(const Tensor& tensor, int64_t i);
// A tensor of `dtype` (float, double, float16, bfloat16, int32, int64) with these values rounded to
// it.
[[nodiscard]] Tensor make_tensor(DType dtype, Dims dims, std::span<const double> values);

// The static shape when the rank is known.
[[nodiscard]] const Shape* shape_of(const Graph& graph, ValueId id);
[[nodiscard]] std::optional<int64_t> rank_of(const Graph& graph, ValueId id);
// True when both shapes are known and every extent is certainly the same.
[[nodiscard]] bool same_shape(const Graph& graph, ValueId a, ValueId b);

// Attribute of the node, or the OpDef's default, or `fallback`.
[[nodiscard]] int64_t attr_int(const Node& node, std::string_view name, int64_t fallback = 0);
[[nodiscard]] double attr_float(const Node& node, std::string_view name, double fallback = 0);
[[nodiscard]] std::string attr_string(const Node& node, std::string_view name,
                                      std::string_view fallback = "");

// Number of readers of a value: consuming operands, captures and graph outputs.
class Uses {
 public:
  explicit Uses(const Graph& graph);
  [[nodiscard]] int count(ValueId id) const { return counts_[static_cast<size_t>(id)]; }
  [[nodiscard]] bool single(ValueId id) const { return count(id) == 1; }

 private:
  std::vector<int> counts_;
};

}  // namespace tiercel
