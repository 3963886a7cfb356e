// Steps that run compiled kernels: choice of the row, packed weights, epilogues, threads.
#include "providers/cpu/kernel_step.h"

#include <algorithm>
#include <array>
#include <atomic>

#include "base/thread_pool.h"
#include "ops/op_def.h"
#include "providers/cpu/byte_table.h"
#include "providers/cpu/packed_weights.h"
#include "runtime/executor.h"
#include "runtime/kernel_call.h"
#include "runtime/pointwise.h"

namespace tiercel {
namespace {

constexpr int64_t kThreadNs = 8000;  // work that is worth one more thread
constexpr size_t kMany = 16;         // operands that fit without an allocation

// Pointers to the tensors of a call.
class Operands {
 public:
  Operands(RunContext& context, const std::vector<ValueId>& ids, size_t count) {
    TclTensor** to = few_.data();
    if (count > kMany) {
      many_.resize(count);
      to = many_.data();
    }
    for (size_t i = 0; i < count; ++i) to[i] = context.tensor(ids[i]);
  }
  [[nodiscard]] TclTensor* const* data() const {
    return many_.empty() ? few_.data() : many_.data();
  }
  void replace_first(TclTensor* tensor) {
    (many_.empty() ? few_.data() : many_.data())[0] = tensor;
  }

 private:
  std::array<TclTensor*, kMany> few_;
  std::vector<TclTensor*> many_;
};

struct KernelState {
  std::vector<KernelMatch> matches;  // one when shapes were known
  size_t n_inputs = 0;  // of the node; captures of the epilogue and of the prologue follow
  std::vector<std::vector<void*>> packed;  // per match, per input
  std::vector<std::shared_ptr<const Buffer>> packed_owners;
  std::shared_ptr<const PointwiseProgram> epilogue, prologue;
};

int64_t moved_bytes(const TclCall& call) {
  int64_t bytes = 0;
  const auto add = [&](const TclTensor* t) {
    if (t->rank >= 0) bytes += tensor_bytes(*t);
  };
  for (int64_t i = 0; i < call.n_in; ++i) add(call.in[i]);
  for (int64_t i = 0; i < call.n_out; ++i) add(call.out[i]);
  return bytes;
}

struct PhaseWork {
  const TclKernel* kernel;
  TclCall* call;
  int64_t phase;
  std::byte* scratch;
  int64_t scratch_bytes;
  std::atomic<int32_t> error{0};

  static void body(void* context, int64_t begin, int64_t end, int worker) {
    auto& work = *static_cast<PhaseWork*>(context);
    if (work.error.load(std::memory_order_relaxed) != TCL_OK) return;
    const int32_t code = work.kernel->run(work.call, work.phase, begin, end,
                                          work.scratch + worker * work.scratch_bytes);
    if (code != TCL_OK) work.error.store(code, std::memory_order_relaxed);
  }
};

void run_phases(const TclKernel& kernel, TclCall& call, const Node& node, RunContext& context) {
  const int64_t work_ns = kernel.work != nullptr ? kernel.work(&call) : moved_bytes(call) / 8;
  const int64_t worth = std::max<int64_t>(1, work_ns / kThreadNs);
  const int width = static_cast<int>(std::min<int64_t>(context.environment().threads, worth));
  PhaseWork work{&kernel, &call, 0, nullptr, 0};
  if (kernel.scratch != nullptr) {
    work.scratch_bytes = (kernel.scratch(&call) + 63) / 64 * 64;
    work.scratch = context.scratch(work.scratch_bytes * width);
  }
  for (int64_t phase = 0; phase < kernel.n_phases; ++phase) {
    const int64_t units = kernel.units != nullptr ? kernel.units(&call, phase) : 1;
    if (units < 0) break;
    work.phase = phase;
    // Every other phase goes backwards: what the one before used last is in caches still.
    parallel_for(width, units, std::max<int64_t>(1, units / (int64_t{8} * width)), PhaseWork::body,
                 &work, work_ns, phase % 2 == 1);
    if (const int32_t code = work.error.load(); code != TCL_OK)
      report_kernel_error(node, call, code);
  }
}

// A whole attached program at once, for kernels that do not run it themselves.
struct AttachedWork {
  const AttachedProgram* program;
  void* to;

