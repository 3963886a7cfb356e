// Operators that have kernels of their own in kernels/cuda: who runs what, and how it is launched.
#pragma once
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "providers/cuda/device.h"
#include "runtime/step.h"

namespace tiercel::cuda {

// One operator. A node that it refuses may still run by the kernel table.
struct LaunchedOp {
  std::string_view domain, op;
  // nullopt: runs; else why not.
  std::optional<std::string> (*refuses)(const Graph& graph, const Node& node);
  Step (*compile)(const Graph& graph, const Node& node, const std::shared_ptr<Device>& device);
  // The same where floats may be multiplied as tf32; nullptr: `compile`.
  Step (*compile_tf32)(const Graph& graph, const Node& node,
                       const std::shared_ptr<Device>& device) = nullptr;
  bool of_library = true;  // by kernels of kernels/cuda
};

// A function of a family that compiles either way, as one of the two.
template <Step (*compile)(const Graph&, const Node&, const std::shared_ptr<Device>&, bool),
          bool tf32>
[[nodiscard]] Step compiled(const Graph& graph, const Node& node,
                            const std::shared_ptr<Device>& device) {
  return compile(graph, node, device, tf32);
}

// nullptr: the operator has no kernel of its own.
[[nodiscard]] const LaunchedOp* find_launched(const Node& node);
// nullopt: the operator's own kernel runs the node; else why not.
[[nodiscard]] std::optional<std::string> launch_refuses(const LaunchedOp& op, const Graph& graph,
                                                        const Node& node);
// As find_launched, of operators that users have added.
[[nodiscard]] const LaunchedOp* find_custom(const Node& node);

// Families, a file each.
[[nodiscard]] std::vector<LaunchedOp> product_ops();
[[nodiscard]] std::vector<LaunchedOp> row_ops();
[[nodiscard]] std::vector<LaunchedOp> reduction_ops();
[[nodiscard]] std::vector<LaunchedOp> attention_ops();
[[nodiscard]] std::vector<LaunchedOp> conv_ops();
[[nodiscard]] std::vector<LaunchedOp> move_ops();
[[nodiscard]] std::vector<LaunchedOp> gather_ops();
[[nodiscard]] std::vector<LaunchedOp> pool_ops();
[[nodiscard]] std::vector<LaunchedOp> resize_ops();
[[nodiscard]] std::vector<LaunchedOp> recurrent_ops();
[[nodiscard]] std::vector<LaunchedOp> byte_product_ops();
[[nodiscard]] std::vector<LaunchedOp> byte_conv_ops();
[[nodiscard]] std::vector<LaunchedOp> byte_lstm_ops();
[[nodiscard]] std::vector<LaunchedOp> weight_ops();

// An entry of a file of kernels/cuda. Throws Error(EPFail) where the library was built without
// them.
[[nodiscard]] FunctionHandle cuda_function(Device& device, std::string_view file,
                                           const std::string& entry);
// "f32", "f16", "bf16" … of an element type, as names of kernels have it; empty: none.
[[nodiscard]] std::string_view type_suffix(DType dtype);

// The tensor of a value that is the same in all runs, maybe by way of its copy to the GPU; nullptr
// where there is none. Its memory is the host's.
[[nodiscard]] const Tensor* constant_behind(const Graph& graph, ValueId id);
// Whether `id` is absent, or a constant of zeros.
[[nodiscard]] bool is_nothing(const Graph& graph, ValueId id);
// Input `i` of a node; kNone where it has none.
[[nodiscard]] ValueId input_of(const Node& node, size_t i);

[[nodiscard]] Dims dims_of(const TclTensor& tensor);
[[nodiscard]] Dims dense_strides(const Dims& dims);
[[nodiscard]] inline Dims strides_of(const TclTensor& tensor) {
  return dense_strides(dims_of(tensor));
}

// A step of a node before it has its state; people see the name of its kernel and the type of
// input 0.
[[nodiscard]] Step launched_step(const Graph& graph, const Node& node, StepFn run,
                                 std::string_view kernel);

// Arguments of one launch, by value and in order.
class Arguments {
 public:
  template <class T>
  Arguments& add(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    offsets_.push_back((bytes_.size() + 15) / 16 * 16);
    bytes_.resize(offsets_.back() + sizeof(T));
    std::memcpy(bytes_.data() + offsets_.back(), &value, sizeof(T));
    return *this;
  }
  // One array; nothing where it is empty.
  Arguments& add_words(const std::vector<uint32_t>& words);
  void launch(Device& device, FunctionHandle function, const Grid& grid);

 private:
  std::vector<std::byte> bytes_;
  std::vector<size_t> offsets_;
};

// The smallest number of groups of `size` that hold `count`.
[[nodiscard]] inline int64_t groups_of(int64_t count, int64_t size) {
  return (count + size - 1) / size;
}

}  // namespace tiercel::cuda
