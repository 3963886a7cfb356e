// Runs plans: the values of one run, and the loop over its steps.
#include "runtime/executor.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "base/thread_pool.h"
#include "ops/op_def.h"
#include "runtime/kernel_call.h"

namespace tiercel {
namespace {

alignas(64) std::byte empty_bytes[64];  // where tensors without elements point

std::shared_ptr<Buffer> new_buffer(int64_t bytes, DeviceMemory* device = nullptr) {
  bytes = std::max<int64_t>(bytes, 1);
  return device != nullptr ? device->allocate(bytes) : Buffer::allocate(bytes);
}

// Whether somebody else (a feed, a constant, another value) has the bytes of a tensor too.
bool shares_bytes(const Value& value) {
  const Tensor* tensor = value.tensor();
  return tensor != nullptr && tensor->dtype() != DType::String && tensor->buffer().use_count() > 1;
}

// Steps were compiled, and memory was planned, for the value's static type.
void check_value(const ValueInfo& info, const Value& value) {
  const Type& type = info.type;
  if (!type.is_tensor()) return;
  const Tensor* tensor = value.tensor();
  if (tensor == nullptr) {
    throw_error(ErrorKind::RuntimeException, "value \"", info.name, "\": expected ", type.text(),
                ", got something else than a tensor");
  }
  if (type.dtype != DType::Undefined && type.dtype != tensor->dtype()) {
    throw_error(ErrorKind::RuntimeException, "value \"", info.name, "\": expected ", type.text(),
                ", got tensor(", dtype_name(tensor->dtype()), ")");
  }
  if (!type.shape) return;
  const Dims& dims = tensor->dims();
  bool fits = dims.size() == type.shape->size();
  for (size_t i = 0; fits && i < dims.size(); ++i) {
    const Dim& extent = (*type.shape)[i];
    fits = !extent.known() || extent.value() == dims[i];
  }
  if (!fits) {
    throw_error(ErrorKind::RuntimeException, "value \"", info.name, "\": expected shape ",
                shape_text(*type.shape), ", got ", dims_text(dims));
  }
}

}  // namespace

void RunOptions::check() const {
  if (terminate != nullptr && terminate->load(std::memory_order_relaxed)) {
    throw_error(ErrorKind::Fail, "Exiting due to terminate flag being set to true.");
  }
  if (deadline && std::chrono::steady_clock::now() > *deadline) {
    throw_error(ErrorKind::Timeout, "the run took longer than its timeout");
  }
}

RunContext::RunContext(std::shared_ptr<const Plan> plan)
    : plan_(std::move(plan)),
      tensors_(plan_->places.size(), TclTensor{nullptr, nullptr, -1, 0, 0}),
      dims_(plan_->places.size()),
      values_(plan_->places.size()) {
  for (const Memory& memory : plan_->memories) {
    arenas_.push_back(new_buffer(memory.arena_bytes, memory.device()));
  }
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const ValueInfo& info = plan_->graph.values[i];
    const Place& place = plan_->places[i];
    if (!info.type.is_tensor() && !info.constant) continue;
    std::optional<Dims> dims;
    if (info.constant && place.root == static_cast<ValueId>(i)) {
      dims = info.constant->dims();
    } else if (info.type.shape) {
      dims = concrete(*info.type.shape);
    }
    tensors_[i].dtype =
        static_cast<int64_t>(info.constant ? info.constant->dtype() : info.type.dtype);
    if (!dims) continue;
    dims_[i] = *dims;
    dims_[i].reserve(1);
    tensors_[i].dims = dims_[i].data();
    tensors_[i].rank = static_cast<int64_t>(dims->size());
    tensors_[i].size = element_count(*dims);
    if (place.kind == Place::Kind::Constant && place.memory == 0) {
      void* data = plan_->graph.value(place.root).constant->raw();
      tensors_[i].data =
          data != nullptr ? static_cast<std::byte*>(data) + place.offset : empty_bytes;
    }
    if (place.kind == Place::Kind::Arena) {
      tensors_[i].data = arenas_[static_cast<size_t>(place.memory)]->data() + place.offset;
    }
  }
  for (const auto& [id, tensor] : plan_->residents) set_bytes(id, tensor.raw());
}

void* RunContext::reserve(std::shared_ptr<Buffer>& buffer, int64_t bytes) {
  if (!buffer || buffer->bytes() < bytes) {
    buffer.reset();
    buffer = new_buffer(bytes);
  }
  return buffer->data();
}

