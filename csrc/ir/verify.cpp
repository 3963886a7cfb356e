// Checks the structure of a graph and of its bodies.
#include "ir/verify.h"

#include <algorithm>

namespace tiercel {

namespace {

class Verifier {
 public:
  explicit Verifier(const Graph& graph) : graph_(graph) {}

  void run() {
    mark_sources();
    check_order();
    for (NodeId id : graph_.order) check_node(id);
    for (ValueId id : graph_.outputs) check_available(id, "graph output");
  }

 private:
  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    throw_error(ErrorKind::InvalidGraph, "graph \"", graph_.name, "\": ", parts...);
  }

  [[nodiscard]] bool in_range(ValueId id) const {
    return id >= 0 && static_cast<size_t>(id) < graph_.values.size();
  }

  // What is there before any node runs.
  void mark_sources() {
    available_.assign(graph_.values.size(), false);
    const auto mark = [&](ValueId id, const char* what) {
      if (!in_range(id)) fail(what, " refers to value ", id, " of ", graph_.values.size());
      available_[static_cast<size_t>(id)] = true;
    };
    for (ValueId id : graph_.inputs) mark(id, "an input");
    for (ValueId id : graph_.overridable) mark(id, "an overridable initialiser");
    for (const Capture& capture : graph_.captures) mark(capture.inner, "a capture");
    for (size_t i = 0; i < graph_.values.size(); ++i) {
      const ValueInfo& value = graph_.values[i];
      if (value.constant || value.sparse) available_[i] = true;
    }
  }

  void check_order() const {
    std::vector<int> seen(graph_.nodes.size(), 0);
    for (NodeId id : graph_.order) {
      if (id < 0 || static_cast<size_t>(id) >= graph_.nodes.size()) {
        fail("the order names node ", id, " of ", graph_.nodes.size());
      }
      ++seen[static_cast<size_t>(id)];
    }
    for (size_t i = 0; i < seen.size(); ++i) {
      const int expected = graph_.nodes[i].removed ? 0 : 1;
      if (seen[i] != expected) {
        fail(where(graph_.nodes[i]), " is ", seen[i], " times in the order, expected ", expected);
      }
    }
  }

  void check_available(ValueId id, const std::string& who) const {
    if (!in_range(id)) fail(who, " refers to value ", id, " of ", graph_.values.size());
    if (!available_[static_cast<size_t>(id)]) {
      fail(who, " reads \"", graph_.value(id).name, "\", which nothing before it makes");
    }
  }

  void check_node(NodeId id) {
    const Node& node = graph_.node(id);
    const std::string name = where(node);
    for (ValueId in : node.inputs) {
      if (in != kNone) check_available(in, name);
    }
    for (const std::shared_ptr<Graph>& body : subgraphs(node)) {
      for (const Capture& capture : body->captures) check_available(capture.outer, name);
      Verifier(*body).run();
    }
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const ValueId out = node.outputs[i];
      if (out == kNone) continue;
      if (!in_range(out)) fail(name, " writes value ", out, " of ", graph_.values.size());
      const ValueInfo& value = graph_.value(out);
      if (available_[static_cast<size_t>(out)]) {
        fail(name, " writes \"", value.name, "\", which is made already");
      }
      if (value.producer != id || value.producer_output != static_cast<int32_t>(i)) {
        fail(name, " writes \"", value.name, "\", which names another producer");
      }
      available_[static_cast<size_t>(out)] = true;
    }
  }

  const Graph& graph_;
  std::vector<bool> available_;
};

}  // namespace

void verify(const Graph& graph) { Verifier(graph).run(); }

}  // namespace tiercel
