// A long repeated attribute that stays in the file's bytes: read one by one, or all at once when
// somebody asks for the whole.
#pragma once
#include <mutex>

#include "ir/attribute.h"
#include "ir/wire.h"

namespace tiercel {

class LongList {
 public:
  enum class Kind { Ints, Floats, Strings };

  // The list of an AttributeProto whose other fields are its name, type and text, and whose entries
  // lie in one run; nullptr for every other message, and for a damaged or short one.
  static std::shared_ptr<const LongList> find(Bytes message, const std::shared_ptr<void>& owner,
                                              std::string& name);
  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] size_t size() const { return count_; }
  // All entries; read on the first call and kept.
  [[nodiscard]] const Attribute& all() const;
  // Lets the system have back the pages that the entries lie in; they can be read again.
  void release() const;

 private:
  friend class ListReader;

  Kind kind_ = Kind::Ints;
  bool packed_ = false;  // entries without tags, a protobuf's packed field
  Bytes run_;
  size_t count_ = 0;
  std::shared_ptr<void> owner_;
  mutable std::once_flag once_;
  mutable Attribute all_;
};

// Reads the entries of a list in order. `find` has checked them; a reader that comes to the end
// (of a file that somebody cut meanwhile) throws Error(InvalidProtobuf).
class ListReader {
 public:
  explicit ListReader(const LongList& list)
      : at_(list.run_.data()), end_(at_ + list.run_.size()), tag_(list.packed_ ? 0 : 1) {}

  int64_t integer() {
    at_ += tag_;
    if (at_ < end_ && (*at_ & std::byte{128}) == std::byte{0}) return static_cast<int64_t>(*at_++);
    return long_integer();
  }
  float real() {
    at_ += tag_;
    if (end_ - at_ < 4) cut_off();
    float value;
    std::memcpy(&value, at_, sizeof value);
    at_ += sizeof value;
    return value;
  }
  std::string_view text() {
    const auto size = static_cast<uint64_t>(integer());
    if (at_ > end_ || size > static_cast<uint64_t>(end_ - at_)) cut_off();
    const std::string_view value(reinterpret_cast<const char*>(at_), size);
    at_ += size;
    return value;
  }

 private:
  int64_t long_integer();
  [[noreturn]] static void cut_off();

  const std::byte* at_;
  const std::byte* end_;
  int tag_;
};

}  // namespace tiercel
