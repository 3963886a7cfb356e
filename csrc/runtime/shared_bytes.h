// Values whose bytes are parts of others': what is joined is written where the whole lies, and what
// is cut is read there.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace tiercel {

// Groups of values at offsets of one run of bytes. Members that overlap hold the same content
// there.
class SharedBytes {
 public:
  struct Part {
    size_t value;
    int64_t offset;  // into the whole
  };

  // `bytes`: of each value. A value that is not `movable` has memory already: it may be cut, but
  // nothing is added to it.
  SharedBytes(std::vector<int64_t> bytes, const std::vector<bool>& movable);

  // The whole, which nobody shares yet, is its parts; false where they cannot lie so.
  bool join(size_t whole, std::span<const Part> parts);
  // The parts, which nobody shares yet, are cut out of the whole.
  bool cut(size_t whole, std::span<const Part> parts);

  // The value by which the group of `value` goes, the offset of the value in the group's bytes, and
  // how many those are.
  [[nodiscard]] size_t group(size_t value) const { return group_[value]; }
  [[nodiscard]] int64_t offset(size_t value) const;
  [[nodiscard]] int64_t extent(size_t value) const;

 private:
  struct Range {
    int64_t begin, end;
  };
  [[nodiscard]] Range range(size_t value, int64_t shift) const {
    return {at_[value] + shift, at_[value] + shift + bytes_[value]};
  }
  [[nodiscard]] bool alone(size_t value) const { return members_[group_[value]].size() == 1; }
  [[nodiscard]] Range whole_range(size_t group) const;
  void move(size_t from, size_t to, int64_t shift);

  std::vector<int64_t> bytes_, at_;
  std::vector<size_t> group_;
  std::vector<std::vector<size_t>> members_;  // of the group that goes by this value
  std::vector<bool> movable_;
};

}  // namespace tiercel
