// A decoder of deflate (RFC 1951) that trusts nothing it reads.
#include "base/inflate.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "base/error.h"

namespace tiercel {
namespace {

constexpr int kLongestCode = 15;
constexpr size_t kLiterals = 288, kDistances = 32, kLengthCodes = 19;
constexpr unsigned kEndOfBlock = 256;

[[noreturn]] void damaged(const char* what) {
  throw_error(ErrorKind::Fail, "compressed data is damaged: ", what);
}

// A set of prefix codes: how many there are of each length, and their symbols in order.
struct Codes {
  std::array<uint16_t, kLongestCode + 1> count{};
  std::array<uint16_t, kLiterals> symbols{};

  // A set that leaves codes unused may have one code at most.
  explicit Codes(std::span<const uint8_t> lengths) {
    for (const uint8_t length : lengths) ++count[length];
    const size_t used = lengths.size() - count[0];
    count[0] = 0;
    int left = 1;
    std::array<uint16_t, kLongestCode + 2> next{};
    for (size_t length = 1; length <= kLongestCode; ++length) {
      left = left * 2 - count[length];
      if (left < 0) damaged("too many codes of a length");
      next[length + 1] = static_cast<uint16_t>(next[length] + count[length]);
    }
    if (left > 0 && used > 1) damaged("a set of codes is incomplete");
    for (size_t symbol = 0; symbol < lengths.size(); ++symbol) {
      if (lengths[symbol] != 0) symbols[next[lengths[symbol]]++] = static_cast<uint16_t>(symbol);
    }
  }
};

class Inflater {
 public:
  Inflater(std::string_view data, size_t size) : data_(data), size_(size) { out_.reserve(size); }

  std::string run() {
    bool last = false;
    while (!last) {
      last = bits(1) != 0;
      switch (bits(2)) {
        case 0:
          stored();
          break;
        case 1:
          fixed();
          break;
        case 2:
          dynamic();
          break;
        default:
          damaged("a block of no kind");
      }
    }
    if (out_.size() != size_) damaged("it stands for fewer bytes than it should");
    if (at_ != data_.size()) damaged("bytes behind its end");
    return std::move(out_);
  }

 private:
  unsigned byte() {
    if (at_ == data_.size()) damaged("it ends early");
    return static_cast<unsigned char>(data_[at_++]);
  }

  // The next `count` bits, at most 15, the first lowest.
  unsigned bits(int count) {
    while (held_ < count) {
      hold_ |= byte() << held_;
      held_ += 8;
    }
    const unsigned value = hold_ & ((1U << count) - 1);
    hold_ >>= count;
    held_ -= count;
    return value;
  }

  unsigned symbol(const Codes& codes) {
    unsigned code = 0, first = 0, index = 0;
    for (size_t length = 1; length <= kLongestCode; ++length) {
      code |= bits(1);
      const unsigned count = codes.count[length];
      if (code - first < count) return codes.symbols[index + code - first];
      index += count;
      first = (first + count) * 2;
      code *= 2;
    }
    damaged("a code that no symbol has");
  }

  void put(char byte) {
    if (out_.size() == size_) damaged("it stands for more bytes than it should");
    out_.push_back(byte);
  }

  void stored() {
    hold_ = 0;
    held_ = 0;
    const unsigned low = byte(), length = low | byte() << 8;
    const unsigned low_check = byte(), check = low_check | byte() << 8;
    if ((length ^ check) != 0xFFFF) damaged("the length of a stored block");
    if (length > data_.size() - at_) damaged("it ends early");
    if (length > size_ - out_.size()) damaged("it stands for more bytes than it should");
    out_.append(data_.substr(at_, length));
    at_ += length;
  }

  void fixed() {
    static const Codes literals = [] {
      std::array<uint8_t, kLiterals> lengths{};
      std::fill(lengths.begin(), lengths.begin() + 144, 8);
      std::fill(lengths.begin() + 144, lengths.begin() + 256, 9);
      std::fill(lengths.begin() + 256, lengths.begin() + 280, 7);
      std::fill(lengths.begin() + 280, lengths.end(), 8);
      return Codes(lengths);
    }();
    static const Codes distances = [] {
      std::array<uint8_t, kDistances> lengths{};
      lengths.fill(5);
      return Codes(lengths);
    }();
    block(literals, distances);
  }

  void dynamic() {
    static constexpr uint8_t kOrder[kLengthCodes] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                     11, 4,  12, 3, 13, 2, 14, 1, 15};
    const size_t literals = bits(5) + 257, distances = bits(5) + 1, given = bits(4) + 4;
    if (literals > 286 || distances > 30) damaged("too many symbols");
    std::array<uint8_t, kLengthCodes> short_lengths{};
    for (size_t i = 0; i < given; ++i) short_lengths[kOrder[i]] = static_cast<uint8_t>(bits(3));
    const Codes codes(short_lengths);
    std::array<uint8_t, kLiterals + kDistances> lengths{};
    const size_t all = literals + distances;
    for (size_t at = 0; at < all;) {
      const unsigned one = symbol(codes);
      if (one < 16) {
        lengths[at++] = static_cast<uint8_t>(one);
        continue;
      }
      if (one == 16 && at == 0) damaged("a length is repeated before the first");
      const uint8_t value = one == 16 ? lengths[at - 1] : uint8_t{0};
      const size_t times = one == 16 ? 3 + bits(2) : one == 17 ? 3 + bits(3) : 11 + bits(7);
      if (times > all - at) damaged("too many lengths");
      std::fill_n(lengths.begin() + static_cast<std::ptrdiff_t>(at), times, value);
      at += times;
    }
    if (lengths[kEndOfBlock] == 0) damaged("a block has no end");
    const std::span<const uint8_t> both(lengths);
    block(Codes(both.first(literals)), Codes(both.subspan(literals, distances)));
  }

  void block(const Codes& literals, const Codes& distances) {
    static constexpr uint16_t kLength[] = {3,  4,  5,  6,   7,   8,   9,   10,  11, 13,
                                           15, 17, 19, 23,  27,  31,  35,  43,  51, 59,
                                           67, 83, 99, 115, 131, 163, 195, 227, 258};
    static constexpr uint8_t kLengthBits[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                              2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    static constexpr uint16_t kDistance[] = {
        1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
        193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
    for (;;) {
      const unsigned literal = symbol(literals);
      if (literal == kEndOfBlock) return;
      if (literal < kEndOfBlock) {
        put(static_cast<char>(literal));
        continue;
      }
      const size_t which = literal - kEndOfBlock - 1;
      if (which >= std::size(kLength)) damaged("a length of no meaning");
      const size_t length = kLength[which] + bits(kLengthBits[which]);
      const size_t far = symbol(distances);
      if (far >= std::size(kDistance)) damaged("a distance of no meaning");
      const size_t distance = kDistance[far] + bits(far < 4 ? 0 : static_cast<int>(far / 2) - 1);
      if (distance > out_.size()) damaged("a distance before its beginning");
      for (size_t i = 0; i < length; ++i) put(out_[out_.size() - distance]);
    }
  }

  std::string_view data_;
  const size_t size_;
  std::string out_;
  size_t at_ = 0;
  unsigned hold_ = 0;
  int held_ = 0;
};

}  // namespace

std::string inflate(std::string_view data, size_t size) { return Inflater(data, size).run(); }

}  // namespace tiercel
