// Runs pointwise programs on a GPU.
#pragma once
#include <map>
#include <memory>
#include <mutex>

#include "providers/cuda/device.h"
#include "providers/cuda/pointwise_ptx.h"

namespace tiercel::cuda {

// A program with its kernels, one per form of its operands; safe for many threads.
class Pointwise {
 public:
  Pointwise(std::shared_ptr<const PointwiseProgram> program, std::shared_ptr<Device> device)
      : program_(std::move(program)), device_(std::move(device)) {}

  [[nodiscard]] const PointwiseProgram& program() const { return *program_; }
  // Gives the work to the GPU; outputs may be inputs that are as large.
  void run(TclTensor* const* inputs, TclTensor* const* outputs) const;

 private:
  [[nodiscard]] FunctionHandle kernel(const PointwiseForm& form) const;

  std::shared_ptr<const PointwiseProgram> program_;
  std::shared_ptr<Device> device_;
  mutable std::mutex mutex_;
  mutable std::map<PointwiseForm, FunctionHandle> kernels_;
};

}  // namespace tiercel::cuda
