// The fuzz target: any bytes are loaded as a model, and what loads is run once on small inputs.
// An Error is the right answer to bad bytes; every other exception ends the process.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "session/session.h"

namespace {

using namespace tiercel;

constexpr int64_t kMaxBytes = 1 << 20;  // of one input; models that want more are not run

// A tensor of small whole numbers; extents that the model leaves open are 2.
std::optional<Value> feed(const Type& type) {
  if (type.kind == Type::Kind::Optional) return Value();
  if (type.kind == Type::Kind::Sequence) return Value(std::make_shared<Sequence>());
  if (!type.is_tensor() || type.dtype == DType::Undefined) return std::nullopt;
  Dims dims;
  for (const Dim& dim : type.shape.value_or(Shape())) dims.push_back(dim.known() ? dim.value() : 2);
  if (dtype_bytes(type.dtype, element_count(dims)) > kMaxBytes) return std::nullopt;
  Tensor tensor(type.dtype, dims);
  if (type.dtype == DType::String) {
    std::fill_n(tensor.data<std::string>(), tensor.size(), "a");
  } else if (type.dtype == DType::Float) {
    for (int64_t i = 0; i < tensor.size(); ++i) tensor.data<float>()[i] = static_cast<float>(i % 5);
  } else {
    std::memset(tensor.raw(), 0, static_cast<size_t>(tensor.bytes()));
    if (tensor.bytes() > 0) *tensor.data<uint8_t>() = 1;
  }
  return Value(tensor);
}

void run_once(Session& session) {
  std::vector<Value> feeds;
  for (const IoInfo& info : session.inputs()) {
    std::optional<Value> value = feed(info.type);
    if (!value) return;
    feeds.push_back(std::move(*value));
  }
  feeds.resize(feeds.size() + session.overridable_initializers().size());
  std::vector<int> wanted(session.outputs().size());
  for (size_t i = 0; i < wanted.size(); ++i) wanted[i] = static_cast<int>(i);
  RunOptions options;
  options.deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  ValueSink sink(wanted.size());
  session.run(feeds, wanted, options, sink);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // A copy of exactly this size: reading past the end is then seen.
  auto owner = std::make_shared<std::vector<std::byte>>(size);
  if (size > 0) std::memcpy(owner->data(), data, size);
  SessionOptions options;
  options.intra_op_threads = 1;
  options.verify = true;
  try {
    const std::span<const std::byte> bytes(owner->data(), owner->size());
    const std::shared_ptr<Session> session = Session::load(bytes, owner, "", options);
    static_cast<void>(session->explain());
    run_once(*session);
  } catch (const Error&) {
    return 0;
  }
  return 0;
}
