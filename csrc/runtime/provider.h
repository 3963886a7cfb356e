// An execution provider: says which nodes it can run and compiles them to steps. At most eight
// functions.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"
#include "runtime/step.h"

namespace tiercel {

class Provider {
 public:
  virtual ~Provider() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;  // "CPUExecutionProvider"
  // nullopt: the provider runs this node; else the reason why not.
  [[nodiscard]] virtual std::optional<std::string> refuses(const Graph& graph,
                                                           const Node& node) const = 0;
  // Where its steps read and write: inputs whose elements shapes depend on (OpDef::value_inputs)
  // are always in "cpu". A provider of another memory must compile tiercel.Copy in both directions
  // (attribute `to`), and has the functions below.
  [[nodiscard]] virtual std::string_view memory() const { return "cpu"; }
  // Uninitialised bytes of that memory.
  [[nodiscard]] virtual std::shared_ptr<Buffer> allocate(int64_t bytes) const {
    return Buffer::allocate(bytes);
  }
  // A constant in that memory; one copy serves all who ask for the same bytes.
  [[nodiscard]] virtual Tensor resident(const Tensor& constant) const { return constant; }
  // Held by a run while its steps go on.
  [[nodiscard]] virtual std::shared_ptr<void> enter() const { return nullptr; }
  // The node as a step. Shapes are concrete where they can be known before the run; others are
  // resolved at run time.
  [[nodiscard]] virtual Step compile(const Graph& graph, const Node& node) const = 0;
};

// Providers compiled into the library, by ONNX Runtime's names, most preferred first; the list is
// csrc/providers/list.cpp.
[[nodiscard]] std::vector<std::string> available_providers();
// What keeps a provider from starting on this machine; empty: nothing.
[[nodiscard]] std::string provider_missing(std::string_view name);
// Throws Error(EPFail) that names what is missing when the provider cannot start.
[[nodiscard]] std::shared_ptr<Provider> make_provider(
    std::string_view name, const std::vector<std::pair<std::string, std::string>>& options);

}  // namespace tiercel
