// Pointwise programs in front of a node and behind it.
#include "providers/cuda/attached.h"

#include "base/error.h"
#include "runtime/executor.h"

namespace tiercel::cuda {

std::optional<std::string> attached_refuses(const Node& node, std::string_view attribute) {
  const auto program = compile_attached(node, attribute);
  if (!program) return std::nullopt;
  for (const PointwiseProgram::Register& reg : program->registers) {
    if (reg.bits < 8) return "packed elements of a program in front of a node or behind it";
  }
  if (program->of_sums) {
    if (auto refusal = pointwise_ptx_refuses(*program->of_sums)) return refusal;
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
  step.kernel += concat(", ", attribute, " of ", program->instructions.size());
  program_ = std::make_shared<const Pointwise>(std::move(program), device);
}

int64_t Attached::result_bits() const {
  const PointwiseProgram& program = program_->program();
  return program.registers[static_cast<size_t>(program.output_register[0])].bits;
}

std::vector<TclTensor*> Attached::inputs(TclTensor* from, const Step& step,
                                         RunContext& context) const {
  std::vector<TclTensor*> all{from};
  for (size_t i = 0; i < captures_; ++i) all.push_back(context.tensor(step.inputs[first_ + i]));
  return all;
}

bool Attached::launch_inside(std::string_view file, const std::string& entry, Arguments& arguments,
                             const Grid& grid, const Step& step, RunContext& context) const {
  TclTensor* const output = context.tensor(step.outputs[0]);
  return program_->launch_inside(file, entry, arguments, grid,
                                 inputs(output, step, context).data());
}

void Attached::run(TclTensor* from, TclTensor* to, const Step& step, RunContext& context) const {
  program_->run(inputs(from, step, context).data(), &to);
}

void Attached::run_on_output(const Step& step, RunContext& context) const {
  TclTensor* output = context.tensor(step.outputs[0]);
  if (program_) run(output, output, step, context);
}

void Results::launch(Device& device, std::string_view file, const std::string& entry,
                     Arguments& arguments, const Grid& grid) const {
  const bool with_program = epilogue_ != nullptr && *epilogue_;
  if (with_program && epilogue_->launch_inside(file, entry, arguments, grid, *step_, *context_)) {
    return;
  }
  arguments.launch(device, cuda_function(device, file, entry), grid);
  if (with_program) epilogue_->run_on_output(*step_, *context_);
}

}  // namespace tiercel::cuda
