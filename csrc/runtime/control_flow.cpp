// Steps that run bodies: If, Loop, Scan, SequenceMap; and aliases whose shapes are found at run.
#include <algorithm>
#include <cstring>
#include <deque>
#include <numeric>

#include "ops/op_def.h"
#include "runtime/body.h"

namespace tiercel {
namespace {

struct BodyState {
  std::vector<Body> bodies;  // in the order of subgraphs(node)
  std::vector<std::string> names;

  [[nodiscard]] const Body& body(std::string_view attribute) const {
    for (size_t i = 0; i < names.size(); ++i) {
      if (names[i] == attribute) return bodies[i];
    }
    throw_error(ErrorKind::InvalidGraph, "attribute ", std::string(attribute), " is missing");
  }
};

const BodyState& state_of(const Step& step) {
  return *static_cast<const BodyState*>(step.state.get());
}

[[noreturn]] void fail(const Step& step, RunContext& context, const std::string& message) {
  throw_error(ErrorKind::InvalidArgument, where(context.node(step)), ": ", message);
}

Tensor tensor_in(const Step& step, RunContext& context, size_t input) {
  const Value value = context.value(step.inputs[input]);
  if (const Tensor* tensor = value.tensor()) return *tensor;
  fail(step, context, concat("input ", input, " is not a tensor"));
}

bool truth(const Value& value) {
  const Tensor* tensor = value.tensor();
  if (tensor == nullptr || tensor->dtype() != DType::Bool || tensor->size() != 1) {
    throw_error(ErrorKind::InvalidArgument, "a condition must be one bool");
  }
  return *tensor->data<bool>();
}

bool has_input(const Step& step, const Node& node, size_t i) {
  return i < node.inputs.size() && step.inputs[i] != kNone;
}

void copy_elements(const Tensor& from, int64_t at, Tensor& to, int64_t start, int64_t count) {
  if (from.dtype() == DType::String) {
    std::copy_n(from.data<std::string>() + at, count, to.data<std::string>() + start);
    return;
  }
  const int64_t bits = dtype_bits(from.dtype());
  if (bits < 8) {
    throw_error(ErrorKind::NotImplemented, "slices of tensor(", dtype_name(from.dtype()),
                "), whose elements are packed");
  }
  const int64_t width = bits / 8;
  std::memcpy(to.data<std::byte>() + start * width, from.data<std::byte>() + at * width,
              static_cast<size_t>(count * width));
}

int64_t inner_size(const Dims& dims, int64_t axis) {
  return std::accumulate(dims.begin() + axis, dims.end(), int64_t{1}, std::multiplies<>());
}

// Slice `index` of `axis`, which is dropped; of axis 0 where it lies.
Tensor slice_at(const Tensor& from, int64_t axis, int64_t index) {
  Dims dims = from.dims();
  const int64_t extent = dims[static_cast<size_t>(axis)];
  dims.erase(dims.begin() + axis);
  const int64_t inner = inner_size(dims, axis);
  if (axis == 0 && Slices::takes(from.dtype()) && inner > 0) {
    const int64_t bytes = dtype_bytes(from.dtype(), inner);
    const Tensor slice(from.dtype(), dims, from.buffer(), from.data<std::byte>() + index * bytes);
    DeviceMemory* const device = memory_of(from);
    if (Slices::in_place(device, bytes)) return slice;
    Tensor copy = tensor_in(device, from.dtype(), std::move(dims));
    copy_elements(copy, slice);
    return copy;
  }
  Tensor to(from.dtype(), dims);
  const int64_t outer = inner == 0 ? 0 : to.size() / inner;
  for (int64_t i = 0; i < outer; ++i) {
    copy_elements(from, (i * extent + index) * inner, to, i * inner, inner);
  }
  return to;
}

// Equal tensors one behind the other along a new `axis`.
Tensor stack(const std::vector<Tensor>& parts, int64_t axis, bool reverse) {
  Dims dims = parts.front().dims();
  const auto extent = static_cast<int64_t>(parts.size());
  const int64_t inner = inner_size(dims, axis);
  dims.insert(dims.begin() + axis, extent);
  Tensor to(parts.front().dtype(), dims);
  for (int64_t k = 0; k < extent; ++k) {
    const Tensor& part = parts[static_cast<size_t>(reverse ? extent - 1 - k : k)];
    if (part.dims() != parts.front().dims()) {
      throw_error(ErrorKind::InvalidArgument,
                  "scan outputs of different shapes: ", dims_text(parts.front().dims()), " and ",
                  dims_text(part.dims()));
    }
    const int64_t outer = inner == 0 ? 0 : part.size() / inner;
    for (int64_t i = 0; i < outer; ++i) {
      copy_elements(part, i * inner, to, (i * extent + k) * inner, inner);
    }
  }
  return to;
}

// What a scan output is when the body never ran: no slices of the shape that the body declares.
Tensor no_slices(const Body& body, size_t output, int64_t axis) {
  const Graph& graph = body.program->graph();
  const Type& type = graph.value(graph.outputs[output]).type;
  Dims dims;
  if (type.shape) {
    for (const Dim& dim : *type.shape) dims.push_back(dim.known() ? dim.value() : 0);
  }
  axis = std::min(axis, static_cast<int64_t>(dims.size()));
  dims.insert(dims.begin() + axis, 0);
  return tensor_in(body.memories[output], type.dtype, dims);
}

void run_if(const Step& step, RunContext& context) {
  const bool condition = truth(context.value(step.inputs[0]));
  BodyCalls calls(state_of(step).body(condition ? "then_branch" : "else_branch"), context);
  calls.run();
  for (size_t i = 0; i < step.outputs.size(); ++i) {
    context.set_value(step.outputs[i], std::move(calls.output(i)));
  }
}

const Tensor& slice_of(const Value& value) {
  if (const Tensor* tensor = value.tensor()) return *tensor;
  throw_error(ErrorKind::InvalidArgument, "a scan output is not a tensor");
}

// What the runs of a body give for an output that is stacked along an axis.
class ScanOutput {
 public:
  ScanOutput(BodyCalls& calls, const Body& body, size_t output, int64_t most, bool as_it_comes)
      : body_(body), output_(output), slices_(most, body.memories[output]) {
    const Graph& graph = body.program->graph();
    const Type& type = graph.value(graph.outputs[output]).type;
    as_it_comes_ = as_it_comes && Slices::takes(type.dtype) && type.dtype != DType::Undefined;
    if (as_it_comes_) calls.collect(output, slices_);
  }
  ScanOutput(const ScanOutput&) = delete;
  ScanOutput& operator=(const ScanOutput&) = delete;

