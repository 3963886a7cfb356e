// Copies between the host and one GPU through pinned memory.
#pragma once
#include <array>
#include <map>
#include <vector>

#include "providers/cuda/driver.h"

namespace tiercel::cuda {

// Used by one thread at a time, with the GPU's context current.
class Transfers {
 public:
  // `compute`: the stream in whose order copies are.
  Transfers(const Driver& driver, StreamHandle compute);

  // What is at `from` is read before this returns, the copy is made later.
  void to_device(DevicePointer to, const std::byte* from, int64_t bytes);
  // Waits until the bytes are there.
  void to_host(std::byte* to, DevicePointer from, int64_t bytes);
  // Begins a copy on a stream of its own, beside the work given afterwards; `finish` waits for all
  // of them. The bytes at `from` must stay until then.
  void begin_to_host(std::byte* to, DevicePointer from, int64_t bytes);
  void finish();
  // Forgets copies that were begun: nobody wants them any more.
  void forget();
  // Gives pinned memory that no copy uses back.
  void release_free();

 private:
  struct Half {
    std::byte* bytes = nullptr;
    EventHandle done = nullptr;
    bool busy = false;
  };
  struct Download {
    std::byte* to;
    std::byte* pinned;
    int64_t bytes, size;
  };
  [[nodiscard]] std::byte* pinned(int64_t bytes);
  // The next half, when copies from or to it are over.
  Half& next_half();

  const Driver& driver_;
  StreamHandle compute_;
  StreamHandle copies_ = nullptr;
  EventHandle reached_ = nullptr;
  std::array<Half, 2> halves_;
  size_t turn_ = 0;
  std::vector<Download> downloads_;
  std::multimap<int64_t, std::byte*> free_;  // pinned, by size
};

}  // namespace tiercel::cuda
