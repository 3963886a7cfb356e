// Finds places for values that are parts of others, so that nothing is copied to join or cut them.
#include "runtime/shared_bytes.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "runtime/memory_plan.h"

namespace tiercel {

SharedBytes::SharedBytes(std::vector<int64_t> bytes, const std::vector<bool>& movable)
    : bytes_(std::move(bytes)),
      at_(bytes_.size(), 0),
      group_(bytes_.size()),
      members_(bytes_.size()),
      movable_(movable) {
  std::iota(group_.begin(), group_.end(), size_t{0});
  for (size_t i = 0; i < bytes_.size(); ++i) members_[i] = {i};
}

SharedBytes::Range SharedBytes::whole_range(size_t group) const {
  Range all = range(group, 0);
  for (size_t member : members_[group]) {
    all.begin = std::min(all.begin, at_[member]);
    all.end = std::max(all.end, at_[member] + bytes_[member]);
  }
  return all;
}

int64_t SharedBytes::offset(size_t value) const {
  return at_[value] - whole_range(group_[value]).begin;
}

int64_t SharedBytes::extent(size_t value) const {
  const Range all = whole_range(group_[value]);
  return all.end - all.begin;
}

void SharedBytes::move(size_t from, size_t to, int64_t shift) {
  for (size_t member : members_[from]) {
    at_[member] += shift;
    group_[member] = to;
    members_[to].push_back(member);
  }
  members_[from].clear();
}

bool SharedBytes::join(size_t whole, std::span<const Part> parts) {
  if (parts.empty() || !alone(whole) || !movable_[whole]) return false;
  for (const Part& part : parts) {
    // A group is movable as a whole or not at all.
    if (!movable_[part.value] || part.offset % kMemoryAlignment != 0) return false;
  }
  // The group that stays where it is: one that has several members, else that of the first part.
  const Part* base = &parts.front();
  for (const Part& part : parts) {
    if (alone(base->value) && !alone(part.value)) base = &part;
  }
  const size_t home = group_[base->value];
  const int64_t origin = at_[base->value] - base->offset;
  std::map<size_t, int64_t> shifts{{home, 0}};  // groups that come together
  std::vector<Range> taken{whole_range(home)};
  for (const Part& part : parts) {
    const size_t group = group_[part.value];
    const int64_t shift = origin + part.offset - at_[part.value];
    const auto [known, added] = shifts.try_emplace(group, shift);
    if (!added) {
      if (known->second != shift) return false;
      continue;
    }
    Range all = whole_range(group);
    all = {all.begin + shift, all.end + shift};
    for (const Range& other : taken) {
      if (std::max(other.begin, all.begin) < std::min(other.end, all.end)) return false;
    }
    taken.push_back(all);
  }
  // One part twice would have to be at two places: the parts' groups differ or lie as they should.
  for (const auto& [group, shift] : shifts) {
    if (group != home) move(group, home, shift);
  }
  at_[whole] = origin;
  group_[whole] = home;
  members_[whole].clear();
  members_[home].push_back(whole);
  return true;
}

bool SharedBytes::cut(size_t whole, std::span<const Part> parts) {
  for (const Part& part : parts) {
    const bool fits =
        part.offset % kMemoryAlignment == 0 && part.offset + bytes_[part.value] <= bytes_[whole];
    if (!fits || !alone(part.value) || !movable_[part.value]) return false;
  }
  for (const Part& part : parts) {
    move(part.value, group_[whole], at_[whole] + part.offset);
    movable_[part.value] = movable_[whole];
  }
  return true;
}

}  // namespace tiercel