  void add(BodyCalls& calls) {
    if (!as_it_comes_) parts_.push_back(slice_of(calls.output(output_)));
  }

  Tensor take(int64_t axis, bool reverse) {
    if (as_it_comes_ && !slices_.empty()) return slices_.take();
    if (parts_.empty()) return no_slices(body_, output_, std::max(axis, int64_t{0}));
    return stack(parts_, normalize_axis(axis, parts_[0].rank() + 1), reverse);
  }

 private:
  const Body& body_;
  size_t output_;
  bool as_it_comes_ = false;
  Slices slices_;
  std::vector<Tensor> parts_;
};

void run_loop(const Step& step, RunContext& context) {
  const Node& node = context.node(step);
  const Body& body = state_of(step).body("body");
  int64_t trips = INT64_MAX;
  if (has_input(step, node, 0)) {
    const Tensor count = tensor_in(step, context, 0);
    if (count.size() != 1) fail(step, context, "M must be one int64");
    trips = count.as_i64()[0];
  }
  bool go = !has_input(step, node, 1) || truth(context.value(step.inputs[1]));
  BodyCalls calls(body, context);
  const size_t states = node.inputs.size() - 2;
  for (size_t i = 0; i < states; ++i) calls.set_input(i + 2, context.value(step.inputs[i + 2]));
  std::deque<ScanOutput> scans;
  for (size_t i = 1 + states; i < 1 + step.outputs.size(); ++i) {
    scans.emplace_back(calls, body, i, trips, true);
  }
  for (int64_t trip = 0; trip < trips && go; ++trip) {
    calls.set_scalar<int64_t>(0, DType::Int64, trip);
    calls.set_scalar<bool>(1, DType::Bool, go);
    calls.run();
    go = truth(calls.output(0));
    for (size_t i = 0; i < states; ++i) calls.carry(i + 1, i + 2);
    for (ScanOutput& scan : scans) scan.add(calls);
  }
  for (size_t i = 0; i < states; ++i) {
    context.set_value(step.outputs[i], std::move(calls.input(i + 2)));
  }
  for (size_t i = 0; i < scans.size(); ++i) {
    context.set_value(step.outputs[states + i], scans[i].take(0, false));
  }
}

int64_t list_entry(const Node& node, std::string_view name, size_t i) {
  const auto* list = node.attributes.get<std::vector<int64_t>>(name);
  return list != nullptr && i < list->size() ? (*list)[i] : 0;
}

void run_scan(const Step& step, RunContext& context) {
  const Node& node = context.node(step);
  const Body& body = state_of(step).body("body");
  const auto scans = static_cast<size_t>(node.attributes.get_or<int64_t>("num_scan_inputs", 1));
  const size_t states = node.inputs.size() - scans;
  BodyCalls calls(body, context);
  for (size_t i = 0; i < states; ++i) calls.set_input(i, context.value(step.inputs[i]));
  std::vector<Tensor> sources;
  std::vector<int64_t> axes;
  int64_t length = -1;
  for (size_t i = 0; i < scans; ++i) {
    sources.push_back(tensor_in(step, context, states + i));
    axes.push_back(normalize_axis(list_entry(node, "scan_input_axes", i), sources[i].rank()));
    const int64_t extent = sources[i].dims()[static_cast<size_t>(axes[i])];
    if (length >= 0 && extent != length) {
      fail(step, context, concat("scan inputs have ", length, " and ", extent, " slices"));
    }
    length = extent;
  }
  std::deque<ScanOutput> scanned;
  for (size_t i = states; i < step.outputs.size(); ++i) {
    const bool as_it_comes = list_entry(node, "scan_output_axes", i - states) == 0 &&
                             list_entry(node, "scan_output_directions", i - states) == 0;
    scanned.emplace_back(calls, body, i, length, as_it_comes);
  }
  for (int64_t t = 0; t < length; ++t) {
    for (size_t i = 0; i < scans; ++i) {
      const bool backward = list_entry(node, "scan_input_directions", i) != 0;
      calls.set_input(states + i, slice_at(sources[i], axes[i], backward ? length - 1 - t : t));
    }
    calls.run();
    for (size_t i = 0; i < states; ++i) calls.carry(i, i);
    for (ScanOutput& scan : scanned) scan.add(calls);
  }
  for (size_t i = 0; i < states; ++i) {
    context.set_value(step.outputs[i], std::move(calls.input(i)));
  }
  for (size_t i = 0; i < scanned.size(); ++i) {
    const int64_t axis = list_entry(node, "scan_output_axes", i);
    const bool backward = list_entry(node, "scan_output_directions", i) != 0;
    context.set_value(step.outputs[states + i], scanned[i].take(axis, backward));
  }
}

void run_sequence_map(const Step& step, RunContext& context) {
  const Node& node = context.node(step);
  const Body& body = state_of(step).body("body");
  std::vector<Value> given;
  for (size_t i = 0; i < node.inputs.size(); ++i) given.push_back(context.value(step.inputs[i]));
  const Sequence* first = given[0].sequence();
  if (first == nullptr) fail(step, context, "input 0 is not a sequence");
  BodyCalls calls(body, context);
  std::vector<std::shared_ptr<Sequence>> results;
  for (size_t i = 0; i < step.outputs.size(); ++i) results.push_back(std::make_shared<Sequence>());
  for (size_t item = 0; item < first->size(); ++item) {
    for (size_t i = 0; i < given.size(); ++i) {
      const Sequence* sequence = given[i].sequence();
      if (sequence != nullptr && item >= sequence->size()) {
        fail(step, context, "the sequences have different lengths");
      }
      calls.set_input(i, sequence != nullptr ? (*sequence)[item] : given[i]);
    }
    calls.run();
    for (size_t i = 0; i < results.size(); ++i) {
      results[i]->push_back(std::move(calls.output(i)));
    }
  }
  for (size_t i = 0; i < results.size(); ++i) context.set_value(step.outputs[i], results[i]);
}

void run_alias(const Step& step, RunContext& context) {
  Value value = context.value(step.inputs[0]);
  const Tensor* tensor = value.tensor();
  if (tensor == nullptr) {
    context.set_value(step.outputs[0], std::move(value));
    return;
  }
  const Node& live = context.infer(step);
  const Type& type = context.live_type(live.outputs[0]);
  const std::optional<Dims> dims =
      type.is_tensor() && type.shape ? concrete(*type.shape) : std::nullopt;
  if (!dims || element_count(*dims) != tensor->size()) {
    fail(step, context,
         concat("cannot give a tensor of shape ", dims_text(tensor->dims()), " the shape ",
                type.shape ? shape_text(*type.shape) : "?"));
  }
  const DType dtype = type.dtype == DType::Undefined ? tensor->dtype() : type.dtype;
  context.set_value(step.outputs[0], Tensor(dtype, *dims, tensor->buffer(), tensor->raw()));
}

}  // namespace

Step compile_alias(const Node& node) {
  Step step{.run = run_alias, .inputs = node.inputs, .outputs = {node.outputs[0]}};
  step.takes_values = true;
  step.kernel = "alias";
  return step;
}

Step compile_control_flow(const Graph&, const Node& node, const CompileOptions& options) {
  static constexpr std::pair<std::string_view, StepFn> kinds[] = {
      {"If", run_if}, {"Loop", run_loop}, {"Scan", run_scan}, {"SequenceMap", run_sequence_map}};
  Step step{.inputs = node.inputs, .outputs = node.outputs};
  for (const auto& [name, run] : kinds) {
    if (node.op_type == name) step.run = run;
  }
  if (step.run == nullptr) {
    throw_error(ErrorKind::NotImplemented, where(node), ": no executor for this control flow");
  }
  auto state = std::make_shared<BodyState>();
  for (const auto& entry : node.attributes) {
    const auto* graph = std::get_if<std::shared_ptr<Graph>>(&entry.value);
    if (graph == nullptr) continue;
    Body body;
    body.program = std::make_unique<Program>(clone(**graph), options, true);
    body.n_inputs = (*graph)->inputs.size();
    body.n_overridable = (*graph)->overridable.size();
    for (size_t i = 0; i < (*graph)->outputs.size(); ++i) {
      DeviceMemory* memory = nullptr;
      for (const auto& provider : options.providers) {
        const auto& wanted = (*graph)->output_memories;
        if (i < wanted.size() && provider->memory() == wanted[i]) memory = provider->device();
      }
      body.memories.push_back(memory);
    }
    for (const Capture& capture : (*graph)->captures) {
      body.captured.push_back(capture.outer);
      step.inputs.push_back(capture.outer);
    }
    state->bodies.push_back(std::move(body));
    state->names.push_back(entry.name);
  }
  step.takes_values = true;
  step.kernel = "body";
  step.state = std::move(state);
  return step;
}

}  // namespace tiercel
