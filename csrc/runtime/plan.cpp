// Makes plans: specialises the graph, compiles its nodes and gives every value its place.
#include "runtime/plan.h"

#include <algorithm>

#include "ops/op_def.h"
#include "runtime/body_memories.h"
#include "runtime/memory_plan.h"
#include "runtime/shared_bytes.h"

namespace tiercel {
namespace {

bool is_dense(const Type& type) { return type.is_tensor() && type.dtype != DType::String; }

std::optional<Dims> known_dims(const Type& type) {
  if (!type.is_tensor() || !type.shape || type.dtype == DType::Undefined) return std::nullopt;
  return concrete(*type.shape);
}

// Compiles nodes to steps and finds where values live.
class Planner {
 public:
  Planner(Plan& plan, const CompileOptions& options) : plan_(plan), options_(options) {}

  void run() {
    plan_.places.resize(plan_.graph.values.size());
    for (size_t i = 0; i < plan_.places.size(); ++i) {
      plan_.places[i].root = static_cast<ValueId>(i);
      if (plan_.graph.values[i].constant) plan_.places[i].kind = Place::Kind::Constant;
    }
    find_memories();
    for (size_t i = 0; i < plan_.inputs.size(); ++i) {
      const auto& given = plan_.graph.input_memories;
      const int memory = i < given.size() ? memory_named(given[i]) : 0;
      place(plan_.inputs[i]) = {Place::Kind::Input, plan_.inputs[i], 0, static_cast<int>(i),
                                memory};
    }
    for (NodeId id : plan_.graph.order) {
      if (!plan_.graph.node(id).removed) add_node(id);
    }
    share_bytes();
    find_lifetimes();
    place_outputs();
    share_in_place();
    for (size_t i = 0; i < plan_.memories.size(); ++i) place_in_arena(static_cast<int>(i));
    collect();
    find_segments();
  }

 private:
  Place& place(ValueId id) { return plan_.places[static_cast<size_t>(id)]; }
  ValueId root(ValueId id) const { return plan_.places[static_cast<size_t>(id)].root; }
  const Type& type(ValueId id) const { return plan_.graph.value(id).type; }

  Step compile(const Node& node) const {
    if (node.def->has(kControlFlow)) return compile_control_flow(plan_.graph, node, options_);
    if (node.def->has(kAlias)) return compile_alias(node);
    for (const auto& provider : options_.providers) {
      if (provider->name() == node.provider) return provider->compile(plan_.graph, node);
    }
    throw_error(ErrorKind::EPFail, where(node), ": provider ", node.provider, " is not here");
  }

  void find_memories() {
    for (const auto& provider : options_.providers) {
      if (provider->device() != nullptr) plan_.memories.push_back({provider});
    }
  }

  int memory_named(std::string_view name) const {
    for (size_t i = 1; i < plan_.memories.size(); ++i) {
      if (plan_.memories[i].provider->memory() == name) return static_cast<int>(i);
    }
    return 0;
  }

  // Number of the memory of the device that runs a node.
  int memory_of(const Node& node) const {
    if (node.domain == "tiercel" && node.op_type == "Copy") {
      return memory_named(node.attributes.get_or<std::string>("to", ""));
    }
    for (size_t i = 1; i < plan_.memories.size(); ++i) {
      if (plan_.memories[i].provider->name() == node.provider) return static_cast<int>(i);
    }
    return 0;
  }

  // A constant goes to another memory once, and not in each run.
  bool is_resident(const Node& node) {
    const int memory = memory_of(node);
    if (memory == 0 || node.op_type != "Copy") return false;
    const Tensor* constant = plan_.graph.constant(node.inputs[0]);
    if (constant == nullptr) return false;
    const Provider& provider = *plan_.memories[static_cast<size_t>(memory)].provider;
    plan_.residents.emplace_back(node.outputs[0], provider.device()->resident(*constant));
    place(node.outputs[0]).kind = Place::Kind::Constant;
    place(node.outputs[0]).memory = memory;
    return true;
  }

