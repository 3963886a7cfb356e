// A plan: a graph compiled for one set of input shapes, as flat steps and places of values.
#pragma once
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "passes/pass.h"
#include "runtime/provider.h"
#include "runtime/step.h"

namespace tiercel {

// What compiling needs beyond the graph.
struct CompileOptions {
  std::vector<std::shared_ptr<Provider>> providers;  // in order of preference
  PassContext passes;
  std::map<std::string, std::string> chosen;  // providers of nodes, by the nodes' names
  bool islands = true;  // small ones on the host, where a model of cost finds that cheaper
};

// Where a value's bytes are.
struct Place {
  enum class Kind : uint8_t {
    None,      // not a tensor that any step needs
    Constant,  // the graph's own
    Input,     // given to the run
    Arena,     // of the run
    Output,    // memory of graph output `index`
    Held       // a Value of its own, made at run
  };
  Kind kind = Kind::None;
  ValueId root = kNone;  // the value whose bytes these are or lie in the same block: itself unless
                         // it is an alias, or a part of a value or the whole
  int64_t offset = 0;    // into the arena, or into the bytes of `root`
  int index = -1;        // Input, Output: its number
  int memory = 0;        // number in the plan's memories
};

// A kind of memory that a plan uses.
struct Memory {
  std::shared_ptr<Provider> provider;  // nullptr: the host's
  int64_t arena_bytes = 0;             // of one run
  int64_t lower_bound = 0;
  [[nodiscard]] DeviceMemory* device() const { return provider ? provider->device() : nullptr; }
};

// Steps that do the same in each run of a context: a device can record them. They are [first,
// last).
struct Segment {
  size_t first, last;
  int memory;
  std::vector<ValueId> outside;  // values that they touch whose addresses may change
};

struct Plan {
  Graph graph;
  std::vector<Step> steps;
  std::vector<bool> dynamic;               // per step: output shapes are found at run
  std::vector<ValueId> takes_over;         // per dynamic step: whose bytes output 0 may take
  std::vector<std::vector<ValueId>> held;  // per step: outputs of known shape to allocate before it
  std::vector<Place> places;               // per value
  std::vector<ValueId> inputs;             // graph inputs, then overridable ones, then captures
  std::vector<ValueId> outputs;
  std::vector<ValueId> arena_values;
  std::vector<std::vector<ValueId>>
      output_values;  // per output: values in its memory; empty: copied at the end
  std::vector<ValueId> held_values;
  std::vector<std::vector<ValueId>> aliases;          // per value: others of which it is the root
  std::vector<Memory> memories = {{}};                // the host's first
  std::vector<std::pair<ValueId, Tensor>> residents;  // constants in other memories
  std::vector<Segment> segments;                      // where providers record; in order
};

// Gives every node of the graph and of its subgraphs a provider and the reason. Throws one
// Error(NotImplemented) that names every node that no provider runs, with each provider's reason.
void assign(Graph& graph, const CompileOptions& options);

// Puts a Copy before every reader of a value that lives in another provider's memory. Constants
// live in "cpu", and so do inputs whose elements shapes depend on; graph inputs, captures and
// outputs where the graph says.
void insert_copies(Graph& graph, const CompileOptions& options);

// `types`: one per plan input; empty: shapes as the graph has them.
[[nodiscard]] std::shared_ptr<const Plan> make_plan(const Graph& graph, std::span<const Type> types,
                                                    const CompileOptions& options);

// Ids of the values that a run is given: inputs, overridable inputs, captures.
[[nodiscard]] std::vector<ValueId> run_inputs(const Graph& graph);

// Outputs of one node whose inputs are all constants; nullopt when that cannot be computed.
[[nodiscard]] std::optional<std::vector<Tensor>> evaluate_node(const Graph& graph, const Node& node,
                                                               const CompileOptions& options);

// The compiled form of a control flow node; its bodies are compiled when they first run.
[[nodiscard]] Step compile_control_flow(const Graph& graph, const Node& node,
                                        const CompileOptions& options);

// The compiled form of a node whose output has the bytes of its input, where shapes are found at
// run.
[[nodiscard]] Step compile_alias(const Node& node);

}  // namespace tiercel
