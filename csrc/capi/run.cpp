// C API: one run, from the caller's values to the caller's values.
#include <algorithm>
#include <span>

#include "capi/guard.h"
#include "capi/handles.h"

using namespace tiercel;
using namespace tiercel::capi;

namespace {

// Strings that the model gives may be its own, and a caller may write to what it was given.
Value own_strings(const Tensor& from) {
  Tensor copy(DType::String, from.dims());
  std::copy_n(from.data<std::string>(), from.size(), copy.data<std::string>());
  return copy;
}

// Writes outputs into tensors that the caller bound, and keeps the others as values.
class BoundSink final : public OutputSink {
 public:
  explicit BoundSink(size_t count) : values_(count), bound_(count) {}

  void bind(int index, const TclValue& value) {
    if (value.part) {
      throw_error(ErrorKind::InvalidArgument, "output ", index,
                  " is bound to a part of a sequence or map, which cannot be written to");
    }
    bound_[static_cast<size_t>(index)] = tensor_of(&value);
  }
  [[nodiscard]] Value take(int index) { return std::move(values_[static_cast<size_t>(index)]); }

  void* allocate(int index, DType dtype, std::span<const int64_t> dims) override {
    const Tensor& target = bound_[static_cast<size_t>(index)];
    if (!target.valid()) return nullptr;
    if (target.dtype() != dtype || !std::ranges::equal(target.dims(), dims)) {
      throw_error(ErrorKind::InvalidArgument, "output ", index, " is bound to a tensor(",
                  dtype_name(target.dtype()), ") of shape ", dims_text(target.dims()),
                  "; the model gives tensor(", dtype_name(dtype), ") of shape ", dims_text(dims));
    }
    if (dtype == DType::String) return nullptr;
    return target.raw() != nullptr ? target.raw() : &nothing_;
  }

  void set(int index, Value value) override {
    const auto at = static_cast<size_t>(index);
    const Tensor& target = bound_[at];
    const Tensor* from = value.tensor();
    if (!target.valid()) {
      values_[at] =
          from != nullptr && from->dtype() == DType::String ? own_strings(*from) : std::move(value);
      return;
    }
    if (from == nullptr) {
      throw_error(ErrorKind::InvalidArgument, "output ", index, " is bound to a tensor; the model ",
                  "gives ", kind_name(kind_of(value)));
    }
    static_cast<void>(allocate(index, from->dtype(), from->dims()));  // checks both
    copy_elements(target, *from);
    if (DeviceMemory* there = memory_of(target)) there->synchronize();  // ends with the run
  }
  [[nodiscard]] DeviceMemory* memory(int index) const override {
    return memory_of(bound_[static_cast<size_t>(index)]);
  }

 private:
  std::vector<Value> values_;
  std::vector<Tensor> bound_;
  std::byte nothing_{};  // where a bound tensor without elements may point
};

size_t find_port(const std::vector<TclPort>& ports, const char* name) {
  const auto same = [name](const TclPort& port) { return port.info->name == name; };
  return static_cast<size_t>(std::find_if(ports.begin(), ports.end(), same) - ports.begin());
}

// Index of a feed: inputs first, then overridable initialisers.
size_t find_feed(const TclSession& session, const char* name) {
  const auto& inputs = session.ports[TCL_INPUT];
  const auto& overridable = session.ports[TCL_OVERRIDABLE];
  const size_t input = find_port(inputs, name);
  if (input < inputs.size()) return input;
  const size_t other = find_port(overridable, name);
  if (other == overridable.size()) {
    throw_error(ErrorKind::InvalidArgument, "Invalid input name: ", name);
  }
  return inputs.size() + other;
}

std::vector<Value> read_feeds(const TclSession& session, const char* const* names,
                              const TclValue* const* inputs, size_t count) {
  const size_t all = session.ports[TCL_INPUT].size() + session.ports[TCL_OVERRIDABLE].size();
  if (names == nullptr && count > all) {
    throw_error(ErrorKind::InvalidArgument, "got ", count, " inputs; the model takes ", all);
  }
  if (count > 0) (void)needed(inputs, "inputs");
  std::vector<Value> feeds(all);
  std::vector<bool> given(all, false);
  for (size_t i = 0; i < count; ++i) {
    const size_t at = names != nullptr ? find_feed(session, &needed(names[i], "an input name")) : i;
    if (given[at]) throw_error(ErrorKind::InvalidArgument, "an input is given twice: ", names[i]);
    given[at] = true;
    feeds[at] = needed(inputs[i], "an input").value;
  }
  for (size_t i = 0; i < session.ports[TCL_INPUT].size(); ++i) {
    const IoInfo& info = *session.ports[TCL_INPUT][i].info;
    if (!given[i] && info.type.kind != Type::Kind::Optional) {
      throw_error(ErrorKind::InvalidArgument, "Missing Input: ", info.name);
    }
  }
  return feeds;
}

std::vector<int> read_wanted(const TclSession& session, const char* const* names, size_t count) {
  const auto& ports = session.ports[TCL_OUTPUT];
  if (names == nullptr && count != ports.size()) {
    throw_error(ErrorKind::InvalidArgument, "output_names is NULL and output_count is ", count,
                "; the model has ", ports.size(), " outputs");
  }
  std::vector<int> wanted;
  for (size_t i = 0; i < count; ++i) {
    const size_t at = names != nullptr ? find_port(ports, &needed(names[i], "an output name")) : i;
    if (at == ports.size()) {
      throw_error(ErrorKind::InvalidArgument, "Invalid output name: ", names[i]);
    }
    if (std::find(wanted.begin(), wanted.end(), static_cast<int>(at)) != wanted.end()) {
      throw_error(ErrorKind::InvalidArgument,
                  "an output is asked for twice: ", ports[at].info->name);
    }
    wanted.push_back(static_cast<int>(at));
  }
  return wanted;
}

RunOptions read_options(const TclRunOptions* options) {
  RunOptions out;
  if (options == nullptr) return out;
  out.terminate = &options->terminate;
  constexpr double kForever = 1e9;  // seconds
  if (options->timeout > 0 && options->timeout < kForever) {
    using Clock = std::chrono::steady_clock;
    out.deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                      std::chrono::duration<double>(options->timeout));
  }
  return out;
}

}  // namespace

TclStatus tcl_session_run(TclSession* session, const TclRunOptions* options,
                          const char* const* input_names, const TclValue* const* inputs,
                          size_t input_count, const char* const* output_names, TclValue** outputs,
                          size_t output_count) {
  return guard([&] {
    TclSession& self = needed(session, "session");
    if (output_count > 0) (void)needed(outputs, "outputs");
    const std::vector<Value> feeds = read_feeds(self, input_names, inputs, input_count);
    const std::vector<int> wanted = read_wanted(self, output_names, output_count);
    BoundSink sink(self.ports[TCL_OUTPUT].size());
    for (size_t i = 0; i < output_count; ++i) {
      if (outputs[i] != nullptr) sink.bind(wanted[i], *outputs[i]);
    }
    self.session->run(feeds, wanted, read_options(options), sink);
    std::vector<std::unique_ptr<TclValue>> made(output_count);
    for (size_t i = 0; i < output_count; ++i) {
      if (outputs[i] == nullptr)
        made[i] = std::make_unique<TclValue>(TclValue{sink.take(wanted[i])});
    }
    for (size_t i = 0; i < output_count; ++i) {
      if (made[i]) outputs[i] = made[i].release();
    }
  });
}
