// Owned bytes: aligned heap memory, a caller's memory with a release function, or memory of a
// device.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

namespace tiercel {

class DeviceMemory;

class Buffer {
 public:
  // 64-byte aligned, uninitialised; throws Error(RuntimeException) naming the size when memory is
  // short.
  static std::shared_ptr<Buffer> allocate(int64_t bytes);
  // Borrows `data`; `release` runs when the last owner goes. `memory`: whose bytes they are, which
  // outlives them; nullptr: the host's.
  static std::shared_ptr<Buffer> wrap(void* data, int64_t bytes, std::function<void()> release,
                                      DeviceMemory* memory = nullptr);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] int64_t bytes() const { return bytes_; }
  [[nodiscard]] DeviceMemory* memory() const { return memory_; }

 private:
  Buffer(std::byte* data, int64_t bytes, std::function<void()> release, DeviceMemory* memory)
      : data_(data), bytes_(bytes), release_(std::move(release)), memory_(memory) {}
  std::byte* data_;
  int64_t bytes_;
  std::function<void()> release_;
  DeviceMemory* memory_;
};

}  // namespace tiercel
