// Applies the rules of every family, each written in its own file.
#include "passes/edit.h"
#include "passes/passes.h"
#include "passes/rules.h"

namespace tiercel::passes {

bool fuse_patterns(Graph& graph, PassContext&) {
  static const std::vector<pattern::Rule> families[] = {
      activation_rules(),
      norm_rules(),
  };
  return each_graph(graph, [](Graph& g) {
    bool changed = false;
    for (const std::vector<pattern::Rule>& rules : families) {
      changed = pattern::rewrite(g, rules) || changed;
    }
    changed = fuse_attention(g) || changed;
    return fuse_attention_heads(g) || changed;
  });
}

}  // namespace tiercel::passes