void RunContext::set_bytes(ValueId root, void* data) {
  if (data == nullptr) data = empty_bytes;
  tensors_[static_cast<size_t>(root)].data = data;
  for (ValueId alias : plan_->aliases[static_cast<size_t>(root)]) {
    const auto at = static_cast<size_t>(alias);
    tensors_[at].data = static_cast<std::byte*>(data) + plan_->places[at].offset;
  }
}

void RunContext::set_tensor(ValueId id, const Tensor& tensor) {
  const auto at = static_cast<size_t>(id);
  TclTensor& view = tensors_[at];
  dims_[at].assign(tensor.dims().begin(), tensor.dims().end());
  dims_[at].reserve(1);
  view.dims = dims_[at].data();
  view.rank = tensor.rank();
  view.size = tensor.size();
  view.dtype = static_cast<int64_t>(tensor.dtype());
  set_bytes(id, tensor.raw());
}

void RunContext::set_value(ValueId id, Value value) {
  if (id == kNone) return;
  check_value(plan_->graph.value(id), value);
  if (const Tensor* tensor = value.tensor()) {
    set_tensor(id, *tensor);
  } else {
    tensors_[static_cast<size_t>(id)] = TclTensor{nullptr, nullptr, -1, 0, 0};
  }
  values_[static_cast<size_t>(id)] = std::move(value);
}

Value RunContext::value(ValueId id) const {
  if (id == kNone) return {};
  const auto at = static_cast<size_t>(id);
  const Place& place = plan_->places[at];
  if (place.root != id && place.kind != Place::Kind::Arena) {
    const Value owner = value(place.root);
    const Tensor* tensor = owner.tensor();
    if (tensor == nullptr) return owner;
    const auto dtype = static_cast<DType>(tensors_[at].dtype);  // BitCast changes it
    const int64_t offset = place.offset - plan_->places[static_cast<size_t>(place.root)].offset;
    return Tensor(dtype, dims_[at], tensor->buffer(),
                  static_cast<std::byte*>(tensor->raw()) + offset);
  }
  if (place.kind == Place::Kind::Constant && place.memory == 0) {
    return *plan_->graph.value(id).constant;
  }
  if (place.kind == Place::Kind::Input) return feeds_[static_cast<size_t>(place.index)];
  if (place.kind == Place::Kind::Held) return values_[at];
  const TclTensor& view = tensors_[at];
  if (view.data == nullptr) return {};
  const int64_t bytes = tensor_bytes(view);
  return Tensor(static_cast<DType>(view.dtype), dims_[at],
                Buffer::wrap(view.data, bytes, {}, device_of(id)), view.data);
}

void RunContext::allocate(ValueId id, DType dtype, Dims dims) {
  Tensor tensor = tensor_in(device_of(id), dtype, std::move(dims));
  set_tensor(id, tensor);
  values_[static_cast<size_t>(id)] = std::move(tensor);
}

void RunContext::bind(std::span<const Value> feeds, std::span<const int> wanted, OutputSink& sink) {
  feeds_ = feeds;
  wanted_ = wanted;
  for (size_t i = 0; i < plan_->inputs.size(); ++i) {
    const ValueId id = plan_->inputs[i];
    check_value(plan_->graph.value(id), feeds[i]);
    if (const Tensor* tensor = feeds[i].tensor()) {
      set_tensor(id, *tensor);
    } else {
      tensors_[static_cast<size_t>(id)] = TclTensor{nullptr, nullptr, -1, 0, 0};
    }
  }
  output_buffers_.assign(plan_->outputs.size(), nullptr);
  output_done_.assign(plan_->outputs.size(), false);
  for (size_t i = 0; i < plan_->outputs.size(); ++i) {
    if (plan_->output_values[i].empty()) continue;
    const TclTensor& view = *tensor(plan_->outputs[i]);
    void* data = nullptr;
    if (std::find(wanted.begin(), wanted.end(), static_cast<int>(i)) != wanted.end()) {
      data = sink.allocate(static_cast<int>(i), static_cast<DType>(view.dtype),
                           {view.dims, static_cast<size_t>(view.rank)});
      output_done_[i] = data != nullptr;
    }
    if (data == nullptr) {
      output_buffers_[i] = new_buffer(tensor_bytes(view), device_of(plan_->outputs[i]));
      data = output_buffers_[i]->data();
    }
    for (ValueId id : plan_->output_values[i]) {
      const auto at = static_cast<size_t>(id);
      tensors_[at].data = static_cast<std::byte*>(data) + plan_->places[at].offset;
    }
  }
}

