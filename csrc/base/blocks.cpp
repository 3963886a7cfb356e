// The blocks that are kept, each behind a header that holds its size.
#include "base/blocks.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "base/platform.h"

namespace tiercel {
namespace {

constexpr size_t kHeader = 64;              // keeps what follows aligned for vectors
constexpr size_t kLarge = size_t{2} << 20;  // a large page: blocks that fill one begin at one
constexpr size_t kKeptFrom = size_t{256} << 10;
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kMostKept = 0;  // so that the sanitizer sees what is used after its end
#else
constexpr size_t kMostKept = size_t{64} << 20;
#endif

size_t& capacity(std::byte* block) { return *reinterpret_cast<size_t*>(block); }

class Kept {
 public:
  std::byte* take(size_t size) {
    const std::scoped_lock lock(mutex_);
    const auto found = std::find_if(blocks_.rbegin(), blocks_.rend(),
                                    [&](std::byte* block) { return capacity(block) == size; });
    if (found == blocks_.rend()) return nullptr;
    std::byte* block = *found;
    blocks_.erase(std::next(found).base());
    total_ -= size;
    return block;
  }

  // Whether the block is kept now; the oldest ones make room for it.
  bool keep(std::byte* block) {
    const size_t size = capacity(block);
    if (size < kKeptFrom || size > kMostKept) return false;
    const std::scoped_lock lock(mutex_);
    while (total_ + size > kMostKept) {
      total_ -= capacity(blocks_.front());
      std::free(blocks_.front());
      blocks_.erase(blocks_.begin());
    }
    blocks_.push_back(block);
    total_ += size;
    return true;
  }

  void release() {
    const std::scoped_lock lock(mutex_);
    for (std::byte* block : blocks_) std::free(block);
    blocks_.clear();
    total_ = 0;
  }

 private:
  std::mutex mutex_;
  std::vector<std::byte*> blocks_;  // the one that was given back last is at the end
  size_t total_ = 0;
};

// Never destroyed: arrays may outlive everything else.
Kept& kept() {
  static Kept* const all = new Kept;
  return *all;
}

}  // namespace

void* take_block(size_t bytes) {
  if (bytes > SIZE_MAX - 2 * kHeader) return nullptr;
  const size_t size = (bytes + kHeader - 1) / kHeader * kHeader + kHeader;
  std::byte* block = size < kKeptFrom ? nullptr : kept().take(size);
  if (block == nullptr) {
    const size_t alignment = size >= kLarge ? kLarge : kHeader;
    void* found = nullptr;  // aligned_alloc wants sizes that are multiples of the alignment
    if (posix_memalign(&found, alignment, size) != 0) return nullptr;
    block = static_cast<std::byte*>(found);
    if (size >= kLarge) want_large_pages(block, size);
  }
  capacity(block) = size;
  return block + kHeader;
}

void release_block(void* memory) {
  if (memory == nullptr) return;
  std::byte* block = static_cast<std::byte*>(memory) - kHeader;
  if (!kept().keep(block)) std::free(block);
}

void release_kept_blocks() { kept().release(); }

}  // namespace tiercel
