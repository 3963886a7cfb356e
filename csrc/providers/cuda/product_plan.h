// How a matrix product is cut: the size of its tiles, and the parts of k that run beside each
// other.
#pragma once
#include <cstdint>

#include "providers/cuda/gemm.h"

namespace tiercel::cuda {

struct ProductPlan {
  bool large = false;  // tiles of 128 x 128, else of 64 x 64; of products that have tiles
  int64_t parts = 1;   // of k, each with sums of its own
};

// Items of a row of b that a block of gemv_n_* reads.
[[nodiscard]] constexpr int64_t row_columns(int64_t item_bytes) { return 512 / item_bytes; }

// What is multiplied, and how it may be cut.
enum class TileSizes { small, large, both };
struct ProductWork {
  int64_t batches, m, n, k;
  int64_t item_bytes;
  TileSizes sizes;
  bool parts = true;  // whether k may be cut
  bool even = true;   // into equal parts only
};
// The plan by tiles that takes least time, by a model of a GPU with so many multiprocessors.
[[nodiscard]] ProductPlan plan_tiles(const ProductWork& work, int64_t multiprocessors);
// The parts of a product of few rows whose b has neighbours along n.
[[nodiscard]] ProductPlan plan_rows(const Product& product, int64_t item_bytes,
                                    int64_t multiprocessors);

// Whether batch axis 0 is free for parts of k.
[[nodiscard]] bool has_room_for_parts(const Product& product);
// Part of k after part as batch axis 0, their sums at `sums`.
[[nodiscard]] Product in_parts(const Product& product, int64_t parts, void* sums);

}  // namespace tiercel::cuda
