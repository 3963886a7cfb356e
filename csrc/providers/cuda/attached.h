// Pointwise programs that hang on a node which is not one: in front of it or behind it.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "providers/cuda/pointwise.h"
#include "runtime/step.h"

namespace tiercel {
class RunContext;
}

namespace tiercel::cuda {

// nullopt: a GPU runs what the attribute (`epilogue`, `prologue`) hangs on the node; else why not.
[[nodiscard]] std::optional<std::string> attached_refuses(const Node& node,
                                                          std::string_view attribute);

// A program of a node, bound to the inputs of its step.
class Attached {
 public:
  Attached() = default;
  // Adds the captures of the node's program, where it has one, to the inputs of its step.
  Attached(const Node& node, std::string_view attribute, Step& step,
           const std::shared_ptr<Device>& device);
  explicit operator bool() const { return program_ != nullptr; }
  // Bits of one element of the result.
  [[nodiscard]] int64_t result_bits() const;
  // Gives the work to the GPU: from `from`, which may be `to`.
  void run(TclTensor* from, TclTensor* to, const Step& step, RunContext& context) const;
  // The same on output 0 of the step; nothing where the node has no program.
  void run_on_output(const Step& step, RunContext& context) const;

 private:
  std::shared_ptr<const Pointwise> program_;
  size_t first_ = 0, captures_ = 0;  // among the step's inputs
};

}  // namespace tiercel::cuda
