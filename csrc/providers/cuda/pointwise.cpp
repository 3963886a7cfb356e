// Runs pointwise programs on a GPU: the form of the operands, arguments, the launch.
#include "providers/cuda/pointwise.h"

#include <algorithm>

#include "base/error.h"
#include "providers/cuda/texts.h"

namespace tiercel::cuda {
namespace {

constexpr unsigned kThreads = 256;

bool walks(PointwiseForm::Operand operand) {
  return operand == PointwiseForm::Operand::Strided || operand == PointwiseForm::Operand::Repeated;
}

PointwiseForm form_of(const PointwiseProgram& program, const PointwiseWalk& walk,
                      TclTensor* const* inputs, bool inside) {
  PointwiseForm form;
  for (int i = 0; i < program.n_inputs; ++i) {
    const auto at = static_cast<size_t>(i);
    const bool absent = program.input_register[at] < 0 || inputs[i]->rank < 0;
    const PointwiseWalk::Mode mode = walk.mode[at];
    form.inputs.push_back(absent                                ? PointwiseForm::Operand::Absent
                          : mode == PointwiseWalk::Mode::Dense  ? PointwiseForm::Operand::Dense
                          : mode == PointwiseWalk::Mode::Scalar ? PointwiseForm::Operand::Scalar
                                                                : PointwiseForm::Operand::Strided);
  }
  if (inside) form.inputs[0] = PointwiseForm::Operand::Made;
  form.elements = inside ? 1 : elements_per_thread(program);
  if (std::ranges::none_of(form.inputs, walks)) return form;
  form.rank = walk.rank;
  const auto last = static_cast<size_t>(walk.rank - 1);
  int64_t together = form.elements;
  while (together > 1 && walk.dims[last] % together != 0) together /= 2;
  form.one_walk = together > 1;
  if (!form.one_walk) return form;
  form.elements = together;
  for (size_t i = 0; i < form.inputs.size(); ++i) {
    if (form.inputs[i] == PointwiseForm::Operand::Strided && walk.strides[i][last] == 0)
      form.inputs[i] = PointwiseForm::Operand::Repeated;
  }
  return form;
}

// Dims, then strides of each strided operand.
std::vector<uint32_t> walk_words(const PointwiseForm& form, const PointwiseWalk& walk) {
  std::vector<uint32_t> words;
  const auto rank = static_cast<size_t>(form.rank);
  for (size_t d = 0; d < rank; ++d) words.push_back(static_cast<uint32_t>(walk.dims[d]));
  for (size_t i = 0; i < form.inputs.size(); ++i) {
    if (!walks(form.inputs[i])) continue;
    for (size_t d = 0; d < rank; ++d) words.push_back(static_cast<uint32_t>(walk.strides[i][d]));
  }
  return words;
}

PointwiseWalk walk_of(const PointwiseProgram& program, TclTensor* const* inputs,
                      TclTensor* const* outputs) {
  PointwiseWalk walk;
  program.walk(inputs, outputs, walk);
  if (walk.size > UINT32_MAX) {
    throw_error(ErrorKind::EPFail, "CUDAExecutionProvider: a pointwise program over ", walk.size,
                " elements; at most ", UINT32_MAX);
  }
  return walk;
}

}  // namespace

FunctionHandle Pointwise::kernel(const PointwiseForm& form) const {
  const std::lock_guard lock(mutex_);
  FunctionHandle& made = kernels_[form];
  if (made == nullptr) made = device_->function(pointwise_ptx(*program_, form), "pointwise");
  return made;
}

FunctionHandle Pointwise::kernel_around(const PointwiseForm& form, std::string_view file,
                                        const std::string& entry, DType dtype) const {
  const std::lock_guard lock(mutex_);
  const auto [found, is_new] = around_.try_emplace({entry, form}, nullptr);
  if (!is_new) return found->second;
  const PointwiseProgram& inside = program_->of_sums ? *program_->of_sums : *program_;
  PointwiseInside made = pointwise_inside(inside, form, dtype);
  made.wide = program_->of_sums != nullptr && dtype == DType::Float;
  const std::string text = entry_with_program(device_text(*module_text(file)), entry, made);
  if (!text.empty()) found->second = device_->function(text, entry.c_str());
  return found->second;
}

void Pointwise::run(TclTensor* const* inputs, TclTensor* const* outputs) const {
  const PointwiseWalk walk = walk_of(*program_, inputs, outputs);
  if (walk.size == 0) return;
  const PointwiseForm form = form_of(*program_, walk, inputs, false);
  Arguments arguments;
  for (int i = 0; i < program_->n_inputs; ++i) arguments.add(inputs[i]->data);
  for (int i = 0; i < program_->n_outputs; ++i) arguments.add(outputs[i]->data);
  arguments.add(static_cast<uint64_t>(walk.size)).add_words(walk_words(form, walk));
  const int64_t threads = groups_of(walk.size, form.elements);
  Grid grid;
  grid.threads = kThreads;
  grid.x = groups_of(threads, kThreads);
  arguments.launch(*device_, kernel(form), grid);
}

bool Pointwise::launch_inside(std::string_view file, const std::string& entry, Arguments& arguments,
                              const Grid& grid, TclTensor* const* inputs) const {
  const PointwiseWalk walk = walk_of(*program_, inputs, inputs);
  const PointwiseForm form = form_of(*program_, walk, inputs, true);
  const auto dtype = static_cast<DType>(inputs[0]->dtype);
  const FunctionHandle function = kernel_around(form, file, entry, dtype);
  if (function == nullptr) return false;
  for (int i = 1; i < program_->n_inputs; ++i) arguments.add(inputs[i]->data);
  arguments.add_words(walk_words(form, walk)).launch(*device_, function, grid);
  return true;
}

}  // namespace tiercel::cuda
