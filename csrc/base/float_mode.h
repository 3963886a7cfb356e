// Flushing of denormal numbers to zero: a mode of each thread.
#pragma once
#include "base/platform.h"

namespace tiercel {

// While it lives, this thread takes and gives zeros for denormal numbers (when `flush` is set).
class FloatMode {
 public:
  explicit FloatMode(bool flush) : before_(float_mode()), flush_(flush) {
    if (flush_) set_float_mode(before_ | kFlushDenormals);
  }
  ~FloatMode() {
    if (flush_) set_float_mode(before_);
  }
  FloatMode(const FloatMode&) = delete;
  FloatMode& operator=(const FloatMode&) = delete;

 private:
  uint64_t before_;
  bool flush_;
};

}  // namespace tiercel
