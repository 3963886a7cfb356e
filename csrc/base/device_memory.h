// Memory of a device that the host cannot read: what values in it need, inside of runs and outside.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/tensor.h"

namespace tiercel {

// The memory of one device with the stream in whose order it is used. Safe for many threads.
class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;  // "cuda"
  [[nodiscard]] virtual int number() const = 0;             // of the device among those of its kind

  // Uninitialised bytes whose Buffer names this memory, aligned to 256. What takes them next comes
  // later in the stream. Throws Error(EPFail) when there is no room.
  [[nodiscard]] virtual std::shared_ptr<Buffer> allocate(int64_t bytes) = 0;
  // The tensor in this memory; the same copy for the same bytes while somebody holds it.
  [[nodiscard]] virtual Tensor resident(const Tensor& tensor) = 0;
  // Gives what nobody holds back to the system.
  virtual void release_free() = 0;
  // Bytes taken from the system, and those of them that somebody holds.
  struct Use {
    int64_t taken, held;
  };
  [[nodiscard]] virtual Use use() = 0;

  // Held while a run goes on: nobody else gives work to the stream.
  [[nodiscard]] virtual std::shared_ptr<void> enter() = 0;
  // What is at `from` is read before this returns.
  virtual void to_device(void* to, const void* from, int64_t bytes) = 0;
  // Waits for all work given before.
  virtual void to_host(void* to, const void* from, int64_t bytes) = 0;
  virtual void copy(void* to, const void* from, int64_t bytes) = 0;
  virtual void clear(void* to, int64_t bytes) = 0;  // to zeros
  virtual void synchronize() = 0;

  // The stream's handle, and the order between it and another of the same device: work given from
  // now on to one comes after what the other has now.
  [[nodiscard]] virtual uintptr_t stream() const = 0;
  virtual void follow(uintptr_t other) = 0;
  virtual void let_follow(uintptr_t other) = 0;
};

// "cuda:0", or "cpu" for nullptr.
[[nodiscard]] std::string memory_text(const DeviceMemory* memory);
// Where a tensor's elements are; nullptr: in the host's memory.
[[nodiscard]] inline DeviceMemory* memory_of(const Tensor& tensor) {
  return tensor.buffer() ? tensor.buffer()->memory() : nullptr;
}
// An uninitialised tensor there.
[[nodiscard]] Tensor tensor_in(DeviceMemory* memory, DType dtype, Dims dims);
// The same of zeros, or empty strings.
[[nodiscard]] Tensor zeros_in(DeviceMemory* memory, DType dtype, Dims dims);
// Copies elements between any two memories; types and extents are equal. Strings stay on the host.
void copy_elements(const Tensor& to, const Tensor& from);
// The tensor itself where it is there already, else a copy.
[[nodiscard]] Tensor moved_to(DeviceMemory* memory, const Tensor& tensor);

}  // namespace tiercel
