// Runs pointwise programs on a GPU: the form of the operands, arguments, the launch.
#include "providers/cuda/pointwise.h"

#include "base/error.h"

namespace tiercel::cuda {
namespace {

constexpr unsigned kThreads = 256;

PointwiseForm form_of(const PointwiseProgram& program, const PointwiseWalk& walk,
                      TclTensor* const* inputs) {
  PointwiseForm form;
  bool strided = false;
  for (int i = 0; i < program.n_inputs; ++i) {
    const auto at = static_cast<size_t>(i);
    const bool absent = program.input_register[at] < 0 || inputs[i]->rank < 0;
    const PointwiseWalk::Mode mode = walk.mode[at];
    form.inputs.push_back(absent                                ? PointwiseForm::Operand::Absent
                          : mode == PointwiseWalk::Mode::Dense  ? PointwiseForm::Operand::Dense
                          : mode == PointwiseWalk::Mode::Scalar ? PointwiseForm::Operand::Scalar
                                                                : PointwiseForm::Operand::Strided);
    strided = strided || form.inputs.back() == PointwiseForm::Operand::Strided;
  }
  form.elements = elements_per_thread(program);
  if (!strided) return form;
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

}  // namespace

FunctionHandle Pointwise::kernel(const PointwiseForm& form) const {
  const std::lock_guard lock(mutex_);
  FunctionHandle& made = kernels_[form];
  if (made == nullptr) made = device_->function(pointwise_ptx(*program_, form), "pointwise");
  return made;
}

void Pointwise::run(TclTensor* const* inputs, TclTensor* const* outputs) const {
  PointwiseWalk walk;
  program_->walk(inputs, outputs, walk);
  if (walk.size == 0) return;
  if (walk.size > UINT32_MAX) {
    throw_error(ErrorKind::EPFail, "CUDAExecutionProvider: a pointwise program over ", walk.size,
                " elements; at most ", UINT32_MAX);
  }
  const PointwiseForm form = form_of(*program_, walk, inputs);
  std::vector<void*> addresses;
  for (int i = 0; i < program_->n_inputs; ++i) addresses.push_back(inputs[i]->data);
  for (int i = 0; i < program_->n_outputs; ++i) addresses.push_back(outputs[i]->data);
  auto size = static_cast<uint64_t>(walk.size);
  std::vector<uint32_t> words;  // dims, then strides of each strided operand
  const auto rank = static_cast<size_t>(form.rank);
  for (size_t d = 0; d < rank; ++d) words.push_back(static_cast<uint32_t>(walk.dims[d]));
  for (size_t i = 0; i < form.inputs.size(); ++i) {
    if (form.inputs[i] != PointwiseForm::Operand::Strided &&
        form.inputs[i] != PointwiseForm::Operand::Repeated)
      continue;
    for (size_t d = 0; d < rank; ++d) words.push_back(static_cast<uint32_t>(walk.strides[i][d]));
  }
  std::vector<void*> arguments;
  for (void*& one : addresses) arguments.push_back(&one);
  arguments.push_back(&size);
  if (!words.empty()) arguments.push_back(words.data());
  const int64_t threads = (walk.size + form.elements - 1) / form.elements;
  Grid grid;
  grid.threads = kThreads;
  grid.x = (threads + kThreads - 1) / kThreads;
  device_->launch(kernel(form), grid, arguments);
}

}  // namespace tiercel::cuda
