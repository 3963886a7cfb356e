// Steps that run bodies: If, Loop, Scan, SequenceMap; and aliases whose shapes are found at run.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "ops/op_def.h"
#include "runtime/program.h"

namespace tiercel {
namespace {

// A body with the values of the outer graph that it reads.
struct Body {
  std::unique_ptr<Program> program;
  std::vector<ValueId> captured;  // outer ids
  size_t n_inputs = 0;
  size_t n_overridable = 0;

  [[nodiscard]] std::vector<Value> run(std::vector<Value> inputs, RunContext& context) const {
    if (context.environment().options != nullptr) context.environment().options->check();
    inputs.resize(n_inputs + n_overridable);
    for (ValueId id : captured) inputs.push_back(context.value(id));
    std::vector<int> wanted(program->graph().outputs.size());
    std::iota(wanted.begin(), wanted.end(), 0);
    ValueSink sink(wanted.size());
    program->run(inputs, wanted, context.environment(), sink);
    return std::move(sink.values);
  }
};

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

// Slice `index` of `axis`, which is dropped.
Tensor slice_at(const Tensor& from, int64_t axis, int64_t index) {
  Dims dims = from.dims();
  const int64_t extent = dims[static_cast<size_t>(axis)];
  dims.erase(dims.begin() + axis);
  Tensor to(from.dtype(), dims);
  const int64_t inner = inner_size(dims, axis);
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
  return {type.dtype, dims};
}

void run_if(const Step& step, RunContext& context) {
  const bool condition = truth(context.value(step.inputs[0]));
  const Body& body = state_of(step).body(condition ? "then_branch" : "else_branch");
  std::vector<Value> results = body.run({}, context);
  for (size_t i = 0; i < step.outputs.size(); ++i) {
    context.set_value(step.outputs[i], std::move(results[i]));
  }
}

const Tensor& slice_of(const Value& value) {
  if (const Tensor* tensor = value.tensor()) return *tensor;
  throw_error(ErrorKind::InvalidArgument, "a scan output is not a tensor");
}

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
  std::vector<Value> state;
  for (size_t i = 2; i < node.inputs.size(); ++i) state.push_back(context.value(step.inputs[i]));
  const size_t scans = step.outputs.size() - state.size();
  std::vector<std::vector<Tensor>> slices(scans);
  for (int64_t trip = 0; trip < trips && go; ++trip) {
    std::vector<Value> inputs{Tensor::scalar_i64(trip)};
    Tensor condition(DType::Bool, {});
    *condition.data<bool>() = go;
    inputs.emplace_back(std::move(condition));
    inputs.insert(inputs.end(), state.begin(), state.end());
    std::vector<Value> results = body.run(std::move(inputs), context);
    go = truth(results[0]);
    for (size_t i = 0; i < state.size(); ++i) state[i] = std::move(results[i + 1]);
    for (size_t i = 0; i < scans; ++i) {
      slices[i].push_back(slice_of(results[i + 1 + state.size()]));
    }
  }
  for (size_t i = 0; i < state.size(); ++i) context.set_value(step.outputs[i], state[i]);
  for (size_t i = 0; i < scans; ++i) {
    Tensor stacked =
        slices[i].empty() ? no_slices(body, i + 1 + state.size(), 0) : stack(slices[i], 0, false);
    context.set_value(step.outputs[state.size() + i], std::move(stacked));
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
  std::vector<Value> state;
  for (size_t i = 0; i < states; ++i) state.push_back(context.value(step.inputs[i]));
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
  std::vector<std::vector<Tensor>> slices(step.outputs.size() - states);
  for (int64_t t = 0; t < length; ++t) {
    std::vector<Value> inputs = state;
    for (size_t i = 0; i < scans; ++i) {
      const bool backward = list_entry(node, "scan_input_directions", i) != 0;
      inputs.emplace_back(slice_at(sources[i], axes[i], backward ? length - 1 - t : t));
    }
    std::vector<Value> results = body.run(std::move(inputs), context);
    for (size_t i = 0; i < states; ++i) state[i] = std::move(results[i]);
    for (size_t i = 0; i < slices.size(); ++i) slices[i].push_back(slice_of(results[states + i]));
  }
  for (size_t i = 0; i < states; ++i) context.set_value(step.outputs[i], state[i]);
  for (size_t i = 0; i < slices.size(); ++i) {
    const int64_t axis = list_entry(node, "scan_output_axes", i);
    const bool backward = list_entry(node, "scan_output_directions", i) != 0;
    if (slices[i].empty()) {
      context.set_value(step.outputs[states + i],
                        no_slices(body, states + i, std::max(axis, int64_t{0})));
      continue;
    }
    const int64_t at = normalize_axis(axis, slices[i][0].rank() + 1);
    context.set_value(step.outputs[states + i], stack(slices[i], at, backward));
  }
}

void run_sequence_map(const Step& step, RunContext& context) {
  const Node& node = context.node(step);
  const Body& body = state_of(step).body("body");
  std::vector<Value> given;
  for (size_t i = 0; i < node.inputs.size(); ++i) given.push_back(context.value(step.inputs[i]));
  const Sequence* first = given[0].sequence();
  if (first == nullptr) fail(step, context, "input 0 is not a sequence");
  std::vector<std::shared_ptr<Sequence>> results;
  for (size_t i = 0; i < step.outputs.size(); ++i) results.push_back(std::make_shared<Sequence>());
  for (size_t item = 0; item < first->size(); ++item) {
    std::vector<Value> inputs;
    for (const Value& value : given) {
      const Sequence* sequence = value.sequence();
      if (sequence != nullptr && item >= sequence->size()) {
        fail(step, context, "the sequences have different lengths");
      }
      inputs.push_back(sequence != nullptr ? (*sequence)[item] : value);
    }
    std::vector<Value> made = body.run(std::move(inputs), context);
    for (size_t i = 0; i < results.size(); ++i) results[i]->push_back(std::move(made[i]));
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
    body.program = std::make_unique<Program>(clone(**graph), options);
    body.n_inputs = (*graph)->inputs.size();
    body.n_overridable = (*graph)->overridable.size();
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
