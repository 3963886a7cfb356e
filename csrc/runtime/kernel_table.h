// Finds the kernel rows that fit a node: operator, element types, attributes, this machine.
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "tiercel/kernel.h"

namespace tiercel {

// A node's attributes in the order in which one kernel row names them, with the lists they point
// to.
struct KernelAttributes {
  std::vector<TclAttr> values;
  std::vector<std::vector<int64_t>> ints;
  std::vector<std::vector<double>> floats;
};

struct KernelMatch {
  const TclKernel* kernel;
  std::shared_ptr<const KernelAttributes> attributes;
};

// Rows whose types and attribute choices fit, best first: variants in table order, of each the best
// instruction set of this machine. When none fits, `reason` says why.
[[nodiscard]] std::vector<KernelMatch> find_kernels(const Graph& graph, const Node& node,
                                                    std::string& reason);

// Lanes of float32 in the vectors of the best row of an operator that this machine runs; 0: it has
// none.
[[nodiscard]] int64_t vector_block(std::string_view domain, std::string_view op);

// "T=float;T1=int64" of a node: every type parameter that one of its values binds.
[[nodiscard]] std::string node_types(const Graph& graph, const Node& node);
// Whether a row's or host operator's types allow those of a node.
[[nodiscard]] bool types_match(std::string_view wanted, const Graph& graph, const Node& node);

}  // namespace tiercel