  // Output 0 is input 0 under other dims, both known: nothing to do at run.
  bool is_static_alias(const Node& node) const {
    if (!node.def->has(kAlias) || node.inputs.empty() || node.inputs[0] == kNone) return false;
    for (size_t i = 1; i < node.outputs.size(); ++i) {
      if (node.outputs[i] != kNone) return false;
    }
    const Type& from = type(node.inputs[0]);
    const Type& to = type(node.outputs[0]);
    return is_dense(from) && known_dims(from) && known_dims(to) &&
           element_count(*known_dims(from)) == element_count(*known_dims(to)) &&
           place(node.inputs[0]).kind != Place::Kind::None;
  }
  const Place& place(ValueId id) const { return plan_.places[static_cast<size_t>(id)]; }

  void add_node(NodeId id) {
    const Node& node = plan_.graph.node(id);
    if (is_static_alias(node)) {
      place(node.outputs[0]) = place(node.inputs[0]);
      return;
    }
    if (is_resident(node)) return;
    Step step = compile(node);
    step.node = id;
    bool dynamic = false;
    for (ValueId out : step.outputs) {
      if (out == kNone || step.takes_values) continue;
      dynamic = dynamic || !known_dims(type(out));
    }
    for (ValueId out : step.outputs) {
      if (out == kNone) continue;
      const bool held = dynamic || step.takes_values || !is_dense(type(out));
      place(out).kind = held ? Place::Kind::Held : Place::Kind::Arena;
      place(out).memory = memory_named(memory_of_value(plan_.graph, out, options_));
    }
    plan_.dynamic.push_back(dynamic);
    plan_.steps.push_back(std::move(step));
  }

  // A node that joins or cuts whole runs of bytes and does nothing else to them.
  bool only_moves(const Step& step, const Node& node) const {
    const bool joins = node.def->has(kJoins);
    if (!joins && !node.def->has(kCuts)) return false;
    for (const char* program : {"epilogue", "prologue"}) {
      if (node.attributes.get<std::shared_ptr<Graph>>(program) != nullptr) return false;
    }
    const ValueId whole = joins ? node.outputs[0] : node.inputs[0];
    if (!is_dense(type(whole)) || dtype_bits(type(whole).dtype) % 8 != 0) return false;
    for (ValueId part : joins ? node.inputs : node.outputs) {
      if (part == kNone || !is_dense(type(part)) || !known_dims(type(part))) return false;
      if (type(part).dtype != type(whole).dtype) return false;
    }
    const auto dims = known_dims(type(whole));
    if (!dims || step.takes_values) return false;
    const auto* given = node.attributes.get<int64_t>("axis");
    int64_t axis = given != nullptr ? *given : 0;
    if (axis < 0) axis += static_cast<int64_t>(dims->size());
    return std::all_of(dims->begin(), dims->begin() + axis, [](int64_t n) { return n == 1; });
  }

  // Whether the step of such a node has nothing left to do.
  bool share(const Step& step, SharedBytes& shared, const std::vector<bool>& values) const {
    const Node& node = plan_.graph.node(step.node);
    if (!only_moves(step, node)) return false;
    const bool joins = node.def->has(kJoins);
    std::vector<SharedBytes::Part> parts;
    int64_t at = 0;
    for (ValueId part : joins ? node.inputs : node.outputs) {
      parts.push_back({static_cast<size_t>(root(part)), at});
      at += bytes(part);
    }
    const auto whole = static_cast<size_t>(root(joins ? node.outputs[0] : node.inputs[0]));
    if (joins) return shared.join(whole, parts);
    return !values[whole] && shared.cut(whole, parts);
  }

