// One GPU: its memory, its stream of work, the modules loaded on it. Shared by all sessions.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/tensor.h"
#include "providers/cuda/driver.h"
#include "tiercel/kernel.h"

namespace tiercel::cuda {

// Blocks and threads of a launch.
struct Grid {
  unsigned x = 1, y = 1, z = 1;
  unsigned threads = 256;  // of a block, along x
  unsigned shared_bytes = 0;
  unsigned threads_y = 1;
};

class Device {
 public:
  // The GPU of that number. Throws Error(EPFail) naming what is missing.
  static std::shared_ptr<Device> open(int number);

  // Held while one run gives work to the GPU: makes its context that of this thread.
  [[nodiscard]] std::shared_ptr<void> enter();

  // Uninitialised memory, aligned to 256 bytes. Work that was given before it was released may
  // still use it: what takes it next comes later in the same stream. Throws Error(EPFail) over the
  // limit.
  [[nodiscard]] std::shared_ptr<Buffer> allocate(int64_t bytes);
  // The tensor in the GPU's memory; the same copy for the same bytes while somebody holds it.
  [[nodiscard]] Tensor resident(const Tensor& tensor);
  // As long as it is held, all memory in use on the GPU is at most that many bytes.
  [[nodiscard]] std::shared_ptr<void> limit(int64_t bytes);
  // Gives blocks that nobody holds back to the driver.
  void release_free();

  // What is at `from` is read before this returns.
  void to_device(void* to, const void* from, int64_t bytes);
  // Waits for all work given before. Throws what kernels reported since: see `status`.
  void to_host(void* to, const void* from, int64_t bytes);
  // Memory for what one launch reads besides tensors, aligned to 64 bytes: it stays until work
  // given now is done. The caller writes it on the host and sends it.
  struct Parameters {
    std::byte* host;
    std::byte* device;
  };
  [[nodiscard]] Parameters parameters(int64_t bytes);
  void send(const Parameters& parameters, int64_t bytes);

  // An entry of a module of PTX, which is compiled by the driver when first asked for.
  [[nodiscard]] FunctionHandle function(std::string_view ptx, const char* entry);
  // The same of a text of the library.
  [[nodiscard]] FunctionHandle function(const TclDeviceText& text, const std::string& entry);
  void launch(FunctionHandle function, const Grid& grid, std::span<void* const> arguments);

  // Where a kernel leaves an error code and the number of its step; 0: none.
  [[nodiscard]] void* status() const { return status_->data(); }
  // The code and step of the last errors, read by to_host; cleared by asking.
  [[nodiscard]] uint64_t take_error();

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] int multiprocessors() const { return multiprocessors_; }

 private:
  explicit Device(const Driver& driver) : driver_(driver) {}
  void start(int number);
  // In the order of the stream.
  Result clear_status();
  // Whether so many bytes more are over a limit; under the mutex of the blocks.
  [[nodiscard]] bool passes_limit(int64_t bytes) const;
  // A block that nobody has yet; 0: the limit, or the driver, has no room for it.
  DevicePointer new_block(int64_t bytes);
  void give_back(DevicePointer block, int64_t bytes);
  [[nodiscard]] ModuleHandle load(const std::string& ptx);
  [[nodiscard]] FunctionHandle find(ModuleHandle module, const char* entry);

  const Driver& driver_;
  ContextHandle context_ = nullptr;
  StreamHandle stream_ = nullptr;
  std::string name_;
  int multiprocessors_ = 1;
  std::recursive_mutex runs_;
  std::mutex memory_;  // guards the blocks
  std::multimap<int64_t, DevicePointer> free_;
  int64_t in_use_ = 0;
  std::multiset<int64_t> limits_;
  std::mutex residents_mutex_;
  std::map<const void*, std::weak_ptr<Buffer>> residents_;  // by host address
  std::mutex modules_mutex_;
  std::unordered_map<std::string, ModuleHandle> modules_;
  std::unordered_map<int64_t, ModuleHandle> library_modules_;  // by the offset of their text
  std::map<std::pair<int64_t, std::string>, FunctionHandle> library_functions_;
  std::shared_ptr<Buffer> status_, ring_;
  std::byte* ring_host_ = nullptr;  // pinned, as large as ring_
  int64_t ring_at_ = 0;
  uint64_t error_ = 0;
};

}  // namespace tiercel::cuda