  static void body(void* context, int64_t begin, int64_t end, int) {
    const auto& work = *static_cast<const AttachedWork*>(context);
    work.program->run(work.to, begin, end);
  }
};

void run_attached(const AttachedProgram& program, void* to, RunContext& context) {
  AttachedWork work{&program, to};
  const int64_t worth = std::max<int64_t>(1, program.program().work(program.walk()) / kThreadNs);
  const int width = static_cast<int>(std::min<int64_t>(context.environment().threads, worth));
  const int64_t units = PointwiseProgram::units(program.walk());
  parallel_for(width, units, std::max<int64_t>(1, units / (int64_t{4} * width)), AttachedWork::body,
               &work);
}

// The programs of one call: handed to the kernel, or run before and after it.
class AttachedPrograms {
 public:
  AttachedPrograms(const KernelState& state, const TclKernel& kernel, Operands& in,
                   TclTensor* output)
      : in_(in), output_(output) {
    TclTensor* const* captures = in.data() + state.n_inputs;
    if (state.epilogue) {
      after_.bind(*state.epilogue, output, captures);
      captures += state.epilogue->n_inputs - 1;
      epilogue_ = after_.epilogue();
      run_after_ = (kernel.flags & TCL_EPILOGUE) == 0;
    }
    if (state.prologue) {
      before_.bind(*state.prologue, in.data()[0], captures);
      prologue_ = before_.prologue();
      run_before_ = (kernel.flags & TCL_PROLOGUE) == 0;
    }
  }

  // Workspace of the kernel, and behind it what it reads as input 0 when it cannot compute that.
  void prepare(TclCall& call, int64_t workspace, RunContext& context) {
    workspace = (workspace + 63) / 64 * 64;
    const TclTensor& main = *in_.data()[0];
    const int64_t more = run_before_ ? tensor_bytes(main) : 0;
    if (workspace + more > 0) call.workspace = context.workspace(workspace + more);
    if (run_before_) {
      made_ = main;
      made_.data = static_cast<std::byte*>(call.workspace) + workspace;
      run_attached(before_, made_.data, context);
      in_.replace_first(&made_);
    } else if (prologue_.fill != nullptr) {
      call.prologue = &prologue_;
    }
    if (!run_after_ && epilogue_.apply != nullptr) call.epilogue = &epilogue_;
  }

  void finish(RunContext& context) const {
    if (run_after_) run_attached(after_, output_->data, context);
  }