const Node& RunContext::infer(const Step& step) {
  if (!live_) {
    live_ = std::make_unique<Graph>(clone(plan_->graph));
    live_->overridable.clear();  // in this run every value is what it is
  }
  Node& node = live_->node(step.node);
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const ValueId in = node.inputs[i];
    if (in == kNone || !plan_->graph.value(in).type.is_tensor()) continue;
    const TclTensor& view = *tensor(in);
    if (view.rank < 0) continue;
    ValueInfo& info = live_->value(in);
    const auto dtype = static_cast<DType>(view.dtype);
    info.type = Type::tensor(dtype, to_shape({view.dims, static_cast<size_t>(view.rank)}));
    const auto& needed = node.def->value_inputs;
    if (plan_->graph.constant(in) != nullptr) continue;
    info.constant.reset();
    info.known.reset();
    if (std::find(needed.begin(), needed.end(), static_cast<int>(i)) != needed.end()) {
      const Value held = value(in);
      if (held.tensor() != nullptr) info.constant = *held.tensor();
    }
  }
  for (ValueId out : node.outputs) {
    if (out == kNone) continue;
    live_->value(out).type = plan_->graph.value(out).type;
    live_->value(out).known.reset();
  }
  try {
    infer_node(*live_, node, true);
  } catch (const Error& error) {
    // The graph is what it was when it was loaded: the values of this run are wrong.
    if (error.kind() != ErrorKind::InvalidGraph) throw;
    throw_error(ErrorKind::InvalidArgument, error.what());
  }
  return node;
}

// The bytes of a value that nobody reads any more become those of an output of the same size.
bool RunContext::take_over(ValueId from, ValueId out, DType dtype, const Dims& dims) {
  if (from == kNone) return false;
  const Tensor* held = values_[static_cast<size_t>(from)].tensor();
  if (held == nullptr || !held->buffer() || held->buffer().use_count() != 1) return false;
  if (held->dtype() != dtype || dtype == DType::String || held->dims() != dims) return false;
  Tensor taken = std::get<Tensor>(std::move(values_[static_cast<size_t>(from)]));
  values_[static_cast<size_t>(from)] = {};
  set_tensor(out, taken);
  values_[static_cast<size_t>(out)] = std::move(taken);
  return true;
}

void RunContext::prepare_dynamic(size_t index) {
  const Step& step = plan_->steps[index];
  const Node& live = infer(step);
  for (ValueId out : live.outputs) {
    if (out == kNone) continue;
    const Type& type = live_->value(out).type;
    const std::optional<Dims> dims =
        type.is_tensor() && type.shape ? concrete(*type.shape) : std::nullopt;
    if (!dims || type.dtype == DType::Undefined) {
      throw_error(ErrorKind::NotImplemented, where(live), ": the type and shape of output \"",
                  live_->value(out).name, "\" cannot be found at run: ", type.text());
    }
    const ValueId from = out == live.outputs[0] ? plan_->takes_over[index] : kNone;
    if (!take_over(from, out, type.dtype, *dims)) allocate(out, type.dtype, *dims);
  }
}

// A kernel with data-dependent output wrote the true dims over the upper bounds.
void RunContext::finish_dynamic(const Step& step) {
  for (ValueId out : step.outputs) {
    if (out == kNone) continue;
    const auto at = static_cast<size_t>(out);
    const Tensor& bound = *values_[at].tensor();
    if (dims_[at] == bound.dims()) continue;
    if (element_count(dims_[at]) > bound.size()) {
      throw_error(ErrorKind::Fail, where(node(step)), ": the kernel gives shape ",
                  dims_text(dims_[at]), ", more than ", dims_text(bound.dims()));
    }
    const Tensor trimmed(bound.dtype(), dims_[at], bound.buffer(), bound.raw());
    set_tensor(out, trimmed);
    values_[at] = trimmed;
  }
}

// Whether a copy of an output has nobody who wants it in this run.
bool RunContext::is_idle(const Step& step) const {
  if (!step.reads_on) return false;
  const auto root = [&](ValueId id) { return plan_->places[static_cast<size_t>(id)].root; };
  return std::ranges::none_of(wanted_, [&](int index) {
    return root(plan_->outputs[static_cast<size_t>(index)]) == root(step.outputs[0]);
  });
}

void RunContext::run_step(size_t index) {
  const Step& step = plan_->steps[index];
  if (is_idle(step)) return;
  if (plan_->dynamic[index]) {
    prepare_dynamic(index);
    step.run(step, *this);
    finish_dynamic(step);
    return;
  }
  for (ValueId out : plan_->held[index]) {
    const Type& type = plan_->graph.value(out).type;
    allocate(out, type.dtype, *concrete(*type.shape));
  }
  step.run(step, *this);
}