  // Steps that join or cut go where their values can lie as parts of others.
  void share_bytes() {
    const size_t count = plan_.places.size();
    std::vector<int64_t> sizes(count, 0);
    std::vector<bool> movable(count, false), values(count, false);
    for (size_t i = 0; i < count; ++i) {
      const auto id = static_cast<ValueId>(i);
      if (known_dims(type(id)) && is_dense(type(id))) sizes[i] = bytes(id);
      movable[i] = root(id) == id && place(id).kind == Place::Kind::Arena;
      values[i] = place(id).kind == Place::Kind::Held || place(id).kind == Place::Kind::None;
    }
    const auto keep = [&](ValueId id) { movable[static_cast<size_t>(root(id))] = false; };
    for (ValueId out : plan_.outputs) keep(out);
    for (const Step& step : plan_.steps) {
      if (!step.takes_values) continue;
      for (ValueId in : step.inputs) {
        if (in == kNone) continue;
        keep(in);
        values[static_cast<size_t>(root(in))] = true;
      }
    }
    SharedBytes shared(std::move(sizes), movable);
    size_t kept = 0;
    for (size_t s = 0; s < plan_.steps.size(); ++s) {
      if (!plan_.dynamic[s] && share(plan_.steps[s], shared, values)) continue;
      if (kept != s) plan_.steps[kept] = std::move(plan_.steps[s]);
      plan_.dynamic[kept++] = plan_.dynamic[s];
    }
    plan_.steps.resize(kept);
    plan_.dynamic.resize(kept);
    block_bytes_.assign(count, 0);
    for (size_t i = 0; i < count; ++i) {
      const auto from = static_cast<size_t>(plan_.places[i].root);
      plan_.places[i].root = static_cast<ValueId>(shared.group(from));
      plan_.places[i].offset = shared.offset(from);
      block_bytes_[i] = shared.extent(i);
    }
  }

  // Steps from the first that writes a block to the last that reads it; values that a step keeps as
  // Values leave the arena.
  void find_lifetimes() {
    first_.assign(plan_.places.size(), static_cast<int>(plan_.steps.size()));
    last_.assign(plan_.places.size(), -1);
    for (size_t s = 0; s < plan_.steps.size(); ++s) {
      const Step& step = plan_.steps[s];
      for (ValueId in : step.inputs) {
        if (in == kNone) continue;
        touch(in, static_cast<int>(step.reads_on ? plan_.steps.size() : s));
        Place& from = place(root(in));
        if (step.takes_values && from.kind == Place::Kind::Arena) from.kind = Place::Kind::Held;
      }
      for (ValueId out : step.outputs) {
        if (out == kNone) continue;
        touch(out, static_cast<int>(s));
        int& first = first_[static_cast<size_t>(root(out))];
        first = std::min(first, static_cast<int>(s));
      }
    }
    const auto end = static_cast<int>(plan_.steps.size());
    for (ValueId out : plan_.outputs) touch(out, end);
  }

  void touch(ValueId id, int step) {
    int& last = last_[static_cast<size_t>(root(id))];
    last = std::max(last, step);
  }

  // An output that a step computes gets the caller's memory, unless two outputs share its bytes.
  void place_outputs() {
    plan_.output_values.resize(plan_.outputs.size());
    for (size_t i = 0; i < plan_.outputs.size(); ++i) {
      Place& owner = place(root(plan_.outputs[i]));
      if (owner.kind != Place::Kind::Arena) continue;
      owner.kind = Place::Kind::Output;
      owner.index = static_cast<int>(i);
    }
  }

  int64_t bytes(ValueId id) const {
    return dtype_bytes(type(id).dtype, element_count(*known_dims(type(id))));
  }

