// Reads protobuf's wire format from memory: bounds-checked, without copying.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tiercel {

using Bytes = std::span<const std::byte>;

// A cursor over the fields of one message. Every read throws Error(InvalidProtobuf) instead of
// leaving the bytes.
class WireReader {
 public:
  explicit WireReader(Bytes bytes, int depth = 0);

  // Steps to the next field; false at the end.
  bool next();
  [[nodiscard]] int field() const { return field_; }
  // The field's value; a field of another wire type throws.
  int64_t integer();
  float float32();
  double float64();
  Bytes bytes();
  std::string text();
  WireReader message() { return WireReader(bytes(), depth_ + 1); }
  // Repeated numbers, packed or not, appended to `out`.
  void integers(std::vector<int64_t>& out);
  void floats(std::vector<float>& out);
  void doubles(std::vector<double>& out);
  void skip();
  [[nodiscard]] Bytes rest() const { return {at_, end_}; }

 private:
  [[noreturn]] void fail(const char* what) const;
  uint64_t varint();
  Bytes take(uint64_t count);
  template <class T>
  T fixed() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

  const std::byte* at_;
  const std::byte* end_;
  int depth_;
  int field_ = 0;
  int type_ = 0;
};

}  // namespace tiercel
