// Calls of kernels before they are made.
#include "runtime/kernel_call.h"

#include <iterator>

#include "ops/op_def.h"

namespace tiercel {
namespace {

const char* reason_text(const TclKernel& kernel, int32_t code) {
  for (int32_t i = 0; kernel.reasons != nullptr && kernel.reasons[i] != nullptr; ++i) {
    if (i == code) return kernel.reasons[i];
  }
  return "the kernel does not support this call";
}

}  // namespace

size_t choose_kernel(std::span<const KernelMatch> matches, TclCall& call, const Node& node,
                     const std::function<void(size_t)>& prepare) {
  std::string reasons;
  for (size_t i = 0; i < matches.size(); ++i) {
    const KernelMatch& match = matches[i];
    call.attr = match.attributes->values.data();
    prepare(i);
    const int32_t code = match.kernel->supports != nullptr ? match.kernel->supports(&call) : 0;
    if (code == 0) return i;
    reasons += concat(reasons.empty() ? "" : "; ", match.kernel->variant, ": ",
                      reason_text(*match.kernel, code));
  }
  throw_error(ErrorKind::NotImplemented, where(node), ": no kernel supports it: ", reasons);
}

void report_kernel_error(const Node& node, const TclCall& call, int32_t code) {
  static constexpr const char* texts[] = {"",
                                          "an index is out of range",
                                          "division by zero",
                                          "shapes do not fit together",
                                          "a value is not valid",
                                          "the case is not supported",
                                          "the result is too large",
                                          "the run was cancelled"};
  const bool known = code > 0 && code < static_cast<int32_t>(std::size(texts));
  std::string shapes;
  for (int64_t i = 0; i < call.n_in; ++i) {
    const TclTensor& t = *call.in[i];
    if (t.rank < 0) continue;
    shapes += concat(shapes.empty() ? "" : ", ", dims_text({t.dims, static_cast<size_t>(t.rank)}));
  }
  const std::string element =
      call.error_index < 0 ? "" : concat("element ", call.error_index, "; ");
  const bool bad_input = code == TCL_INDEX_OUT_OF_RANGE || code == TCL_INVALID_VALUE;
  throw_error(bad_input ? ErrorKind::InvalidArgument : ErrorKind::RuntimeException, where(node),
              ": ", known ? texts[code] : "kernel error", " (", element, "inputs ", shapes, ")");
}

StaticCall::StaticCall(const Graph& graph, const Node& node) {
  for (ValueId id : node.inputs) {
    add(graph, id);
    constant_.push_back(id != kNone && graph.constant(id) != nullptr);
  }
  for (ValueId id : node.outputs) add(graph, id);
  for (size_t i = 0; i < tensors_.size(); ++i) {
    if (tensors_[i].rank >= 0) tensors_[i].dims = dims_[i].data();
    pointers_.push_back(&tensors_[i]);
  }
  packed_.assign(node.inputs.size(), nullptr);
  call.in = pointers_.data();
  call.out = pointers_.data() + node.inputs.size();
  call.n_in = static_cast<int64_t>(node.inputs.size());
  call.n_out = static_cast<int64_t>(node.outputs.size());
  call.packed = packed_.data();
  call.epilogue = &kNoEpilogue;
  call.prologue = &kNoPrologue;
}

size_t StaticCall::choose(std::span<const KernelMatch> matches, const Node& node) {
  return choose_kernel(matches, call, node, [&](size_t i) { expect_packed(*matches[i].kernel); });
}

void StaticCall::expect_packed(const TclKernel& kernel) {
  for (size_t i = 0; i < packed_.size(); ++i) {
    const bool packs = constant_[i] && kernel.pack != nullptr && kernel.pack_size != nullptr &&
                       kernel.pack_size(&call, static_cast<int64_t>(i)) > 0;
    packed_[i] = packs ? placeholder_ : nullptr;
  }
}

void StaticCall::add(const Graph& graph, ValueId id) {
  tensors_.push_back({nullptr, nullptr, -1, 0, 0});
  dims_.emplace_back();
  if (id == kNone) return;
  const Type& type = graph.value(id).type;
  const Tensor* constant = graph.constant(id);
  std::optional<Dims> dims = type.is_tensor() && type.shape ? concrete(*type.shape) : std::nullopt;
  if (constant != nullptr) dims = constant->dims();
  if (!dims) {
    known = false;
    return;
  }
  dims_.back() = *dims;
  dims_.back().reserve(1);
  TclTensor& t = tensors_.back();
  t.data = constant != nullptr ? constant->raw() : placeholder_;
  t.rank = static_cast<int64_t>(dims->size());
  t.dtype = static_cast<int64_t>(type.dtype);
  t.size = element_count(*dims);
}

}  // namespace tiercel
