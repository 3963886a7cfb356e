// Pointwise programs that hang on a node which is not one: in front of it or behind it.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

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
  // Where the node has a program: adds its captures to the inputs of the step, and its length to
  // what people see as the step's kernel.
  Attached(const Node& node, std::string_view attribute, Step& step,
           const std::shared_ptr<Device>& device);
  explicit operator bool() const { return program_ != nullptr; }
  // Bits of one element of the result.
  [[nodiscard]] int64_t result_bits() const;
  // Launches the entry that makes output 0 of the step with the program inside it; false where the
  // entry has no place for it.
  [[nodiscard]] bool launch_inside(std::string_view file, const std::string& entry,
                                   Arguments& arguments, const Grid& grid, const Step& step,
                                   RunContext& context) const;
  // Gives the work to the GPU: from `from`, which may be `to`.
  void run(TclTensor* from, TclTensor* to, const Step& step, RunContext& context) const;
  // The same on output 0 of the step; nothing where the node has no program.
  void run_on_output(const Step& step, RunContext& context) const;

 private:
  // `from`, then the captures.
  [[nodiscard]] std::vector<TclTensor*> inputs(TclTensor* from, const Step& step,
                                               RunContext& context) const;

  std::shared_ptr<const Pointwise> program_;
  size_t first_ = 0, captures_ = 0;  // among the step's inputs
};

// What one run makes of the results of a kernel, which are output 0 of its step: they go through
// the node's epilogue, inside the kernel where that has a place for it.
class Results {
 public:
  Results() = default;  // they stay as they are
  Results(const Attached& epilogue, const Step& step, RunContext& context)
      : epilogue_(&epilogue), step_(&step), context_(&context) {}
  // Launches the only entry of a file of kernels/cuda that writes them.
  void launch(Device& device, std::string_view file, const std::string& entry, Arguments& arguments,
              const Grid& grid) const;

 private:
  const Attached* epilogue_ = nullptr;
  const Step* step_ = nullptr;
  RunContext* context_ = nullptr;
};

}  // namespace tiercel::cuda
