// What the opaque handles of the C API are.
#pragma once
#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/tensor.h"
#include "session/session.h"
#include "tiercel/tiercel.h"

struct TclSessionOptions {
  tiercel::SessionOptions options;
};

struct TclRunOptions {
  double timeout = 0;  // seconds; 0: none
  std::atomic<bool> terminate{false};
};

struct TclPort {
  const tiercel::IoInfo* info;
  std::string type;
};

struct TclSession {
  std::shared_ptr<tiercel::Session> session;
  std::array<std::vector<TclPort>, 3> ports;  // by TclRole
  std::vector<std::string> providers;
};

struct TclValue {
  tiercel::Value value;
  bool part = false;  // of a sequence or map, which others may read: never written to
};

namespace tiercel::capi {

// Memory that a caller lent; gives it back when the last one who needs it goes. `release` may be
// NULL.
[[nodiscard]] std::shared_ptr<void> lent(TclReleaseFn release, void* context);
// The tensor of a value; throws Error(InvalidArgument) that says what it is instead.
[[nodiscard]] const Tensor& tensor_of(const TclValue* value);
[[nodiscard]] TclKind kind_of(const Value& value);
[[nodiscard]] const char* kind_name(TclKind kind);
// A copy of `text` for tcl_text_release().
[[nodiscard]] char* new_text(const std::string& text);

}  // namespace tiercel::capi
