// Runs a list of passes over a graph: skips what is disabled or above the level, times each,
// verifies when asked.
#include "passes/pass.h"

#include <algorithm>
#include <chrono>

#include "ir/verify.h"
#include "passes/edit.h"

namespace tiercel {

namespace {

int64_t node_count(Graph& graph) {
  int64_t count = 0;
  each_graph(graph, [&](Graph& g) {
    count +=
        std::count_if(g.nodes.begin(), g.nodes.end(), [](const Node& n) { return !n.removed; });
    return false;
  });
  return count;
}

PassReport run_pass(const Pass& pass, Graph& graph, PassContext& context) {
  PassReport report{std::string(pass.name), false, 0, node_count(graph), 0};
  const auto start = std::chrono::steady_clock::now();
  report.changed = pass.run(graph, context);
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - start;
  report.microseconds = took.count();
  report.nodes_after = node_count(graph);
  if (context.verify) {
    try {
      verify(graph);
    } catch (const Error& error) {
      throw_error(error.kind(), "after pass ", report.name, ": ", error.what());
    }
  }
  return report;
}

}  // namespace

std::vector<PassReport> run_passes(std::span<const Pass> passes, Graph& graph,
                                   PassContext& context) {
  std::vector<PassReport> reports;
  for (const Pass& pass : passes) {
    if (pass.level > context.level) continue;
    const auto& off = context.disabled;
    if (std::find(off.begin(), off.end(), pass.name) != off.end()) continue;
    reports.push_back(run_pass(pass, graph, context));
  }
  return reports;
}

}  // namespace tiercel
