// Reads protobuf's wire format from memory.
#include "ir/wire.h"

#include "base/error.h"

namespace tiercel {

namespace {

constexpr int kMaxDepth = 128;  // nested messages; graphs within graphs stay far below
enum WireType { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

}  // namespace

WireReader::WireReader(Bytes bytes, int depth)
    : at_(bytes.data()), end_(bytes.data() + bytes.size()), depth_(depth) {
  if (depth > kMaxDepth) fail("messages are nested too deeply");
}

void WireReader::fail(const char* what) const {
  throw_error(ErrorKind::InvalidProtobuf, "Protobuf parsing failed: ", what,
              "; the file is truncated, damaged or no ONNX model");
}

uint64_t WireReader::varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (at_ == end_) fail("a number is cut off");
    const auto byte = static_cast<uint64_t>(*at_++);
    value |= (byte & 127) << shift;
    if ((byte & 128) == 0) return value;
  }
  fail("a number has more than 64 bits");
}

Bytes WireReader::take(uint64_t count) {
  if (count > static_cast<uint64_t>(end_ - at_)) fail("a field reaches beyond its message");
  const Bytes taken(at_, static_cast<size_t>(count));
  at_ += count;
  return taken;
}

bool WireReader::next() {
  if (at_ == end_) return false;
  const uint64_t tag = varint();
  const uint64_t number = tag >> 3;
  if (number == 0 || number > (1 << 29)) fail("a field number is out of range");
  field_ = static_cast<int>(number);
  type_ = static_cast<int>(tag & 7);
  return true;
}

int64_t WireReader::integer() {
  if (type_ != kVarint) fail("a field that should be an integer is not");
  return static_cast<int64_t>(varint());
}

float WireReader::float32() {
  if (type_ != kFixed32) fail("a field that should be a float is not");
  return fixed<float>();
}

double WireReader::float64() {
  if (type_ != kFixed64) fail("a field that should be a double is not");
  return fixed<double>();
}

Bytes WireReader::bytes() {
  if (type_ != kBytes) fail("a field that should have a length has none");
  return take(varint());
}

std::string WireReader::text() {
  const Bytes raw = bytes();
  return {reinterpret_cast<const char*>(raw.data()), raw.size()};
}

void WireReader::integers(std::vector<int64_t>& out) {
  if (type_ != kBytes) {
    out.push_back(integer());
    return;
  }
  WireReader packed(bytes(), depth_);
  while (packed.at_ != packed.end_) out.push_back(static_cast<int64_t>(packed.varint()));
}

void WireReader::floats(std::vector<float>& out) {
  if (type_ != kBytes) {
    out.push_back(float32());
    return;
  }
  WireReader packed(bytes(), depth_);
  out.reserve(out.size() + static_cast<size_t>(packed.end_ - packed.at_) / sizeof(float));
  while (packed.at_ != packed.end_) out.push_back(packed.fixed<float>());
}

void WireReader::doubles(std::vector<double>& out) {
  if (type_ != kBytes) {
    out.push_back(float64());
    return;
  }
  WireReader packed(bytes(), depth_);
  while (packed.at_ != packed.end_) out.push_back(packed.fixed<double>());
}

void WireReader::skip() {
  switch (type_) {
    case kVarint:
      varint();
      return;
    case kFixed64:
      take(8);
      return;
    case kBytes:
      take(varint());
      return;
    case kFixed32:
      take(4);
      return;
    default:
      fail("a field has an unknown wire type");
  }
}

}  // namespace tiercel
