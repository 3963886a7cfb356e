// The lists of operators that run as plain C++ functions, one line per family.
#include <cstring>
#include <deque>
#include <iterator>
#include <mutex>
#include <shared_mutex>

#include "providers/cpu/host_call.h"

namespace tiercel {
namespace {

std::vector<HostOp> all_lists() {
  std::vector<HostOp> all;
  for (std::span<const HostOp> list :
       {host_generate_ops(), host_sequence_ops(), host_string_ops(), host_token_ops(),
        host_contrib_ops(), host_string_tensor_ops(), host_string_cast_ops(), host_ml_ops(),
        host_encoder_ops(), host_svm_ops(), host_random_ops(), host_image_ops(),
        host_complex_ops()}) {
    all.insert(all.end(), list.begin(), list.end());
  }
  return all;
}

struct AddedHostOps {
  std::shared_mutex mutex;
  std::deque<HostOp> all;  // steps point at them: none is ever freed
};

AddedHostOps& added_host_ops() {
  static auto* made = new AddedHostOps;
  return *made;
}

}  // namespace

std::span<const HostOp> host_ops() {
  static const std::vector<HostOp> all = all_lists();
  return all;
}

void add_host_op(HostOp op) {
  AddedHostOps& added = added_host_ops();
  const std::unique_lock lock(added.mutex);
  added.all.push_back(op);
}

const HostOp* added_host_op(std::string_view domain, std::string_view name) {
  AddedHostOps& added = added_host_ops();
  const std::shared_lock lock(added.mutex);
  for (auto op = added.all.rbegin(); op != added.all.rend(); ++op) {
    if (op->domain == domain && op->name == name) return &*op;
  }
  return nullptr;
}

Tensor copy_of(const Tensor& tensor) {
  Tensor out(tensor.dtype(), tensor.dims());
  if (tensor.dtype() == DType::String) {
    std::copy_n(tensor.data<std::string>(), tensor.size(), out.data<std::string>());
  } else if (tensor.bytes() > 0) {
    std::memcpy(out.raw(), tensor.raw(), static_cast<size_t>(tensor.bytes()));
  }
  return out;
}

int64_t axis_within(const HostCall& call, int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank) {
    host_fail(call, concat("axis ", axis, " is outside [", -rank, ", ", rank, ")"));
  }
  return axis < 0 ? axis + rank : axis;
}

}  // namespace tiercel
