// What a run is told from outside: when to stop, and where outputs go.
#pragma once
#include <atomic>
#include <chrono>
#include <optional>
#include <span>

#include "base/device_memory.h"
#include "base/tensor.h"

namespace tiercel {

struct RunOptions {
  std::optional<std::chrono::steady_clock::time_point> deadline;  // Error(Timeout) when passed
  const std::atomic<bool>* terminate = nullptr;                   // Error(Fail) when set

  // Throws when the run has to end.
  void check() const;
};

// Where an output goes. The executor asks once per wanted tensor output, as soon as dims are known.
class OutputSink {
 public:
  virtual ~OutputSink() = default;
  // Memory for output `index` of at least dtype_bytes(dtype, count(dims)), or nullptr: the executor
  // allocates, and hands the Value to `set`.
  virtual void* allocate(int index, DType dtype, std::span<const int64_t> dims) = 0;
  virtual void set(int index, Value value) = 0;  // called for outputs not allocated by the sink
  // The memory that output `index` is wanted in, and that `allocate` gives; nullptr: the host's.
  [[nodiscard]] virtual DeviceMemory* memory(int) const { return nullptr; }
};

// Keeps every output as a Value that owns its memory.
class ValueSink final : public OutputSink {
 public:
  explicit ValueSink(size_t count) : values(count) {}
  void* allocate(int, DType, std::span<const int64_t>) override { return nullptr; }
  void set(int index, Value value) override {
    values[static_cast<size_t>(index)] = std::move(value);
  }
  std::vector<Value> values;
};

}  // namespace tiercel
