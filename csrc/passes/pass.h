// A pass: a named function from graph to better graph. The pipeline is one visible list per
// optimisation level.
#pragma once
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"

namespace tiercel {

enum class OptimizationLevel { DisableAll = 0, Basic = 1, Extended = 2, Layout = 3, All = 99 };

// What passes may ask of the world outside the graph.
// Why a node has its provider, where the program's user named it.
inline constexpr std::string_view kChosenByName = "chosen by name";

struct PassContext {
  OptimizationLevel level = OptimizationLevel::All;
  std::vector<std::string> disabled;  // pass names
  bool verify = false;                // check the graph after every pass (tests)
  // Runs a node whose inputs are all constants; nullopt when no kernel can, or the result is larger
  // than `fold_limit`.
  std::function<std::optional<std::vector<Tensor>>(const Graph&, const Node&)> evaluate;
  // nullopt: the provider named in the node runs it; else the reason why not. Fused nodes are asked
  // about before they replace what they were made of. Empty: everything runs.
  std::function<std::optional<std::string>(const Graph&, const Node&)> refuses;
  int64_t fold_limit = 64 << 20;  // bytes of one folded constant
  int64_t block = 0;              // channels per block of the blocked layout; 0: no layout pass
  bool bfloat16 = false;          // whether products may be of rounded factors
  bool bytes = false;             // whether products of 8-bit integers beat those of floats
  int64_t winograd = 1;           // of ConvBlocked nodes
  std::string layout_provider = "CPUExecutionProvider";
};

struct Pass {
  std::string_view name;
  OptimizationLevel level;                          // runs at this level and above
  bool (*run)(Graph& graph, PassContext& context);  // true when it changed something
};

// What a pass did, for session.explain() and the profiler.
struct PassReport {
  std::string name;
  bool changed;
  double microseconds;
  int64_t nodes_before, nodes_after;
};

// Before the partitioner: provider-independent. After it: fusions and layout between nodes of one
// provider.
[[nodiscard]] std::span<const Pass> generic_passes();
[[nodiscard]] std::span<const Pass> provider_passes();
// With concrete input shapes: infer, fold, simplify, dead code.
[[nodiscard]] std::span<const Pass> specialise_passes();

std::vector<PassReport> run_passes(std::span<const Pass> passes, Graph& graph,
                                   PassContext& context);

}  // namespace tiercel
