// The pointwise program behind a launched operator.
#include "providers/cuda/attached.h"

#include "runtime/executor.h"

namespace tiercel::cuda {

std::optional<std::string> epilogue_refuses(const Node& node) {
  if (node.attributes.find("prologue") != nullptr) return "a program in front of it";
  const auto program = compile_attached(node, "epilogue");
  return program ? pointwise_ptx_refuses(*program) : std::nullopt;
}

Epilogue::Epilogue(const Node& node, Step& step, const std::shared_ptr<Device>& device)
    : captures_(step.inputs.size()) {
  auto program = compile_attached(node, "epilogue");
  if (!program) return;
  const auto* body = node.attributes.get<std::shared_ptr<Graph>>("epilogue");
  for (const Capture& capture : (*body)->captures) step.inputs.push_back(capture.outer);
  program_ = std::make_shared<const Pointwise>(std::move(program), device);
}

void Epilogue::run(const Step& step, RunContext& context) const {
  if (!program_) return;
  TclTensor* output = context.tensor(step.outputs[0]);
  std::vector<TclTensor*> inputs{output};
  for (size_t i = captures_; i < step.inputs.size(); ++i) {
    inputs.push_back(context.tensor(step.inputs[i]));
  }
  program_->run(inputs.data(), &output);
}

}  // namespace tiercel::cuda
