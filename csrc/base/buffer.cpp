// Allocates, wraps and releases owned bytes.
#include "base/buffer.h"

#include <cstdlib>
#include <new>

#include "base/error.h"

namespace tiercel {

std::shared_ptr<Buffer> Buffer::allocate(int64_t bytes) {
  constexpr int64_t kAlignment = 64;
  void* data = nullptr;
  if (bytes >= 0 && bytes <= INT64_MAX - kAlignment) {
    const int64_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    data = std::aligned_alloc(kAlignment, static_cast<size_t>(rounded == 0 ? kAlignment : rounded));
  }
  if (!data) {
    throw_error(ErrorKind::RuntimeException, "cannot allocate ", bytes, " bytes of memory");
  }
  return std::shared_ptr<Buffer>(
      new Buffer(static_cast<std::byte*>(data), bytes, [data] { std::free(data); }));
}

std::shared_ptr<Buffer> Buffer::wrap(void* data, int64_t bytes, std::function<void()> release) {
  return std::shared_ptr<Buffer>(
      new Buffer(static_cast<std::byte*>(data), bytes, std::move(release)));
}

Buffer::~Buffer() {
  if (release_) release_();
}

}  // namespace tiercel
