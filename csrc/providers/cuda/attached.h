// The pointwise program behind a launched operator: it runs over the operator's output.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "providers/cuda/pointwise.h"
#include "runtime/step.h"

namespace tiercel {
class RunContext;
}

namespace tiercel::cuda {

// nullopt: a GPU runs what hangs on the node, and it is nothing but an epilogue; else why not.
[[nodiscard]] std::optional<std::string> epilogue_refuses(const Node& node);

class Epilogue {
 public:
  Epilogue() = default;
  // Adds the captures of the node's epilogue to the inputs of its step.
  Epilogue(const Node& node, Step& step, const std::shared_ptr<Device>& device);
  // Gives the work on output 0 of the step to the GPU; nothing where the node has no epilogue.
  void run(const Step& step, RunContext& context) const;

 private:
  std::shared_ptr<const Pointwise> program_;
  size_t captures_ = 0;  // index of the first among the step's inputs
};

}  // namespace tiercel::cuda