void RunContext::give_outputs(std::span<const int> wanted, OutputSink& sink) {
  std::set<DeviceMemory*> copied;
  for (int index : wanted) {
    const auto i = static_cast<size_t>(index);
    if (output_done_[i]) continue;
    const ValueId id = plan_->outputs[i];
    const Place& place = plan_->places[static_cast<size_t>(id)];
    const TclTensor& view = *tensor(id);
    if (output_buffers_[i]) {
      void* data = output_buffers_[i]->data();
      sink.set(index, Tensor(static_cast<DType>(view.dtype), dims_[static_cast<size_t>(id)],
                             std::move(output_buffers_[i]), data));
      continue;
    }
    const bool own = place.kind == Place::Kind::Held && place.root == id &&
                     plan_->aliases[static_cast<size_t>(id)].empty() &&
                     std::count(plan_->outputs.begin(), plan_->outputs.end(), id) == 1;
    if (own && !shares_bytes(values_[static_cast<size_t>(id)])) {
      sink.set(index, std::move(values_[static_cast<size_t>(id)]));
      continue;
    }
    Value shared = value(id);
    const Tensor* from = shared.tensor();
    if (from == nullptr || from->dtype() == DType::String) {
      sink.set(index, std::move(shared));
      continue;
    }
    DeviceMemory* const device = device_of(id);
    if (void* data = sink.allocate(index, from->dtype(), from->dims())) {
      auto given = Buffer::wrap(data, from->bytes(), {}, device);
      copy_elements(Tensor(from->dtype(), from->dims(), std::move(given), data), *from);
      if (device != nullptr) copied.insert(device);
      continue;
    }
    Tensor copy = tensor_in(device, from->dtype(), from->dims());
    copy_elements(copy, *from);
    if (device != nullptr) copied.insert(device);
    sink.set(index, std::move(copy));
  }
  for (DeviceMemory* device : copied) device->synchronize();
}

// Nobody has waited yet for copies that end with the run, and for outputs in a device's memory.
void RunContext::finish() {
  for (const Memory& memory : plan_->memories) {
    if (memory.provider) memory.provider->finish(*this);
  }
}

void RunContext::clear() {
  for (ValueId id : plan_->held_values) values_[static_cast<size_t>(id)] = {};
  output_buffers_.clear();
  feeds_ = {};
  wanted_ = {};
}

void RunContext::run(std::span<const Value> feeds, std::span<const int> wanted,
                     const RunEnvironment& environment, OutputSink& sink) {
  environment_ = &environment;
  const RunScope scope(environment.threads);
  std::vector<std::shared_ptr<void>> entered;
  for (const Memory& memory : plan_->memories) {
    if (memory.provider) entered.push_back(memory.device()->enter());
  }
  bind(feeds, wanted, sink);
  run_steps();
  finish();
  entered.clear();  // outputs may go to another device: nobody holds one and waits for another
  give_outputs(wanted, sink);
  clear();
}

void RunContext::run_steps() {
  const RunOptions* options = environment_->options;
  const bool checks = options != nullptr && (options->terminate || options->deadline);
  const auto& segments = plan_->segments;
  size_t next = environment_->profiler == nullptr ? 0 : segments.size();
  for (size_t i = 0; i < plan_->steps.size(); ++i) {
    if (checks) options->check();
    if (next < segments.size() && segments[next].first == i) {
      run_segment(next);
      i = segments[next++].last - 1;
      continue;
    }
    if (environment_->profiler == nullptr) {
      run_step(i);
      continue;
    }
    const int64_t start = environment_->profiler->now_us();
    run_step(i);
    // A device has only been given the work: what is timed is when it is done.
    for (const Memory& memory : plan_->memories) {
      if (memory.device() != nullptr) memory.device()->synchronize();
    }
    profile_step(i, start, environment_->profiler->now_us() - start);
  }
}

// Steps whose values were where they are now in the run before are recorded.
void RunContext::run_segment(size_t index) {
  const Segment& segment = plan_->segments[index];
  const Provider& provider = *plan_->memories[static_cast<size_t>(segment.memory)].provider;
  recorded_.resize(plan_->segments.size());
  Recorded& recorded = recorded_[index];
  std::vector<const void*> addresses;
  for (ValueId id : segment.outside) addresses.push_back(tensor(id)->data);
  const auto run_all = [&] {
    for (size_t i = segment.first; i < segment.last; ++i) run_step(i);
  };
  if (!recorded.seen || recorded.addresses != addresses) {
    recorded = {std::move(addresses), nullptr, true, recorded.refused};
  } else if (!recorded.recording && !recorded.refused) {
    recorded.recording = provider.record(run_all);
    recorded.refused = recorded.recording == nullptr;
  }
  if (recorded.recording) {
    provider.replay(recorded.recording.get());
  } else {
    run_all();
  }
}

}  // namespace tiercel
