// Allocates, wraps and releases owned bytes.
#include "base/buffer.h"

#include "base/blocks.h"
#include "base/error.h"

namespace tiercel {

std::shared_ptr<Buffer> Buffer::allocate(int64_t bytes) {
  void* data = bytes >= 0 ? take_block(static_cast<size_t>(bytes)) : nullptr;
  if (!data) {
    throw_error(ErrorKind::RuntimeException, "cannot allocate ", bytes, " bytes of memory");
  }
  return std::shared_ptr<Buffer>(
      new Buffer(static_cast<std::byte*>(data), bytes, [data] { release_block(data); }, nullptr));
}

std::shared_ptr<Buffer> Buffer::wrap(void* data, int64_t bytes, std::function<void()> release,
                                     DeviceMemory* memory) {
  return std::shared_ptr<Buffer>(
      new Buffer(static_cast<std::byte*>(data), bytes, std::move(release), memory));
}

Buffer::~Buffer() {
  if (release_) release_();
}

}  // namespace tiercel