 private:
  Operands& in_;
  TclTensor* output_;
  AttachedProgram after_, before_;
  TclEpilogue epilogue_ = kNoEpilogue;
  TclPrologue prologue_ = kNoPrologue;
  TclTensor made_{};
  bool run_after_ = false;
  bool run_before_ = false;
};

void run_kernel(const Step& step, RunContext& context) {
  const auto& state = *static_cast<const KernelState*>(step.state.get());
  Operands in(context, step.inputs, step.inputs.size());
  const Operands out(context, step.outputs, step.outputs.size());
  TclCall call{};
  call.in = in.data();
  call.out = out.data();
  call.n_in = static_cast<int64_t>(state.n_inputs);
  call.n_out = static_cast<int64_t>(step.outputs.size());
  call.epilogue = &kNoEpilogue;
  call.prologue = &kNoPrologue;
  call.error_index = -1;
  size_t chosen = 0;
  if (state.matches.size() > 1) {
    chosen = choose_kernel(state.matches, call, context.node(step),
                           [&](size_t i) { call.packed = state.packed[i].data(); });
  }
  const KernelMatch& match = state.matches[chosen];
  call.attr = match.attributes->values.data();
  call.packed = state.packed[chosen].data();
  const int64_t workspace = match.kernel->workspace != nullptr ? match.kernel->workspace(&call) : 0;
  if (!state.epilogue && !state.prologue) {
    if (workspace > 0) call.workspace = context.workspace(workspace);
    run_phases(*match.kernel, call, context.node(step), context);
    return;
  }
  AttachedPrograms attached(state, *match.kernel, in, out.data()[0]);
  attached.prepare(call, workspace, context);
  run_phases(*match.kernel, call, context.node(step), context);
  attached.finish(context);
}

void pack_constants(const Graph& graph, const Node& node, StaticCall& call, KernelState& state) {
  for (const KernelMatch& match : state.matches) {
    std::vector<void*> packed(std::max<size_t>(node.inputs.size(), 1), nullptr);
    call.call.attr = match.attributes->values.data();
    for (size_t i = 0; i < node.inputs.size() && match.kernel->pack != nullptr; ++i) {
      const Tensor* constant = node.inputs[i] == kNone ? nullptr : graph.constant(node.inputs[i]);
      if (constant == nullptr) continue;
      auto buffer = pack_input(*match.kernel, call.call, static_cast<int64_t>(i), *constant);
      if (!buffer) continue;
      packed[i] = buffer->data();
      state.packed_owners.push_back(std::move(buffer));
    }
    state.packed.push_back(std::move(packed));
  }
}

std::shared_ptr<const PointwiseProgram> attach(const Node& node, std::string_view attribute,
                                               Step& step) {
  std::shared_ptr<const PointwiseProgram> program = compile_attached(node, attribute);
  if (!program) return nullptr;
  const auto* body = node.attributes.get<std::shared_ptr<Graph>>(attribute);
  for (const Capture& capture : (*body)->captures) step.inputs.push_back(capture.outer);
  return program;
}

// The output may take the bytes of input 0 when nothing else in the call reads those.
bool runs_in_place(const KernelState& state, const Step& step) {
  if (state.matches.size() != 1 || (state.matches[0].kernel->flags & TCL_INPLACE) == 0)
    return false;
  return std::count(step.inputs.begin(), step.inputs.end(), step.inputs[0]) == 1;
}

}  // namespace

std::optional<std::string> kernel_refuses(const Graph& graph, const Node& node) {
  std::string reason;
  const std::vector<KernelMatch> matches = find_kernels(graph, node, reason);
  if (matches.empty()) return reason;
  StaticCall call(graph, node);
  KernelState state{.matches = matches};
  try {
    static_cast<void>(compile_attached(node, "epilogue"));
    static_cast<void>(compile_attached(node, "prologue"));
    if (call.known) static_cast<void>(call.choose(state.matches, node));
  } catch (const Error& error) {
    return error.what();
  }
  return std::nullopt;
}

Step compile_kernel(const Graph& graph, const Node& node) {
  std::string reason;
  auto state = std::make_shared<KernelState>();
  state->matches = find_kernels(graph, node, reason);
  state->n_inputs = node.inputs.size();
  StaticCall call(graph, node);
  if (call.known) {
    const KernelMatch match = state->matches[call.choose(state->matches, node)];
    state->matches = {match};
  }
  // Packing needs the dims of the other inputs too; without them kernels read plain weights.
  if (call.known) {
    pack_constants(graph, node, call, *state);
  } else {
    state->packed.assign(state->matches.size(),
                         std::vector<void*>(std::max<size_t>(node.inputs.size(), 1), nullptr));
  }
  Step step{.run = run_kernel, .inputs = node.inputs, .outputs = node.outputs};
  state->epilogue = attach(node, "epilogue", step);
  state->prologue = attach(node, "prologue", step);
  const TclKernel& first = *state->matches.front().kernel;
  if (runs_in_place(*state, step)) step.inplace = 0;
  const size_t choices = state->matches.size();
  step.kernel = choices == 1 ? concat(first.variant, " ", first.isa, " ", first.types)
                             : concat("one of ", choices, " kernels ", first.types);
  step.state = std::move(state);
  return step;
}

namespace {

struct PointwiseState {
  std::shared_ptr<const PointwiseProgram> program;
  std::optional<ByteTable> table;  // in place of the program
};

struct TableWork {
  const ByteTable* table;
  const void* from;
  void* to;

