// An execution provider: says which nodes it can run and compiles them to steps.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/device_memory.h"
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
  // Where its steps read and write; nullptr: in the host's memory. Inputs whose elements shapes
  // depend on (OpDef::value_inputs) are always there. A provider with a memory of its own must
  // compile tiercel.Copy in both directions (attribute `to`).
  [[nodiscard]] virtual DeviceMemory* device() const { return nullptr; }
  [[nodiscard]] std::string_view memory() const { return device() ? device()->name() : "cpu"; }
  // The node as a step. Shapes are concrete where they can be known before the run; others are
  // resolved at run time.
  [[nodiscard]] virtual Step compile(const Graph& graph, const Node& node) const = 0;
  // At the end of a run that used the device: waits for its work. Throws what went wrong in it,
  // with the node's name.
  virtual void finish(RunContext&) const {}
  // Whether steps that do the same in each run are recorded, and given again as a whole.
  [[nodiscard]] virtual bool records() const { return false; }
  // What `work` gives to the device, recorded and not done; nullptr where that cannot be.
  [[nodiscard]] virtual std::shared_ptr<void> record(const std::function<void()>&) const {
    return nullptr;
  }
  virtual void replay(void*) const {}
};

// Providers compiled into the library, by ONNX Runtime's names, most preferred first; the list is
// csrc/providers/list.cpp.
[[nodiscard]] std::vector<std::string> available_providers();
// What keeps a provider from starting on this machine; empty: nothing.
[[nodiscard]] std::string provider_missing(std::string_view name);
// Throws Error(EPFail) that names what is missing when the provider cannot start.
[[nodiscard]] std::shared_ptr<Provider> make_provider(
    std::string_view name, const std::vector<std::pair<std::string, std::string>>& options);

// The memory of a device, for ever: "cuda" and its number, or "cpu" and 0, which is nullptr. Throws
// Error(InvalidArgument) for another, Error(EPFail) that names what is missing.
[[nodiscard]] DeviceMemory* device_memory(std::string_view name, int number);
// The memory of the GPU that has an address. Throws Error(InvalidArgument) when none has it.
[[nodiscard]] DeviceMemory* device_memory_at(uintptr_t address);

}  // namespace tiercel
