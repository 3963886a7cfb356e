// Case mapping by ranges: capitals either lie a fixed distance before their small letters or
// alternate with them.
#include "base/letter_case.h"

#include "base/regex.h"

namespace tiercel {
namespace {

// `step` 0: capital and small letter alternate, capitals first at `low`.
struct CaseRange {
  uint32_t low, high;  // of the capitals
  int32_t step;
};

constexpr CaseRange kRanges[] = {
    {'A', 'Z', 32},       {0xc0, 0xd6, 32},   {0xd8, 0xde, 32},    {0x100, 0x12e, 0},
    {0x132, 0x136, 0},    {0x139, 0x147, 0},  {0x14a, 0x176, 0},   {0x178, 0x178, -121},
    {0x179, 0x17d, 0},    {0x1cd, 0x1db, 0},  {0x1de, 0x1ee, 0},   {0x1f8, 0x21e, 0},
    {0x222, 0x232, 0},    {0x386, 0x386, 38}, {0x388, 0x38a, 37},  {0x38c, 0x38c, 64},
    {0x38e, 0x38f, 63},   {0x391, 0x3a1, 32}, {0x3a3, 0x3ab, 32},  {0x400, 0x40f, 80},
    {0x410, 0x42f, 32},   {0x460, 0x480, 0},  {0x48a, 0x4be, 0},   {0x4c1, 0x4cd, 0},
    {0x4d0, 0x52e, 0},    {0x531, 0x556, 48}, {0x1e00, 0x1e94, 0}, {0x1ea0, 0x1efe, 0},
    {0xff21, 0xff3a, 32},
};

template <class Map>
std::string mapped(std::string_view text, Map map) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const uint32_t c = next_code_point(text, at);
    const uint32_t to = map(c);
    if (to == c) {
      out.append(text.substr(begin, at - begin));
    } else {
      append_code_point(out, to);
    }
  }
  return out;
}

}  // namespace

uint32_t to_lower(uint32_t c) {
  for (const CaseRange& range : kRanges) {
    if (c < range.low || c > range.high) continue;
    if (range.step != 0) return static_cast<uint32_t>(static_cast<int32_t>(c) + range.step);
    return (c - range.low) % 2 == 0 ? c + 1 : c;
  }
  return c;
}

uint32_t to_upper(uint32_t c) {
  for (const CaseRange& range : kRanges) {
    const auto step = static_cast<uint32_t>(range.step == 0 ? 1 : range.step);
    if (c < range.low + step || c > range.high + step) continue;
    if (range.step != 0 || (c - range.low) % 2 == 1) return c - step;
  }
  return c == 0x3c2 ? 0x3a3 : c;  // the final sigma
}

std::string to_lower(std::string_view text) {
  return mapped(text, [](uint32_t c) { return to_lower(c); });
}

std::string to_upper(std::string_view text) {
  return mapped(text, [](uint32_t c) { return to_upper(c); });
}

}  // namespace tiercel
