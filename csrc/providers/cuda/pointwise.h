// Runs pointwise programs on a GPU.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "providers/cuda/launched.h"
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
  // Launches an entry of a file of kernels/cuda, which makes input 0, with the program inside it;
  // false where it has no place for it. `arguments` are the entry's own; the results go to
  // inputs[0].
  [[nodiscard]] bool launch_inside(std::string_view file, const std::string& entry,
                                   Arguments& arguments, const Grid& grid,
                                   TclTensor* const* inputs) const;

 private:
  [[nodiscard]] FunctionHandle kernel(const PointwiseForm& form) const;
  [[nodiscard]] FunctionHandle kernel_around(const PointwiseForm& form, std::string_view file,
                                             const std::string& entry, DType dtype) const;

  std::shared_ptr<const PointwiseProgram> program_;
  std::shared_ptr<Device> device_;
  mutable std::mutex mutex_;
  mutable std::map<PointwiseForm, FunctionHandle> kernels_;
  // By entry; nullptr: it has no place for the program.
  mutable std::map<std::pair<std::string, PointwiseForm>, FunctionHandle> around_;
};

}  // namespace tiercel::cuda
