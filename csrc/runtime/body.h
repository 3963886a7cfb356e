// The body of a control flow node, and runs of it one after the other that use memory again.
#pragma once
#include <memory>
#include <vector>

#include "runtime/program.h"

namespace tiercel {

// A body with the values of the outer graph that it reads.
struct Body {
  std::unique_ptr<Program> program;
  std::vector<ValueId> captured;  // outer ids
  size_t n_inputs = 0;
  size_t n_overridable = 0;
  std::vector<DeviceMemory*> memories;  // of its outputs; nullptr: the host's
};

// Equal tensors one behind the other along a new axis 0, in memory that grows.
class Slices {
 public:
  Slices(int64_t most, DeviceMemory* device) : device_(device), most_(most) {}
  // Whether tensors of this type can lie behind each other.
  static bool takes(DType dtype) { return dtype != DType::String && dtype_bits(dtype) >= 8; }
  // Whether such tensors may be used where they lie behind each other: devices read up to 16 bytes
  // at once from where a tensor begins.
  static bool in_place(const DeviceMemory* device, int64_t bytes) {
    return device == nullptr || bytes % 16 == 0;
  }
  // Memory for the next slice; throws Error(InvalidArgument) when the dims are others than before.
  void* next(DType dtype, std::span<const int64_t> dims);
  void add(const Tensor& slice);  // in this memory or elsewhere
  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] Tensor take() { return first(all_, count_); }

 private:
  static Tensor first(const Tensor& all, int64_t count);  // where they lie

  DeviceMemory* device_;
  int64_t most_;  // slices that there may be
  int64_t count_ = 0, capacity_ = 0, bytes_ = 0;
  Dims dims_;
  Tensor all_;
};

// Runs of one body within one run of its node.
class BodyCalls final : public OutputSink {
 public:
  BodyCalls(const Body& body, RunContext& context);
  // Output `index` of the runs to come is collected.
  void collect(size_t index, Slices& slices) { slices_[index] = &slices; }
  void set_input(size_t index, Value value) { inputs_[index] = std::move(value); }
  // A scalar input, in the memory of the last one where nobody else has it.
  template <class T>
  void set_scalar(size_t index, DType dtype, T value) {
    const Tensor* old = inputs_[index].tensor();
    if (old == nullptr || old->buffer().use_count() != 1) inputs_[index] = Tensor(dtype, {});
    *inputs_[index].tensor()->data<T>() = value;
  }
  [[nodiscard]] Value& input(size_t index) { return inputs_[index]; }
  void run();
  [[nodiscard]] Value& output(size_t index) { return outputs_[index]; }
  // Output `from` of the last run becomes input `to` of the next, and the memory of that input an
  // output's of the next.
  void carry(size_t from, size_t to);

  void* allocate(int index, DType dtype, std::span<const int64_t> dims) override;
  void set(int index, Value value) override;

 private:
  const Body& body_;
  RunContext& context_;
  std::vector<Value> inputs_, outputs_;
  std::vector<int> wanted_;
  std::vector<Slices*> slices_;  // per output
  std::vector<Tensor> spare_;    // per output: memory that nobody reads any more
  std::vector<bool> own_;        // per input: made by a run of the body
};

}  // namespace tiercel
