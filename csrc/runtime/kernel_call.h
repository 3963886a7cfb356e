// Calls of kernels before they are made: which row takes one, what is known of it when its node is
// compiled, and what an error code says to people.
#pragma once
#include <functional>
#include <span>
#include <vector>

#include "runtime/kernel_table.h"

namespace tiercel {

inline constexpr TclEpilogue kNoEpilogue{nullptr, nullptr, nullptr, nullptr};
inline constexpr TclPrologue kNoPrologue{nullptr, nullptr};

// Of a tensor as kernels see it.
[[nodiscard]] inline int64_t tensor_bytes(const TclTensor& tensor) {
  return dtype_bytes(static_cast<DType>(tensor.dtype), tensor.size);
}

// The first match that supports the call; throws Error(NotImplemented) with the reasons of all.
// `prepare(match)` sets up what else of the call depends on the match.
[[nodiscard]] size_t choose_kernel(std::span<const KernelMatch> matches, TclCall& call,
                                   const Node& node, const std::function<void(size_t)>& prepare);

// Throws what a kernel that gave `code` found wrong.
[[noreturn]] void report_kernel_error(const Node& node, const TclCall& call, int32_t code);

// Tensors of a node as they are known when it is compiled: constants have data, others only dims.
class StaticCall {
 public:
  StaticCall(const Graph& graph, const Node& node);
  // The first match that supports the call when it has packed the constants that it packs.
  [[nodiscard]] size_t choose(std::span<const KernelMatch> matches, const Node& node);

  bool known = true;  // every shape is
  TclCall call{};

 private:
  void expect_packed(const TclKernel& kernel);
  void add(const Graph& graph, ValueId id);

  std::vector<TclTensor> tensors_;
  std::vector<Dims> dims_;
  std::vector<TclTensor*> pointers_;
  std::vector<void*> packed_;
  std::vector<bool> constant_;    // per input
  int64_t placeholder_[64] = {};  // what `supports` sees of a small operand that arrives at run
};

}  // namespace tiercel