  static void body(void* context, int64_t begin, int64_t end, int) {
    const auto& work = *static_cast<const TableWork*>(context);
    work.table->look_up(work.from, work.to, begin, end);
  }
};

// Whole cache lines of the result are one thread's.
void run_table(const ByteTable& table, const TclTensor& from, const TclTensor& to,
               RunContext& context) {
  constexpr int64_t kGrain = 16 << 10;
  TableWork work{&table, from.data, to.data};
  const int64_t worth = std::max<int64_t>(1, table.work(to.size) / kThreadNs);
  const int width = static_cast<int>(std::min<int64_t>(context.environment().threads, worth));
  parallel_for(width, to.size, kGrain, TableWork::body, &work);
}

struct PointwiseWork {
  const PointwiseProgram* program;
  const PointwiseWalk* walk;
  TclTensor* const* in;
  TclTensor* const* out;

  static void body(void* context, int64_t begin, int64_t end, int) {
    const auto& work = *static_cast<const PointwiseWork*>(context);
    work.program->run(*work.walk, work.in, work.out, begin, end);
  }
};

void run_pointwise(const Step& step, RunContext& context) {
  const auto& state = *static_cast<const PointwiseState*>(step.state.get());
  const auto& program = *state.program;
  const Operands in(context, step.inputs, step.inputs.size());
  const Operands out(context, step.outputs, step.outputs.size());
  if (state.table) {
    return run_table(*state.table, *in.data()[state.table->operand], *out.data()[0], context);
  }
  PointwiseWalk walk;
  program.walk(in.data(), out.data(), walk);
  PointwiseWork work{&program, &walk, in.data(), out.data()};
  const int64_t worth = std::max<int64_t>(1, program.work(walk) / kThreadNs);
  const int width = static_cast<int>(std::min<int64_t>(context.environment().threads, worth));
  const int64_t units = PointwiseProgram::units(walk);
  parallel_for(width, units, std::max<int64_t>(1, units / (int64_t{4} * width)),
               PointwiseWork::body, &work);
}

// The input whose bytes the only output may take: read as the output is walked, and for the last
// time no later than the instruction that first writes the output.
int inplace_operand(const PointwiseProgram& program, const Graph& graph, const Node& node) {
  if (program.n_outputs != 1) return -1;
  const Type& out = graph.value(node.outputs[0]).type;
  if (!out.shape || !concrete(*out.shape)) return -1;
  const int16_t written = program.output_register[0];
  size_t first_write = program.instructions.size();
  for (size_t i = program.instructions.size(); i-- > 0;) {
    if (program.instructions[i].out == written) first_write = i;
  }
  for (size_t input = 0; input < node.inputs.size(); ++input) {
    const ValueId id = node.inputs[input];
    if (id == kNone || input >= program.input_register.size()) continue;
    const Type& in = graph.value(id).type;
    if (!in.shape || !concrete(*in.shape) || *concrete(*in.shape) != *concrete(*out.shape) ||
        dtype_bits(in.dtype) != dtype_bits(out.dtype)) {
      continue;
    }
    const int16_t read = program.input_register[input];
    bool safe = true;
    for (size_t i = first_write + 1; i < program.instructions.size(); ++i) {
      const auto& operands = program.instructions[i].in;
      safe = safe && std::find(operands.begin(), operands.end(), read) == operands.end();
    }
    if (safe) return static_cast<int>(input);
  }
  return -1;
}

}  // namespace

Step compile_pointwise_step(const Graph& graph, const Node& node) {
  auto state = std::make_shared<PointwiseState>();
  state->program = compile_pointwise(graph, node);
  state->table = tabulate(*state->program, graph, node);
  Step step{.run = run_pointwise, .inputs = node.inputs, .outputs = node.outputs};
  step.inplace = inplace_operand(*state->program, graph, node);
  step.kernel = concat("pointwise program of ", state->program->instructions.size(),
                       state->table ? " as a table" : "");
  step.state = std::move(state);
  return step;
}

}  // namespace tiercel
