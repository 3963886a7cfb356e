// Runs plans: the values of one run, and the loop over its steps.
#pragma once
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "runtime/plan.h"
#include "runtime/profile.h"
#include "runtime/run.h"
#include "tiercel/kernel.h"

namespace tiercel {

// What all runs of a session share.
struct RunEnvironment {
  int threads = 1;
  const RunOptions* options = nullptr;
  Profiler* profiler = nullptr;  // nullptr: off
};

// The values of one run of one plan. Used again by later runs, by one thread at a time.
class RunContext {
 public:
  explicit RunContext(std::shared_ptr<const Plan> plan);

  // Computes the outputs in `wanted` into `sink`; `feeds` has one Value per plan input.
  void run(std::span<const Value> feeds, std::span<const int> wanted,
           const RunEnvironment& environment, OutputSink& sink);

  [[nodiscard]] const Plan& plan() const { return *plan_; }
  [[nodiscard]] const Graph& graph() const { return plan_->graph; }
  [[nodiscard]] const Node& node(const Step& step) const { return plan_->graph.node(step.node); }
  [[nodiscard]] const RunEnvironment& environment() const { return *environment_; }

  // The tensor as kernels see it; kNone gives the absent tensor.
  [[nodiscard]] TclTensor* tensor(ValueId id) {
    return id == kNone ? &absent_ : &tensors_[static_cast<size_t>(id)];
  }
  // The value as host operators and bodies see it.
  [[nodiscard]] Value value(ValueId id) const;
  void set_value(ValueId id, Value value);
  // Infers the outputs of a step from what its inputs are in this run; gives the node.
  const Node& infer(const Step& step);
  [[nodiscard]] const Type& live_type(ValueId id) const { return live_->value(id).type; }

  // Memory for one step, 64-byte aligned; valid until the next call.
  [[nodiscard]] void* workspace(int64_t bytes) { return reserve(workspace_, bytes); }
  [[nodiscard]] std::byte* scratch(int64_t bytes) {
    return static_cast<std::byte*>(reserve(scratch_, bytes));
  }

 private:
  static void* reserve(std::shared_ptr<Buffer>& buffer, int64_t bytes);
  void bind(std::span<const Value> feeds, std::span<const int> wanted, OutputSink& sink);
  [[nodiscard]] bool is_idle(const Step& step) const;
  void run_step(size_t index);
  void run_steps();
  void run_segment(size_t index);
  void prepare_dynamic(size_t index);
  bool take_over(ValueId from, ValueId out, DType dtype, const Dims& dims);
  void finish_dynamic(const Step& step);
  void allocate(ValueId id, DType dtype, Dims dims);
  void set_tensor(ValueId id, const Tensor& tensor);
  void set_bytes(ValueId root, void* data);
  void profile_step(size_t index, int64_t start, int64_t took);
  [[nodiscard]] int64_t traced_bytes(ValueId id);
  void give_outputs(std::span<const int> wanted, OutputSink& sink);
  void finish();
  // Of the memory that a value is in; nullptr: the host's.
  [[nodiscard]] DeviceMemory* device_of(ValueId id) const {
    return plan_->memories[static_cast<size_t>(plan_->places[static_cast<size_t>(id)].memory)]
        .device();
  }
  void clear();

  std::shared_ptr<const Plan> plan_;
  const RunEnvironment* environment_ = nullptr;
  std::vector<TclTensor> tensors_;
  std::vector<Dims> dims_;
  std::vector<Value> values_;
  std::span<const Value> feeds_;
  std::span<const int> wanted_;
  std::vector<std::shared_ptr<Buffer>> arenas_;  // one per memory of the plan
  std::shared_ptr<Buffer> workspace_, scratch_;
  // A segment of the plan: where its values were in the last run, and its recording for that.
  struct Recorded {
    std::vector<const void*> addresses;
    std::shared_ptr<void> recording;
    bool seen = false, refused = false;
  };
  std::vector<Recorded> recorded_;
  std::vector<std::shared_ptr<Buffer>> output_buffers_;  // of outputs that the sink left to us
  std::vector<bool> output_done_;
  std::unique_ptr<Graph> live_;  // for inference at run
  TclTensor absent_{nullptr, nullptr, -1, 0, 0};
};

}  // namespace tiercel
