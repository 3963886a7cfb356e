// Steps that give their work to a GPU: kernels, pointwise programs, copies.
#include "providers/cuda/steps.h"

#include "ops/op_def.h"
#include "providers/cuda/attached.h"
#include "providers/cuda/kernel_call.h"
#include "runtime/executor.h"
#include "runtime/kernel_call.h"

namespace tiercel::cuda {
namespace {

std::vector<TclTensor*> tensors_of(RunContext& context, const std::vector<ValueId>& ids) {
  std::vector<TclTensor*> out;
  out.reserve(ids.size());
  for (const ValueId id : ids) out.push_back(context.tensor(id));
  return out;
}

struct KernelState {
  std::shared_ptr<Device> device;
  std::vector<KernelMatch> matches;  // one when shapes were known
  std::vector<FunctionHandle> functions;
  size_t n_inputs = 0;  // of the node; captures of the epilogue and of the prologue follow
  std::vector<bool> on_host;
  Attached epilogue, prologue;
};

void run_kernel(const Step& step, RunContext& context) {
  const auto& state = *static_cast<const KernelState*>(step.state.get());
  std::vector<TclTensor*> in = tensors_of(context, step.inputs);
  const std::vector<TclTensor*> out = tensors_of(context, step.outputs);
  // What a program in front makes has memory of its own, and takes the place of input 0.
  std::shared_ptr<Buffer> memory;
  TclTensor made{};
  if (state.prologue) {
    made = *in[0];
    memory = state.device->allocate(made.size * state.prologue.result_bits() / 8);
    made.data = memory->data();
    state.prologue.run(in[0], &made, step, context);
    in[0] = &made;
  }
  const std::vector<void*> packed(in.size() + 1, nullptr);
  TclCall call{};
  call.in = in.data();
  call.out = out.data();
  call.n_in = static_cast<int64_t>(state.n_inputs);
  call.n_out = static_cast<int64_t>(out.size());
  call.packed = packed.data();
  call.epilogue = &kNoEpilogue;
  call.prologue = &kNoPrologue;
  call.error_index = -1;
  size_t chosen = 0;
  if (state.matches.size() > 1) {
    chosen = choose_kernel(state.matches, call, context.node(step), [](size_t) {});
  }
  const KernelMatch& match = state.matches[chosen];
  call.attr = match.attributes->values.data();
  run_device_kernel(*state.device, *match.kernel, state.functions[chosen], call,
                    match.attributes->values.size(), state.on_host, step.node);
  state.epilogue.run_on_output(step, context);
}

void run_pointwise(const Step& step, RunContext& context) {
  const auto& pointwise = *static_cast<const Pointwise*>(step.state.get());
  const std::vector<TclTensor*> in = tensors_of(context, step.inputs);
  const std::vector<TclTensor*> out = tensors_of(context, step.outputs);
  pointwise.run(in.data(), out.data());
}

struct CopyState {
  std::shared_ptr<Device> device;
  bool begins = false;  // nobody reads the copy before the run is over
};

void run_to_device(const Step& step, RunContext& context) {
  const auto& state = *static_cast<const CopyState*>(step.state.get());
  const TclTensor& from = *context.tensor(step.inputs[0]);
  state.device->to_device(context.tensor(step.outputs[0])->data, from.data, tensor_bytes(from));
}

// Throws what a kernel reported, with the node that it ran.
void report(Device& device, RunContext& context) {
  const uint64_t error = device.take_error();
  if (error == 0) return;
  const auto failed = static_cast<NodeId>(error >> 32);
  const bool known = failed >= 0 && static_cast<size_t>(failed) < context.graph().nodes.size();
  if (!known) throw_error(ErrorKind::Fail, "a kernel on the GPU failed");
  const Node& node = context.graph().node(failed);
  const std::vector<TclTensor*> in = tensors_of(context, node.inputs);
  TclCall call{};
  call.in = in.data();
  call.n_in = static_cast<int64_t>(in.size());
  call.error_index = -1;
  report_kernel_error(node, call, static_cast<int32_t>(error));
}

void run_to_host(const Step& step, RunContext& context) {
  const auto& state = *static_cast<const CopyState*>(step.state.get());
  const TclTensor& from = *context.tensor(step.inputs[0]);
  void* const to = context.tensor(step.outputs[0])->data;
  if (state.begins) {
    state.device->begin_to_host(to, from.data, tensor_bytes(from));
    return;
  }
  state.device->to_host(to, from.data, tensor_bytes(from));
  report(*state.device, context);
}

}  // namespace

std::optional<std::string> kernel_refuses(const Graph& graph, const Node& node) {
  std::string reason;
  const std::vector<DeviceMatch> found = find_device_kernels(graph, node, reason);
  if (found.empty()) return reason;
  std::vector<KernelMatch> matches;
  for (const DeviceMatch& one : found) matches.push_back(one.match);
  try {
    for (const char* attribute : {"epilogue", "prologue"}) {
      if (auto refusal = attached_refuses(node, attribute)) return refusal;
    }
    StaticCall call(graph, node);
    if (call.known) static_cast<void>(choose_kernel(matches, call.call, node, [](size_t) {}));
  } catch (const Error& error) {
    return error.what();
  }
  return std::nullopt;
}

Step compile_kernel(const Graph& graph, const Node& node, const std::shared_ptr<Device>& device) {
  std::string reason;
  std::vector<DeviceMatch> found = find_device_kernels(graph, node, reason);
  auto state = std::make_shared<KernelState>();
  state->device = device;
  state->n_inputs = node.inputs.size();
  for (size_t i = 0; i < node.inputs.size(); ++i)
    state->on_host.push_back(node.def->reads_value(i));
  for (const DeviceMatch& one : found) state->matches.push_back(one.match);
  StaticCall call(graph, node);
  if (call.known) {
    const size_t chosen = choose_kernel(state->matches, call.call, node, [](size_t) {});
    found = {found[chosen]};
    state->matches = {found[0].match};
  }
  const auto inside = device->enter();
  for (const DeviceMatch& one : found) {
    state->functions.push_back(device->function(*one.text, "kernel"));
  }
  Step step{.run = run_kernel, .inputs = node.inputs, .outputs = node.outputs};
  const TclKernel& first = *state->matches.front().kernel;
  step.kernel = concat(first.variant, " cuda ", first.types);
  state->epilogue = Attached(node, "epilogue", step, device);
  state->prologue = Attached(node, "prologue", step, device);
  step.state = std::move(state);
  return step;
}

std::optional<std::string> pointwise_refuses(const Graph& graph, const Node& node) {
  if (auto refusal = tiercel::pointwise_refuses(graph, node)) return refusal;
  return pointwise_ptx_refuses(*tiercel::compile_pointwise(graph, node));
}

Step compile_pointwise(const Graph& graph, const Node& node,
                       const std::shared_ptr<Device>& device) {
  auto program = tiercel::compile_pointwise(graph, node);
  Step step{.run = run_pointwise, .inputs = node.inputs, .outputs = node.outputs};
  step.kernel = concat("pointwise program of ", program->instructions.size(), " cuda");
  step.state = std::make_shared<Pointwise>(std::move(program), device);
  return step;
}

Step compile_copy(const Node& node, const std::shared_ptr<Device>& device) {
  const bool to_host = node.attributes.get_or<std::string>("to", "") == "cpu";
  Step step{
      .run = to_host ? run_to_host : run_to_device, .inputs = node.inputs, .outputs = node.outputs};
  step.kernel = to_host ? "copy to the host" : "copy to the GPU";
  step.reads_on = node.attributes.get_or<int64_t>("late", 0) != 0;
  step.state = std::make_shared<CopyState>(CopyState{device, step.reads_on});
  return step;
}

void finish_run(Device& device, RunContext& context) {
  device.synchronize();
  report(device, context);
}

}  // namespace tiercel::cuda
