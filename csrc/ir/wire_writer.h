// Writes protobuf's wire format: fields of one message, appended to a string.
#pragma once
#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

namespace tiercel {

class WireWriter {
 public:
  void integer(int field, int64_t value) {
    varint(static_cast<uint64_t>(field) << 3);
    varint(static_cast<uint64_t>(value));
  }
  void float32(int field, float value) {
    varint(static_cast<uint64_t>(field) << 3 | 5);
    const auto bits = std::bit_cast<uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) out_ += static_cast<char>(bits >> shift & 255);
  }
  // Text, raw bytes, or a finished message.
  void bytes(int field, std::string_view value) {
    prefix(field, value.size());
    out_ += value;
  }
  // As bytes() of what the caller writes next.
  void prefix(int field, uint64_t size) {
    varint(static_cast<uint64_t>(field) << 3 | 2);
    varint(size);
  }
  void text(int field, std::string_view value) {
    if (!value.empty()) bytes(field, value);
  }
  [[nodiscard]] const std::string& out() const { return out_; }

 private:
  void varint(uint64_t value) {
    for (; value >= 128; value >>= 7) out_ += static_cast<char>((value & 127) | 128);
    out_ += static_cast<char>(value);
  }
  std::string out_;
};

}  // namespace tiercel
