// Memory of a GPU that launches make once and use again.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "providers/cuda/device.h"

namespace tiercel::cuda {

// What is made of a constant input once, or of an input of a run each time; safe for many threads.
class Derived {
 public:
  explicit Derived(bool constant) : constant_(constant) {}
  // `make` gives the buffer, after the work that fills it.
  template <class Make>
  std::shared_ptr<Buffer> get(const Device& device, const Make& make) {
    if (!constant_) return make();
    const std::lock_guard lock(mutex_);
    if (made_) return made_;
    if (device.recording()) return make();  // what is recorded is not there yet
    return made_ = make();
  }

 private:
  bool constant_;
  std::mutex mutex_;
  std::shared_ptr<Buffer> made_;
};

// A few buffers by what they are made of; safe for many threads.
class KeptBuffers {
 public:
  template <class Make>
  std::shared_ptr<Buffer> get(const Device& device, std::string key, const Make& make) {
    if (device.recording()) return make();  // the recording has to keep its own
    const std::lock_guard lock(mutex_);
    if (const auto known = kept_.find(key); known != kept_.end()) return known->second;
    auto made = make();
    if (kept_.size() == kMost) kept_.clear();
    kept_.emplace(std::move(key), made);
    return made;
  }

 private:
  static constexpr size_t kMost = 16;  // for different shapes
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Buffer>> kept_;
};

}  // namespace tiercel::cuda
