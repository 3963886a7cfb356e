// What host operators ask of their call: inputs by kind, attributes, and errors that name the node.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ops/op_def.h"
#include "providers/cpu/host_op.h"

namespace tiercel {

[[noreturn]] inline void host_fail(const HostCall& call, const std::string& message) {
  throw_error(ErrorKind::InvalidArgument, where(call.node), ": ", message);
}

[[nodiscard]] inline bool has_input(const HostCall& call, size_t i) {
  return i < call.inputs.size() && call.inputs[i] && !call.inputs[i]->empty();
}

[[nodiscard]] inline const Tensor& tensor(const HostCall& call, size_t i) {
  const Tensor* found =
      i < call.inputs.size() && call.inputs[i] ? call.inputs[i]->tensor() : nullptr;
  if (!found) host_fail(call, concat("input ", i, " is no tensor"));
  return *found;
}

[[nodiscard]] inline const Sequence& sequence(const HostCall& call, size_t i) {
  const Sequence* found =
      i < call.inputs.size() && call.inputs[i] ? call.inputs[i]->sequence() : nullptr;
  if (!found) host_fail(call, concat("input ", i, " is no sequence"));
  return *found;
}

[[nodiscard]] inline std::span<const std::string> strings(const HostCall& call, size_t i) {
  const Tensor& t = tensor(call, i);
  if (t.dtype() != DType::String) {
    host_fail(call, concat("input ", i, " is tensor(", std::string(dtype_name(t.dtype())),
                           "); expected tensor(string)"));
  }
  return {t.data<std::string>(), static_cast<size_t>(t.size())};
}

[[nodiscard]] inline std::span<std::string> strings_of(const Tensor& t) {
  return {t.data<std::string>(), static_cast<size_t>(t.size())};
}

// The attribute, the operator's default, or `fallback`.
template <class T>
[[nodiscard]] T attribute(const Node& node, std::string_view name, T fallback) {
  if (const T* given = node.attributes.get<T>(name)) return *given;
  const AttrDef* def = node.def ? node.def->attribute(name) : nullptr;
  if (!def || !def->value) return fallback;
  const T* value = std::get_if<T>(&*def->value);
  return value ? *value : fallback;
}

// The attribute when it is a list with entries, else nullptr.
template <class T>
[[nodiscard]] const std::vector<T>* list(const Node& node, std::string_view name) {
  const auto* found = node.attributes.get<std::vector<T>>(name);
  return found && !found->empty() ? found : nullptr;
}

[[nodiscard]] inline bool wanted(const HostCall& call, size_t output) {
  return output < call.outputs.size() && output < call.node.outputs.size() &&
         call.node.outputs[output] != kNone;
}

inline void give(HostCall& call, size_t output, Value value) {
  if (wanted(call, output)) call.outputs[output] = std::move(value);
}

// Its own bytes: an input may lie in memory that the run uses again.
[[nodiscard]] Tensor copy_of(const Tensor& tensor);
// `axis` in [0, rank); throws Error(InvalidArgument) that names the node.
[[nodiscard]] int64_t axis_within(const HostCall& call, int64_t axis, int64_t rank);

// One list per file.
[[nodiscard]] std::span<const HostOp> host_sequence_ops();
[[nodiscard]] std::span<const HostOp> host_string_ops();
[[nodiscard]] std::span<const HostOp> host_token_ops();
[[nodiscard]] std::span<const HostOp> host_contrib_ops();
[[nodiscard]] std::span<const HostOp> host_string_tensor_ops();
[[nodiscard]] std::span<const HostOp> host_string_cast_ops();
[[nodiscard]] std::span<const HostOp> host_generate_ops();
[[nodiscard]] std::span<const HostOp> host_ml_ops();
[[nodiscard]] std::span<const HostOp> host_encoder_ops();
[[nodiscard]] std::span<const HostOp> host_svm_ops();
[[nodiscard]] std::span<const HostOp> host_random_ops();
[[nodiscard]] std::span<const HostOp> host_image_ops();
[[nodiscard]] std::span<const HostOp> host_complex_ops();

}  // namespace tiercel
