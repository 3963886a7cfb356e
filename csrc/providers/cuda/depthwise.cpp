// How convolutions of single channels are cut, where they run by the kernels of depthwise.cu.
#include "providers/cuda/depthwise.h"

#include <algorithm>

#include "providers/cuda/launched.h"

namespace tiercel::cuda {
namespace {

constexpr int64_t kPlaneRoom = 6400;  // items of an image that a block holds
constexpr int64_t kFewestLines = 7;   // of a band: its windows reach few lines of others
constexpr int64_t kEvenPlanes = 8;    // together they begin at 16 bytes, whatever their size

// Lines of the result that a thread makes, and blocks that a multiprocessor runs at once.
int64_t strip_of(const ConvArgs& c) { return c.kernel[1] == 5 ? 14 : 7; }
int64_t blocks_each(const ConvArgs& c) { return c.kernel[1] == 3 ? 4 : 3; }

bool has_kernel(const ConvArgs& c) {
  const bool flat = c.size[0] == 1 && c.out[0] == 1 && c.kernel[0] == 1;
  const int32_t k = c.kernel[1], stride = c.stride[1];
  return flat && c.channels == 1 && c.filters == 1 && k == c.kernel[2] &&
         (k == 3 || k == 5 || k == 7) && stride == c.stride[2] && (stride == 1 || stride == 2) &&
         c.dilation[1] == 1 && c.dilation[2] == 1;
}

}  // namespace

std::optional<DepthwisePlan> plan_depthwise(const ConvArgs& c, int64_t multiprocessors) {
  if (!has_kernel(c) || c.plane() == 0) return std::nullopt;
  const int64_t plane = c.plane(), total = int64_t{c.batch} * c.groups, strip = strip_of(c);
  const int64_t at_once = multiprocessors * blocks_each(c);
  int64_t planes = 1, lines = c.out[1];
  if (plane <= kPlaneRoom && total > at_once) {
    planes = std::min(kPlaneRoom / plane, groups_of(total, at_once));
    if (planes > kEvenPlanes) planes = planes / kEvenPlanes * kEvenPlanes;
  } else {
    const int64_t held = kPlaneRoom / c.size[2];
    const int64_t most = plane <= kPlaneRoom ? lines : (held - c.kernel[1]) / c.stride[1] + 1;
    if (held < c.kernel[1] || most < std::min(kFewestLines, lines)) return std::nullopt;
    const int64_t parts = std::max<int64_t>(at_once / total, 1);  // of a plane
    const int64_t strips = groups_of(groups_of(lines, strip), parts);
    lines = std::min({lines, most, std::max<int64_t>(most / strip, 1) * strip, strips * strip});
  }
  const int64_t bands = groups_of(c.out[1], lines);
  return DepthwisePlan{{c, conv_word(planes), conv_word(lines), conv_word(bands)},
                       groups_of(total, planes) * bands};
}

}  // namespace tiercel::cuda
