// Pointwise programs in front of a node and behind it.
#include "providers/cuda/attached.h"

#include "runtime/executor.h"

namespace tiercel::cuda {

std::optional<std::string> attached_refuses(const Node& node, std::string_view attribute) {
  const auto program = compile_attached(node, attribute);
  if (!program) return std::nullopt;
  for (const PointwiseProgram::Register& reg : program->registers) {
    if (reg.bits < 8) return "packed elements of a program in front of a node or behind it";
  }
  return pointwise_ptx_refuses(*program);
}

Attached::Attached(const Node& node, std::string_view attribute, Step& step,
                   const std::shared_ptr<Device>& device)
    : first_(step.inputs.size()) {
  auto program = compile_attached(node, attribute);
  if (!program) return;
  const auto* body = node.attributes.get<std::shared_ptr<Graph>>(attribute);
  for (const Capture& capture : (*body)->captures) step.inputs.push_back(capture.outer);
  captures_ = step.inputs.size() - first_;
  program_ = std::make_shared<const Pointwise>(std::move(program), device);
}

int64_t Attached::result_bits() const {
  const PointwiseProgram& program = program_->program();
  return program.registers[static_cast<size_t>(program.output_register[0])].bits;
}

void Attached::run(TclTensor* from, TclTensor* to, const Step& step, RunContext& context) const {
  std::vector<TclTensor*> inputs{from};
  for (size_t i = 0; i < captures_; ++i) {
    inputs.push_back(context.tensor(step.inputs[first_ + i]));
  }
  program_->run(inputs.data(), &to);
}

void Attached::run_on_output(const Step& step, RunContext& context) const {
  TclTensor* output = context.tensor(step.outputs[0]);
  if (program_) run(output, output, step, context);
}

}  // namespace tiercel::cuda
