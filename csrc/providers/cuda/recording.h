// Work of a GPU recorded once as a CUDA graph and given again as a whole.
#pragma once
#include <memory>
#include <vector>

#include "base/buffer.h"
#include "providers/cuda/driver.h"

namespace tiercel::cuda {

// A graph with all memory that its work uses besides tensors: it stays as long as the graph does.
class Recording {
 public:
  explicit Recording(const Driver& driver) : driver_(driver) {}
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  ~Recording();

  // While work is recorded. Memory that one launch has let go of serves the next.
  template <class Allocate>
  [[nodiscard]] std::shared_ptr<Buffer> memory(int64_t bytes, const Allocate& allocate) {
    for (const std::shared_ptr<Buffer>& kept : kept_) {
      if (kept.use_count() == 1 && kept->bytes() >= bytes) return kept;
    }
    kept_.push_back(allocate(bytes));
    return kept_.back();
  }
  // Bytes that the work reads: written on the host now, sent before the graph runs first.
  struct Chunk {
    std::unique_ptr<std::byte[]> host;
    std::shared_ptr<Buffer> device;
    int64_t used, bytes;
  };
  template <class Allocate>
  [[nodiscard]] Chunk& chunk_with_room(int64_t bytes, const Allocate& allocate) {
    constexpr int64_t kChunk = 64 << 10;
    if (chunks_.empty() || chunks_.back().used + bytes > chunks_.back().bytes) {
      const int64_t size = bytes > kChunk ? bytes : kChunk;
      auto host = std::make_unique<std::byte[]>(static_cast<size_t>(size));
      chunks_.push_back({std::move(host), allocate(size), 0, size});
    }
    return chunks_.back();
  }
  [[nodiscard]] const std::vector<Chunk>& chunks() const { return chunks_; }

  // Takes the graph over.
  void finish(GraphHandle graph);
  void launch(StreamHandle stream);

 private:
  const Driver& driver_;
  GraphExecHandle exec_ = nullptr;
  std::vector<std::shared_ptr<Buffer>> kept_;
  std::vector<Chunk> chunks_;
};

}  // namespace tiercel::cuda
