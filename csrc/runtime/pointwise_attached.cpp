// Runs a pointwise program that hangs on a kernel: its epilogue or prologue, bound to one call.
#include <algorithm>
#include <utility>

#include "runtime/pointwise.h"

namespace tiercel {

void AttachedProgram::bind(const PointwiseProgram& bound, TclTensor* main,
                           TclTensor* const* captures) {
  program_ = &bound;
  main_ = main->data;
  std::array<TclTensor*, kPointwiseOperands> inputs{};
  inputs[0] = main;
  for (int i = 1; i < bound.n_inputs; ++i) {
    inputs[static_cast<size_t>(i)] = captures[i - 1];
    operands_[static_cast<size_t>(i - 1)] = captures[i - 1]->data;
  }
  TclTensor* const outputs[] = {main};
  bound.walk(inputs.data(), outputs, walk_);
}

int64_t AttachedProgram::bits() const {
  return program_->registers[static_cast<size_t>(program_->output_register[0])].bits;
}

void AttachedProgram::compute(const PointwiseProgram& program, const void* from, void* to,
                              const PointwiseRows& rows) const {
  std::array<const void*, kPointwiseOperands> in;
  in[0] = from;
  for (int i = 1; i < program.n_inputs; ++i) {
    in[static_cast<size_t>(i)] = operands_[static_cast<size_t>(i - 1)];
  }
  program.run_range(walk_, in.data(), &to, rows);
}

void AttachedProgram::run(void* to, int64_t begin, int64_t end) const {
  const int64_t start = begin * walk_.unit;
  compute(*program_, main_, to, {start, std::min(end * walk_.unit, walk_.size) - start});
}

void AttachedProgram::apply(const void* context, void* data, int64_t start, int64_t count) {
  apply_rows(context, data, start, count, 1, 0);
}

void AttachedProgram::apply_rows(const void* context, void* data, int64_t start, int64_t count,
                                 int64_t rows, int64_t stride) {
  const auto& self = *static_cast<const AttachedProgram*>(context);
  std::byte* base = static_cast<std::byte*>(data) - start * self.bits() / 8;
  self.compute(*self.program_, base, base, {start, count, rows, stride});
}

// Without `data`, which kernels find by the type of their sums: the result may be wider.
void AttachedProgram::apply_sums(const void* context, const float* sums, int64_t sums_stride, void*,
                                 int64_t start, int64_t count, int64_t rows, int64_t stride) {
  const auto& self = *static_cast<const AttachedProgram*>(context);
  if (count == stride && count == sums_stride) count *= std::exchange(rows, 1);  // they touch
  self.compute(*self.program_->of_sums, sums - start, self.main_,
               {start, count, rows, stride, sums_stride});
}

void AttachedProgram::fill(const void* context, void* to, int64_t start, int64_t count) {
  const auto& self = *static_cast<const AttachedProgram*>(context);
  std::byte* base = static_cast<std::byte*>(to) - start * self.bits() / 8;
  self.compute(*self.program_, self.main_, base, {start, count});
}

}  // namespace tiercel
