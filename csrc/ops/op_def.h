// What an operator means: its inputs, outputs, attributes, types, shape function and algebraic
// facts. One OpDef per operator.
#pragma once
#include <algorithm>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"

namespace tiercel {

class InferContext;

struct Param {
  std::string_view name;
  std::string_view type;  // type-parameter name ("T") or a fixed type string ("tensor(int64)")
  enum Kind { Single, Optional, Variadic } kind = Single;
  bool homogeneous = true;  // Variadic: all of one type
  int min_arity = 1;        // Variadic
};

[[nodiscard]] inline Param optional(std::string_view name, std::string_view type) {
  return {name, type, Param::Optional};
}

struct TypeParam {
  std::string_view name;
  std::string_view types;  // space-separated type strings or sets, e.g. "float16 float double
                           // bfloat16"; sets in ops/infer_values.h
};

struct AttrDef {
  enum Kind {
    Int,
    Float,
    String,
    Tensor,
    Graph,
    SparseTensor,
    Type,
    Ints,
    Floats,
    Strings,
    Tensors,
    Graphs,
    Types
  };
  std::string_view name;
  Kind kind;
  bool required = false;
  std::optional<Attribute> value = std::nullopt;  // the default
};

// Algebraic facts that passes may use.
enum OpFact : uint32_t {
  kCommutative = 1,  // f(a, b) = f(b, a)
  kElementwise =
      2,       // one result element per (broadcast) operand element; runs as a pointwise program
  kAlias = 4,  // output 0 has the bytes of input 0 (Reshape, Identity, Squeeze …)
  kNondeterministic = 8,  // never folded, never merged (Random*)
  kControlFlow = 16,      // has subgraphs that the executor runs
  kDataDependent = 32,    // output shape depends on input values beyond those in `value_inputs`
  kIdempotent = 64,       // f(f(x)) = f(x)
  kJoins = 128,           // output 0 is the inputs, one after the other along `axis`
  kCuts = 256,            // the outputs are input 0, cut along `axis`
  kReadsDims = 512,       // of its inputs it reads the dims alone (Shape)
};

using ShapeFn = void (*)(InferContext&);

struct OpDef {
  std::string_view domain;  // "", "ai.onnx.ml", "com.microsoft", "tiercel" for internal ones
  std::string_view name;
  int since = 1;  // newest ONNX version, whose meaning this is
  std::vector<Param> inputs;
  std::vector<Param> outputs;
  std::vector<TypeParam> types;
  std::vector<AttrDef> attributes;
  ShapeFn shape = nullptr;  // never nullptr in the registry
  uint32_t facts = 0;
  std::vector<int> value_inputs;  // inputs whose elements the shape function reads (Reshape: {1})

  [[nodiscard]] bool reads_value(size_t input) const {
    return std::find(value_inputs.begin(), value_inputs.end(), static_cast<int>(input)) !=
           value_inputs.end();
  }
  [[nodiscard]] bool has(OpFact fact) const { return (facts & fact) != 0; }
  [[nodiscard]] const AttrDef* attribute(std::string_view attribute_name) const;
};

// What a shape function sees of a node and where it puts what it finds out. Called at load with
// symbols and at run with numbers.
class InferContext {
 public:
  InferContext(Graph& graph, Node& node, bool at_run = false)
      : graph_(graph), node_(node), at_run_(at_run) {}

  [[nodiscard]] const Node& node() const { return node_; }
  [[nodiscard]] Graph& graph() { return graph_; }
  [[nodiscard]] int input_count() const { return static_cast<int>(node_.inputs.size()); }
  [[nodiscard]] int output_count() const { return static_cast<int>(node_.outputs.size()); }
  [[nodiscard]] bool has_input(int i) const;
  [[nodiscard]] bool has_output(int i) const;
  [[nodiscard]] const Type& type(int input) const;  // Unknown kind for an absent input
  [[nodiscard]] DType dtype(int input) const;
  [[nodiscard]] const std::optional<Shape>& shape(int input) const;  // nullopt: rank unknown
  [[nodiscard]] bool has_shape(int input) const {
    return has_input(input) && shape(input).has_value();
  }
  // The whole tensor when the input is a constant.
  [[nodiscard]] const Tensor* constant(int input) const;
  // Elements of a small integer input as far as they are known: constant or propagated; nullopt
  // when unknown.
  [[nodiscard]] std::optional<std::vector<Dim>> elements(int input) const;
  // Elements when all are integers.
  [[nodiscard]] std::optional<std::vector<int64_t>> integers(int input) const;

  // Attribute, or the OpDef's default, or `fallback`.
  [[nodiscard]] int64_t attr_int(std::string_view name, int64_t fallback = 0) const;
  [[nodiscard]] double attr_float(std::string_view name, double fallback = 0) const;
  [[nodiscard]] std::string attr_string(std::string_view name,
                                        std::string_view fallback = "") const;
  [[nodiscard]] std::optional<std::vector<int64_t>> attr_ints(std::string_view name) const;
  [[nodiscard]] bool has_attr(std::string_view name) const;

  // Merges with what is declared; where shapes clash the operator is right, another element type
  // throws Error(InvalidGraph).
  void set_type(int output, Type type);
  void set(int output, DType dtype, std::optional<Shape> shape = std::nullopt);
  void set_elements(int output, std::vector<Dim> elements);
  // An extent that depends on the data: its upper bound when memory is about to be allocated
  // (at_run), else unknown.
  [[nodiscard]] Dim at_most(Dim bound) const { return at_run_ ? bound : Dim(); }
  // Throws Error(InvalidGraph): node "n" (Op): MESSAGE
  [[noreturn]] void fail(const std::string& message) const;

 private:
  Graph& graph_;
  Node& node_;
  bool at_run_;
};

// Shape functions that many operators share.
void same_as_first(InferContext&);      // output 0 = type and shape of input 0
void broadcast_all(InferContext&);      // dtype of input 0, all inputs broadcast
void broadcast_to_bool(InferContext&);  // comparison: bool

// Each family file defines its list; registry.cpp holds the list of families.
using OpList = std::vector<OpDef>;

// nullptr when unknown. domain "ai.onnx" and "" are one.
[[nodiscard]] const OpDef* find_op(std::string_view domain, std::string_view name);
[[nodiscard]] std::span<const OpDef* const> all_ops();  // built in
// An operator of the user's; one added before under the same name stays with the graphs that hold
// it. Its names must live for ever. Throws Error(InvalidArgument) when it is built in.
const OpDef& add_op(OpDef def);
// Throws Error(InvalidGraph) when the type of an input or the kind of an attribute contradicts the
// operator.
void check_constraints(const Graph& graph, const Node& node);
// Checks the node's constraints and runs its shape function, recursing into subgraphs for control
// flow. `at_run`: all input shapes and `value_inputs` are known, and data-dependent extents
// (kDataDependent) are to be given by their upper bounds.
void infer_node(Graph& graph, Node& node, bool at_run = false);

}  // namespace tiercel