  // Output 0 takes the bytes of an input that nobody reads afterwards: here, or at run where dims
  // are known only then.
  void share_in_place() {
    plan_.takes_over.assign(plan_.steps.size(), kNone);
    for (size_t s = 0; s < plan_.steps.size(); ++s) {
      const Step& step = plan_.steps[s];
      if (step.inplace < 0 || !plan_.dynamic[s] || step.outputs.empty()) continue;
      const ValueId in = step.inputs[static_cast<size_t>(step.inplace)];
      if (in == kNone || step.outputs[0] == kNone) continue;
      const auto same = [&](ValueId other) { return other != kNone && root(other) == root(in); };
      const bool once = std::count_if(step.inputs.begin(), step.inputs.end(), same) == 1;
      const bool last = last_[static_cast<size_t>(root(in))] <= static_cast<int>(s) &&
                        place(in).memory == place(step.outputs[0]).memory;
      if (once && last && place(root(in)).kind == Place::Kind::Held) plan_.takes_over[s] = root(in);
    }
    for (size_t s = 0; s < plan_.steps.size(); ++s) {
      const Step& step = plan_.steps[s];
      if (step.inplace < 0 || plan_.dynamic[s] || step.outputs.empty()) continue;
      const ValueId in = step.inputs[static_cast<size_t>(step.inplace)];
      const ValueId out = step.outputs[0];
      if (in == kNone || out == kNone || place(out).kind != Place::Kind::Arena) continue;
      const ValueId from = root(in);
      if (place(from).kind != Place::Kind::Arena || last_[static_cast<size_t>(from)] > int(s)) {
        continue;
      }
      const auto same = [&](ValueId other) { return other != kNone && root(other) == from; };
      if (std::count_if(step.inputs.begin(), step.inputs.end(), same) != 1) continue;
      const auto block = static_cast<size_t>(root(out));
      if (place(from).memory != place(out).memory) continue;
      if (bytes(in) != bytes(out) || block_bytes_[block] != bytes(out)) continue;
      merge(out, from, place(in).offset);
    }
  }

  // The block of `out` becomes the bytes of block `from` behind `offset`.
  void merge(ValueId out, ValueId from, int64_t offset) {
    const ValueId old = root(out);
    last_[static_cast<size_t>(from)] =
        std::max(last_[static_cast<size_t>(from)], last_[static_cast<size_t>(old)]);
    for (Place& other : plan_.places) {
      if (other.root != old) continue;
      other.root = from;
      other.offset += offset;
    }
  }

  void place_in_arena(int number) {
    std::vector<MemoryBlock> blocks;
    std::vector<ValueId> owners;
    for (size_t i = 0; i < plan_.places.size(); ++i) {
      const auto id = static_cast<ValueId>(i);
      if (root(id) != id || place(id).kind != Place::Kind::Arena) continue;
      if (place(id).memory != number) continue;
      blocks.push_back({block_bytes_[i], first_[i], std::max(last_[i], first_[i])});
      owners.push_back(id);
    }
    const MemoryPlan memory = plan_memory(blocks);
    std::vector<int64_t> starts(plan_.places.size(), 0);
    for (size_t i = 0; i < owners.size(); ++i) {
      starts[static_cast<size_t>(owners[i])] = memory.offsets[i];
    }
    for (Place& at : plan_.places) {
      if (at.root != kNone) at.offset += starts[static_cast<size_t>(at.root)];
    }
    plan_.memories[static_cast<size_t>(number)].arena_bytes = memory.bytes;
    plan_.memories[static_cast<size_t>(number)].lower_bound = memory.lower_bound;
  }

  // Aliases take over what their root was given in the end.
  void collect() {
    plan_.aliases.resize(plan_.places.size());
    for (size_t i = 0; i < plan_.places.size(); ++i) {
      const auto id = static_cast<ValueId>(i);
      if (root(id) != id) {
        plan_.aliases[static_cast<size_t>(root(id))].push_back(id);
        const ValueId owner = root(id);
        const int64_t offset = plan_.places[i].offset;
        plan_.places[i] = place(owner);
        plan_.places[i].root = owner;
        plan_.places[i].offset = offset;
      }
      if (place(id).kind == Place::Kind::Arena) plan_.arena_values.push_back(id);
      if (place(id).kind == Place::Kind::Held) plan_.held_values.push_back(id);
      if (place(id).kind == Place::Kind::Output) {
        plan_.output_values[static_cast<size_t>(place(id).index)].push_back(id);
      }
    }
    plan_.held.resize(plan_.steps.size());
    for (size_t s = 0; s < plan_.steps.size(); ++s) {
      const Step& step = plan_.steps[s];
      if (plan_.dynamic[s] || step.takes_values) continue;
      for (ValueId out : step.outputs) {
        if (out != kNone && place(out).kind == Place::Kind::Held) plan_.held[s].push_back(out);
      }
    }
  }

