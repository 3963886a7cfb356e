// Finds long lists in attribute messages and reads them.
#include "ir/long_list.h"

#include "base/error.h"
#include "base/mapped_file.h"

namespace tiercel {
namespace {

constexpr size_t kLong = 1 << 16;  // bytes of a message; shorter lists are read at once
enum Tag {
  kName = 0x0a,
  kPackedFloats = 0x3a,
  kFloats = 0x3d,
  kInts = 0x40,
  kPackedInts = 0x42,
  kStrings = 0x4a,
  kDoc = 0x6a,
  kType = 0xa0  // followed by 1
};

// One varint; nullptr when it is cut off or has more than 64 bits.
const std::byte* read_varint(const std::byte* at, const std::byte* end, uint64_t& value) {
  value = 0;
  for (int shift = 0; shift < 64 && at != end; shift += 7) {
    const auto byte = static_cast<uint64_t>(*at++);
    value |= (byte & 127) << shift;
    if ((byte & 128) == 0) return at;
  }
  return nullptr;
}

const std::byte* skip_varint(const std::byte* at, const std::byte* end) {
  const std::byte* last = end - at > 10 ? at + 10 : end;
  while (at != last) {
    if ((*at++ & std::byte{128}) == std::byte{0}) return at;
  }
  return nullptr;
}

// A field with a length; nullptr when it is cut off.
const std::byte* read_field(const std::byte* at, const std::byte* end, Bytes& field) {
  uint64_t size = 0;
  at = read_varint(at, end, size);
  if (at == nullptr || size > static_cast<uint64_t>(end - at)) return nullptr;
  field = {at, static_cast<size_t>(size)};
  return at + size;
}

// The end of the entries that begin with `tag` at `at`, and their number; nullptr: damaged.
const std::byte* end_of_run(std::byte tag, const std::byte* at, const std::byte* end,
                            size_t& count) {
  for (; at != end && *at == tag; ++count) {
    ++at;
    if (tag == std::byte{kFloats}) {
      if (end - at < 4) return nullptr;
      at += 4;
    } else if (tag == std::byte{kInts}) {
      at = skip_varint(at, end);
      if (at == nullptr) return nullptr;
    } else {
      Bytes text;
      at = read_field(at, end, text);
      if (at == nullptr) return nullptr;
    }
  }
  return at;
}

// The number of entries of a packed field; 0: damaged.
size_t count_packed(Bytes packed, bool floats) {
  if (floats) return packed.size() % 4 == 0 ? packed.size() / 4 : 0;
  size_t count = 0;
  const std::byte* end = packed.data() + packed.size();
  for (const std::byte* at = packed.data(); at != end; ++count) {
    at = skip_varint(at, end);
    if (at == nullptr) return 0;
  }
  return count;
}

}  // namespace

std::shared_ptr<const LongList> LongList::find(Bytes message, const std::shared_ptr<void>& owner,
                                               std::string& name) {
  if (message.size() < kLong || !owner) return nullptr;
  const auto list = std::make_shared<LongList>();
  std::string found;
  uint64_t type = 0;
  const std::byte *at = message.data(), *end = at + message.size();
  while (at != end) {
    const std::byte tag = *at;
    Bytes field;
    const bool floats = tag == std::byte{kFloats} || tag == std::byte{kPackedFloats};
    const bool ints = tag == std::byte{kInts} || tag == std::byte{kPackedInts};
    if (tag == std::byte{kName} || tag == std::byte{kDoc}) {
      at = read_field(at + 1, end, field);
      if (at == nullptr) return nullptr;
      if (tag == std::byte{kName})
        found.assign(reinterpret_cast<const char*>(field.data()), field.size());
    } else if (tag == std::byte{kType}) {
      if (end - at < 3 || at[1] != std::byte{1}) return nullptr;
      at = read_varint(at + 2, end, type);
      if (at == nullptr) return nullptr;
    } else if ((floats || ints || tag == std::byte{kStrings}) && list->count_ == 0) {
      list->kind_ = floats ? Kind::Floats : ints ? Kind::Ints : Kind::Strings;
      list->packed_ = tag == std::byte{kPackedFloats} || tag == std::byte{kPackedInts};
      const std::byte* begin = at;
      at = list->packed_ ? read_field(at + 1, end, list->run_)
                         : end_of_run(tag, at, end, list->count_);
      if (at == nullptr) return nullptr;
      if (list->packed_) list->count_ = count_packed(list->run_, floats);
      if (!list->packed_) list->run_ = {begin, at};
      if (list->count_ == 0) return nullptr;
    } else {
      return nullptr;
    }
  }
  // AttributeProto: FLOATS is 6, INTS 7, STRINGS 8.
  const uint64_t stated = list->kind_ == Kind::Floats ? 6 : list->kind_ == Kind::Ints ? 7 : 8;
  if (list->count_ == 0 || (type != 0 && type != stated)) return nullptr;
  list->owner_ = owner;
  name = std::move(found);
  return list;
}

const Attribute& LongList::all() const {
  std::call_once(once_, [this] {
    ListReader reader(*this);
    if (kind_ == Kind::Ints) {
      std::vector<int64_t> values(count_);
      for (int64_t& value : values) value = reader.integer();
      all_ = std::move(values);
    } else if (kind_ == Kind::Floats) {
      std::vector<double> values(count_);
      for (double& value : values) value = reader.real();
      all_ = std::move(values);
    } else {
      std::vector<std::string> values(count_);
      for (std::string& value : values) value = reader.text();
      all_ = std::move(values);
    }
  });
  return all_;
}

void LongList::release() const { MappedFile::release(run_); }

int64_t ListReader::long_integer() {
  uint64_t value = 0;
  if (at_ > end_ || (at_ = read_varint(at_, end_, value)) == nullptr) cut_off();
  return static_cast<int64_t>(value);
}

void ListReader::cut_off() {
  throw_error(ErrorKind::InvalidProtobuf,
              "Protobuf parsing failed: a list is cut off; the file changed while it was read");
}

const Attribute& Attributes::Entry::read() const { return list ? list->all() : value; }

size_t Attributes::Entry::kind() const {
  if (!list) return value.index();
  switch (list->kind()) {
    case LongList::Kind::Ints:
      return Attribute(std::vector<int64_t>()).index();
    case LongList::Kind::Floats:
      return Attribute(std::vector<double>()).index();
    default:
      return Attribute(std::vector<std::string>()).index();
  }
}

}  // namespace tiercel
