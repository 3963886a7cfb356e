// How a matrix product is cut: the size of its tiles, and the parts of k that run beside each
// other.
#include "providers/cuda/product_plan.h"

#include <algorithm>

#include "providers/cuda/launched.h"

namespace tiercel::cuda {
namespace {

constexpr int64_t kMostParts = 32;
constexpr int64_t kStep = 32;  // of k: a whole number of tiles
// Measured on an H100: products a microsecond and multiprocessor, of large tiles.
constexpr double kFloatRate = 130e3, kHalfRate = 1.16e6;
constexpr double kSmallTiles = 0.65;  // their rate, of that
constexpr double kSumLaunch = 2.5;    // microseconds
constexpr double kSumBytes = 2e6;     // a microsecond

// The rate of a multiprocessor with so many blocks, of its best.
double filled(int64_t blocks) { return blocks == 1 ? 0.5 : blocks == 2 ? 0.8 : 1.0; }

bool divides(int64_t parts, int64_t k, int64_t step, int64_t least) {
  return k % parts == 0 && k / parts % step == 0 && k / parts >= least;
}

double microseconds(const ProductWork& work, const ProductPlan& plan, int64_t multiprocessors) {
  const int64_t tile = plan.large ? 128 : 64;
  const int64_t tiles = groups_of(work.m, tile) * groups_of(work.n, tile);
  const int64_t waves = groups_of(work.batches * plan.parts * tiles, multiprocessors);
  const double best = work.item_bytes == 4 ? kFloatRate : kHalfRate;
  const double rate = best * (plan.large ? 1 : kSmallTiles) * filled(waves);
  const int64_t items = waves * tile * tile * (groups_of(work.k, plan.parts) + kStep);
  const double time = static_cast<double>(items) / rate;
  if (plan.parts == 1) return time;
  const int64_t moved = work.batches * work.m * work.n * (8 * plan.parts + work.item_bytes);
  return time + kSumLaunch + static_cast<double>(moved) / kSumBytes;
}

}  // namespace

ProductPlan plan_tiles(const ProductWork& work, int64_t multiprocessors) {
  ProductPlan best{work.sizes != TileSizes::small, 1};
  double least = microseconds(work, best, multiprocessors);
  for (const bool large : {true, false}) {
    if (work.sizes == (large ? TileSizes::small : TileSizes::large)) continue;
    for (int64_t parts = 1; parts <= (work.parts ? kMostParts : 1); ++parts) {
      const bool possible =
          work.even ? divides(parts, work.k, kStep, 2 * kStep) : work.k / parts >= 2 * kStep;
      if (parts > 1 && !possible) continue;
      const ProductPlan plan{large, parts};
      const double time = microseconds(work, plan, multiprocessors);
      if (time >= least) continue;
      best = plan;
      least = time;
    }
  }
  return best;
}

bool has_room_for_parts(const Product& product) {
  return product.batches == product.args.batch[0] * product.args.batch[1];
}

ProductPlan plan_rows(const Product& product, int64_t item_bytes, int64_t multiprocessors) {
  constexpr int64_t kWarps = 8, kLeast = 128;
  ProductPlan best;
  if (!has_room_for_parts(product)) return best;
  const int64_t blocks = product.batches * groups_of(product.args.n, row_columns(item_bytes));
  for (int64_t parts = 2; parts <= kMostParts && blocks * parts <= 2 * multiprocessors; ++parts) {
    if (divides(parts, product.args.k, kWarps, kLeast)) best.parts = parts;
  }
  return best;
}

Product in_parts(const Product& product, int64_t parts, void* sums) {
  Product made = product;
  GemmArgs& g = made.args;
  g.k /= parts;
  g.a[2] = g.k * g.a[1];
  g.b[2] = g.k * g.b[0];
  g.d[2] = product.batches * g.m * g.n;
  g.sums = sums;
  made.batches *= parts;
  return made;
}

}  // namespace tiercel::cuda
