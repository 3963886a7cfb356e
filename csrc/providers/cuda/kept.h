// Memory of a GPU that launches make once and use again.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "ir/graph.h"
#include "providers/cuda/device.h"

namespace tiercel::cuda {

// An input of steps in another form, which the input's type and shape decide. Of a constant it is
// made once for all steps of a GPU that want the same form, of an input of a run each time. Safe
// for many threads.
class Derived {
 public:
  Derived() = default;
  Derived(const std::shared_ptr<Device>& device, const Graph& graph, ValueId id,
          std::string_view form);
  // `make` gives the buffer, after the work that fills it.
  template <class Make>
  std::shared_ptr<Buffer> get(const Make& make) const {
    if (!constant_) return make();
    const std::lock_guard lock(constant_->mutex);
    if (constant_->made) return constant_->made;
    if (constant_->device->recording()) return make();  // what is recorded is not there yet
    return constant_->made = make();
  }

 private:
  struct Constant {
    std::shared_ptr<Device> device;
    std::shared_ptr<const Buffer> host;  // stays, so that its address cannot come again meanwhile
    std::mutex mutex;
    std::shared_ptr<Buffer> made;
  };
  std::shared_ptr<Constant> constant_;  // nullptr: the input is none
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
