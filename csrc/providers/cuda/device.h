// One GPU: its memory, its stream of work, the modules loaded on it. Shared by all sessions.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/device_memory.h"
#include "providers/cuda/driver.h"
#include "providers/cuda/machine_code.h"
#include "providers/cuda/recording.h"
#include "providers/cuda/transfers.h"
#include "tiercel/kernel.h"

namespace tiercel::cuda {

// Blocks and threads of a launch.
struct Grid {
  int64_t x = 1;  // blocks; 0: there is nothing to do
  unsigned y = 1, z = 1;
  unsigned threads = 256;  // of a block, along x
  unsigned shared_bytes = 0;
  unsigned threads_y = 1;
};

// The number of the GPU that has an address; -1: none has it.
[[nodiscard]] int device_of(uintptr_t address);

class Device final : public DeviceMemory {
 public:
  // The GPU of that number. `stream`: a stream of the program that all work goes to; 0: one of our
  // own. Throws Error(EPFail) naming what is missing.
  static std::shared_ptr<Device> open(int number, uintptr_t stream = 0);

  [[nodiscard]] std::string_view name() const override { return "cuda"; }
  [[nodiscard]] int number() const override { return number_; }
  [[nodiscard]] std::shared_ptr<Buffer> allocate(int64_t bytes) override;
  [[nodiscard]] Tensor resident(const Tensor& tensor) override;
  void release_free() override;
  [[nodiscard]] Use use() override;
  // Makes the GPU's context that of this thread.
  [[nodiscard]] std::shared_ptr<void> enter() override;
  void to_device(void* to, const void* from, int64_t bytes) override;
  // Reads what kernels reported since the last time, too: see `take_error`.
  void to_host(void* to, const void* from, int64_t bytes) override;
  void copy(void* to, const void* from, int64_t bytes) override;
  void clear(void* to, int64_t bytes) override;
  void synchronize() override;
  [[nodiscard]] uintptr_t stream() const override { return reinterpret_cast<uintptr_t>(stream_); }
  void follow(uintptr_t other) override;
  void let_follow(uintptr_t other) override;

  // As long as it is held, all memory in use on the GPU is at most that many bytes.
  [[nodiscard]] std::shared_ptr<void> limit(int64_t bytes);
  // Begins a copy beside the work that is given afterwards; `synchronize` waits for it. The bytes
  // at `from` must stay until then.
  void begin_to_host(void* to, const void* from, int64_t bytes);
  // What `work` gives, recorded and not done; nullptr when it cannot be recorded.
  [[nodiscard]] std::shared_ptr<Recording> record(const std::function<void()>& work);
  void replay(Recording& recording);
  // Whether what this thread gives now is recorded. Others wait, but take memory meanwhile.
  [[nodiscard]] bool recording() const { return recorder_ == std::this_thread::get_id(); }

  // Memory for what one launch reads besides tensors, aligned to 64 bytes: it stays until work
  // given now is done. The caller writes it on the host and sends it.
  struct Parameters {
    std::byte* host;
    std::byte* device;
  };
  [[nodiscard]] Parameters parameters(int64_t bytes);
  void send(const Parameters& parameters, int64_t bytes);

  // An entry of a module of PTX, which the driver compiles when it is new.
  [[nodiscard]] FunctionHandle function(std::string_view ptx, const char* entry);
  // The same of a text of the library.
  [[nodiscard]] FunctionHandle function(const TclDeviceText& text, const std::string& entry);
  void launch(FunctionHandle function, const Grid& grid, std::span<void* const> arguments);

  // Where a kernel leaves an error code and the number of its step; 0: none.
  [[nodiscard]] void* status() const { return status_->data(); }
  // The code and step of the last errors, read by to_host and synchronize; cleared by asking.
  [[nodiscard]] uint64_t take_error();

  [[nodiscard]] const std::string& title() const { return title_; }
  [[nodiscard]] int multiprocessors() const { return multiprocessors_; }

 private:
  explicit Device(const Driver& driver) : driver_(driver) {}
  void start(int number, uintptr_t stream);
  // Throws Error(Fail) while work is recorded, which `what` is no part of.
  void check_not_recording(const char* what) const;
  [[nodiscard]] std::shared_ptr<Buffer> from_pool(int64_t bytes);
  // Makes one stream wait for what another has now.
  void order(StreamHandle first, StreamHandle second);
  // In the order of the stream.
  Result clear_status();
  void give_up();
  // Whether so many bytes more are over a limit; under the mutex of the blocks.
  [[nodiscard]] bool passes_limit(int64_t bytes) const;
  // A block that nobody has yet; 0: the limit, or the driver, has no room for it.
  DevicePointer new_block(int64_t bytes);
  void give_back(DevicePointer block, int64_t bytes);
  [[nodiscard]] FunctionHandle find(ModuleHandle module, const char* entry);

  const Driver& driver_;
  ContextHandle context_ = nullptr;
  StreamHandle stream_ = nullptr;
  std::string title_;
  int number_ = 0;
  int multiprocessors_ = 1;
  std::recursive_mutex runs_;
  std::mutex memory_;  // guards the blocks
  std::multimap<int64_t, DevicePointer> free_;
  int64_t in_use_ = 0;
  std::multiset<int64_t> limits_;
  std::mutex residents_mutex_;
  std::map<const void*, std::weak_ptr<Buffer>> residents_;  // by host address
  std::mutex modules_mutex_;
  std::unique_ptr<const MachineCode> code_;
  std::unordered_map<std::string, ModuleHandle> modules_;
  std::unordered_map<int64_t, ModuleHandle> library_modules_;  // by the offset of their text
  std::map<std::pair<int64_t, std::string>, FunctionHandle> library_functions_;
  std::unordered_map<FunctionHandle, unsigned> shared_bytes_;  // that were asked for
  std::unique_ptr<Transfers> transfers_;
  std::atomic<std::thread::id> recorder_{};  // the thread that makes a recording
  Recording* recording_ = nullptr;           // that one: nobody else looks at it
  EventHandle reached_ = nullptr;
  std::shared_ptr<Buffer> status_, ring_;
  std::byte* ring_host_ = nullptr;  // pinned, as large as ring_
  int64_t ring_at_ = 0;
  uint64_t error_ = 0;
};

}  // namespace tiercel::cuda