  // Whether a device does the same for it in each run, whatever the host's memory holds.
  bool repeats(size_t s) const {
    const Step& step = plan_.steps[s];
    if (plan_.dynamic[s] || step.takes_values || !plan_.held[s].empty()) return false;
    const Node& node = plan_.graph.node(step.node);
    if (node.op_type == "Copy" || node.def->has(kNondeterministic)) return false;
    for (ValueId in : step.inputs) {  // what a launch makes of extents is recorded with it
      if (in != kNone && !known_dims(type(in))) return false;
    }
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const bool known = node.inputs[i] == kNone || plan_.graph.constant(node.inputs[i]) != nullptr;
      if (node.def->reads_value(i) && !known) return false;
    }
    return true;
  }

  void find_segments() {
    for (size_t s = 0; s < plan_.steps.size(); ++s) {
      const int memory = memory_of(plan_.graph.node(plan_.steps[s].node));
      const auto& provider = plan_.memories[static_cast<size_t>(memory)].provider;
      if (!provider || !provider->records() || !repeats(s)) continue;
      const bool goes_on = !plan_.segments.empty() && plan_.segments.back().last == s &&
                           plan_.segments.back().memory == memory;
      if (!goes_on) plan_.segments.push_back({s, s, memory, {}});
      Segment& segment = plan_.segments.back();
      segment.last = s + 1;
      for (const auto* list : {&plan_.steps[s].inputs, &plan_.steps[s].outputs}) {
        for (ValueId id : *list) {
          if (id == kNone) continue;
          const Place::Kind kind = place(id).kind;
          if (kind != Place::Kind::Arena && kind != Place::Kind::Constant)
            segment.outside.push_back(id);
        }
      }
    }
  }

  Plan& plan_;
  const CompileOptions& options_;
  std::vector<int> first_, last_;
  std::vector<int64_t> block_bytes_;  // per root: its own bytes, and what lies around them
};

// Memory follows from what operators give for their inputs, never from what a file declares of the
// values between: where an operator cannot tell, the shape is found at run.
void derive_shapes(Graph& graph) {
  for (NodeId id : graph.order) {
    Node& node = graph.node(id);
    if (node.removed || node.def == nullptr) continue;
    for (ValueId out : node.outputs) {
      if (out == kNone) continue;
      ValueInfo& value = graph.value(out);
      if (value.type.is_tensor()) value.type.shape.reset();
      value.known.reset();
    }
    infer_node(graph, node);
  }
}

}  // namespace

std::vector<ValueId> run_inputs(const Graph& graph) {
  std::vector<ValueId> ids = graph.inputs;
  ids.insert(ids.end(), graph.overridable.begin(), graph.overridable.end());
  for (const Capture& capture : graph.captures) ids.push_back(capture.inner);
  return ids;
}

std::shared_ptr<const Plan> make_plan(const Graph& graph, std::span<const Type> types,
                                      const CompileOptions& options) {
  auto plan = std::make_shared<Plan>();
  plan->graph = clone(graph);
  if (!types.empty()) {
    const std::vector<ValueId> inputs = run_inputs(plan->graph);
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (types[i].is_tensor()) plan->graph.value(inputs[i]).type = types[i];
    }
    PassContext passes = options.passes;
    run_passes(specialise_passes(), plan->graph, passes);
    assign(plan->graph, options);
  }
  insert_copies(plan->graph, options);
  derive_shapes(plan->graph);
  plan->inputs = run_inputs(plan->graph);
  plan->outputs = plan->graph.outputs;
  Planner(*plan, options).run();
  return plan;
}

}  // namespace tiercel
