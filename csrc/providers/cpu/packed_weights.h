// Constant inputs in the form that a kernel wants, made once and shared by all plans that use them.
#pragma once
#include <functional>
#include <memory>

#include "base/tensor.h"
#include "tiercel/kernel.h"

namespace tiercel {

// The packed form of constant `input` of `call`, or nullptr when the kernel packs nothing. Keeps
// `source` alive. Throws Error when the kernel reports one.
[[nodiscard]] std::shared_ptr<const Buffer> pack_input(const TclKernel& kernel, TclCall& call,
                                                       int64_t input, const Tensor& source);

}  // namespace tiercel
