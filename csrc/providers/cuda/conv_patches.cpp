// Which tiles convolutions by tensor cores take, where they run by the kernels of conv_patch.cu.
#include "providers/cuda/conv_patches.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "providers/cuda/launched.h"

namespace tiercel::cuda {
namespace {

constexpr int64_t kSharedBytes = 48 * 1024;
constexpr int64_t kStages = 3;        // of weights, of two items of the kernel
constexpr int64_t kRounds = 3;        // of reads of a patch in a stage
constexpr int64_t kLeastStages = 20;  // of a part: a second launch costs as much as these
constexpr int64_t kMostParts = 32;
constexpr int32_t kNarrowestBits = 3;  // of the points of a line: ldmatrix reads eight

// Sizes of a tile, the best first.
struct TileSize {
  int64_t filters, points;
};
constexpr TileSize kTiles[] = {{128, 128}, {64, 128}, {128, 64}, {64, 64}};

int64_t reach(const ConvArgs& c, size_t axis, int64_t points) {
  return (points - 1) * c.stride[axis] + (c.kernel[axis] - 1) * int64_t{c.dilation[axis]} + 1;
}

bool fits(const ConvArgs& c, const TileSize& tile, int64_t places) {
  const int64_t weights = kStages * tile.filters * 2 * kPatchBytes;
  const int64_t room = (kSharedBytes - weights) / (2 * kPatchBytes + 4);
  const int64_t threads = tile.filters * tile.points / 64, stages = groups_of(c.volume(), 2);
  return places <= room && 2 * places <= stages * kRounds * threads;
}

// Parts of the channels where blocks would leave multiprocessors idle; each has something to do.
int64_t parts_of(const PatchPlan& plan, int64_t item, int64_t multiprocessors) {
  const ConvArgs& c = plan.args.c;
  const int64_t chunks = groups_of(c.channels, kPatchBytes / item);
  const int64_t stages = chunks * groups_of(c.volume(), 2);
  const int64_t most = std::min({chunks, stages / kLeastStages, kMostParts});
  const int64_t wanted = std::min(most, 2 * multiprocessors / plan.blocks);
  return wanted < 2 ? 1 : groups_of(chunks, groups_of(chunks, wanted));
}

}  // namespace

std::optional<PatchPlan> plan_patches(const ConvArgs& conv, int64_t item, int64_t multiprocessors) {
  const bool flat = conv.size[0] == 1 && conv.out[0] == 1 && conv.kernel[0] == 1;
  if (!flat || conv.channels < kPatchBytes / item) return std::nullopt;
  ConvArgs c = conv;
  int32_t step[kSpatial] = {1, 1, 1};
  for (size_t i = 0; i < kSpatial; ++i) {
    if (c.kernel[i] == 1) std::swap(c.stride[i], step[i]);
  }
  std::optional<PatchPlan> best;
  std::tuple<int64_t, int64_t, int64_t> least;  // time, number of the size, places of the patch
  for (const TileSize& tile : kTiles) {
    for (int32_t bits = kNarrowestBits; tile.points >> bits > 0; ++bits) {
      const int64_t width = int64_t{1} << bits, height = tile.points >> bits;
      const int64_t lines = reach(c, 1, height), places = reach(c, 2, width);
      if (!fits(c, tile, lines * places)) continue;
      const int64_t tiles = groups_of(c.out[1], height) * groups_of(c.out[2], width);
      const int64_t blocks = c.batch * c.groups * tiles * groups_of(c.filters, tile.filters);
      const int64_t time = groups_of(blocks, multiprocessors) * tile.filters * tile.points;
      const std::tuple all(time, &tile - kTiles, lines * places);
      if (best && all >= least) continue;
      least = all;
      const PatchArgs args{
          c, bits, conv_word(lines), conv_word(places), {step[0], step[1], step[2]}, nullptr};
      best = {args, tile.filters, tile.points, blocks};
    }
  }
  if (best) best->parts = parts_of(*best, item, multiprocessors);
  return best;
}

}  // namespace tiercel::cuda
