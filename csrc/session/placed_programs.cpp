// The programs of a session: one for each set of memories that inputs come in and outputs go to.
#include "session/placed_programs.h"

#include <algorithm>

namespace tiercel {

PlacedPrograms::PlacedPrograms(const Graph& graph, CompileOptions options)
    : graph_(graph),
      options_(std::move(options)),
      inputs_(run_inputs(graph)),
      host_(std::make_unique<Program>(graph, options_)),
      last_(host_.get()) {
  for (const auto& provider : options_.providers) {
    if (provider->device() != nullptr) devices_.push_back(provider->device());
  }
}

std::string_view PlacedPrograms::join(DeviceMemory& memory, ValueId value) const {
  std::string known = "cpu";
  for (DeviceMemory* device : devices_) {
    if (device->name() == memory.name() && device->number() == memory.number()) {
      if (device != &memory) device->follow(memory.stream());
      return device->name();
    }
    known += ", " + memory_text(device);
  }
  throw_error(ErrorKind::InvalidArgument, graph_.value(value).name, " is in the memory of ",
              memory_text(&memory), "; this session works in: ", known);
}

Program& PlacedPrograms::find(std::span<const Value> feeds, std::span<const int> wanted,
                              const OutputSink& sink) {
  const auto on_device = [](const Value& value) {
    return value.tensor() != nullptr && memory_of(*value.tensor()) != nullptr;
  };
  const auto wants_device = [&](int index) { return sink.memory(index) != nullptr; };
  if (std::ranges::none_of(feeds, on_device) && std::ranges::none_of(wanted, wants_device)) {
    if (!devices_.empty()) last_.store(host_.get());
    return *host_;
  }
  Memories given(feeds.size(), "cpu"), taken(graph_.outputs.size(), "cpu");
  for (size_t i = 0; i < feeds.size(); ++i) {
    if (on_device(feeds[i])) given[i] = join(*memory_of(*feeds[i].tensor()), inputs_[i]);
  }
  for (int index : wanted) {
    const auto i = static_cast<size_t>(index);
    if (wants_device(index)) taken[i] = join(*sink.memory(index), graph_.outputs[i]);
  }
  const std::lock_guard lock(mutex_);
  std::unique_ptr<Program>& found = others_[{given, taken}];
  if (!found) {
    Graph placed = clone(graph_);
    placed.input_memories = std::move(given);
    placed.output_memories = std::move(taken);
    found = std::make_unique<Program>(std::move(placed), options_);
  }
  last_.store(found.get());
  return *found;
}

void PlacedPrograms::release_memory() {
  host_->release_memory();
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [memories, program] : others_) program->release_memory();
  }
  for (DeviceMemory* device : devices_) device->release_free();
}

}  // namespace tiercel
