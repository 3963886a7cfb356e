// LSTM, GRU and RNN on a GPU: products by the kernels of gemm.cu and gemv.cu, of the input for all
// steps at once and of the state step by step, and the cells of recurrent.cu.
#include <algorithm>
#include <array>

#include "ops/op_def.h"
#include "providers/cuda/gemm.h"
#include "providers/cuda/lines.h"
#include "providers/cuda/moves.h"
#include "runtime/executor.h"

namespace tiercel::cuda {
namespace {

constexpr size_t kDirections = 2, kFunctions = 3;
constexpr size_t kRecurrentInputs = 8;  // X, W, R, B, sequence_lens, initial_h, initial_c, P

template <class T>
using PerFunction = std::array<std::array<T, kFunctions>, kDirections>;

// As in kernels/cuda/recurrent.cu.
struct CellArgs {
  int64_t batch = 0, hidden = 0, steps = 0, step = 0;
  int64_t row_time = 0, row_batch = 0;
  int64_t y_time = 0, y_batch = 0, y_direction = 0;
  int32_t directions = 1, backwards = 0, flag = 0;
  float clip = -1;
  PerFunction<int32_t> functions{};
  PerFunction<float> alpha{}, beta{};
};

struct RecurrentState {
  std::shared_ptr<Device> device;
  std::string suffix;
  int64_t item = 4;   // bytes
  int64_t gates = 1;  // 4: LSTM, 3: GRU, 1: RNN
  bool batch_first = false;
  CellArgs cell;  // what attributes say
  ProductKernels products;

  [[nodiscard]] FunctionHandle entry(std::string_view file, std::string_view name) const {
    return cuda_function(*device, file, concat(name, suffix));
  }
};

// d [directions, m, n] = a [directions or none, m, k] times b [directions, n, k] turned over.
struct RecurrentProduct {
  const void* a;
  const void* b;
  void* d;
  int64_t m, n, k;
  int64_t a_direction, b_direction, d_direction, d_row;  // strides

  void run(const RecurrentState& state) const {
    const int64_t directions = state.cell.directions;
    Product product{a, b, nullptr, d, directions, {}};
    product.args = {m,
                    n,
                    k,
                    {1, directions},
                    {k, 1, 0, 0, a_direction},
                    {1, k, 0, 0, b_direction},
                    {},
                    {d_row, 1, 0, 0, d_direction},
                    1,
                    0};
    state.products.run(product);
  }
};

// One run of a node: its tensors and what is made on the way.
class RecurrentRun {
 public:
  RecurrentRun(const RecurrentState& state, const Step& step, RunContext& context)
      : state_(state), step_(step), context_(context), args_(state.cell) {
    const TclTensor &x = in(0), &r = in(2);
    const auto first = state.batch_first ? 1 : 0;
    args_.steps = x.dims[first];
    args_.batch = x.dims[1 - first];
    args_.hidden = r.dims[2];
    args_.row_time = state.batch_first ? 1 : args_.batch;
    args_.row_batch = state.batch_first ? args_.steps : 1;
    const int64_t directions = args_.directions, hidden = args_.hidden;
    args_.y_direction = state.batch_first ? hidden : args_.batch * hidden;
    args_.y_batch = state.batch_first ? args_.steps * directions * hidden : hidden;
    args_.y_time = directions * hidden * (state.batch_first ? 1 : args_.batch);
    width_ = state.gates * hidden;
  }

  void run() {
    if (args_.batch == 0) return;
    const int64_t lines = args_.directions * args_.batch;
    const auto x = room(args_.steps * lines * width_), recurrent = room(lines * width_);
    const auto scaled = room(state_.gates == 3 ? lines * args_.hidden : 0);
    project(x->data());
    const auto h = begin_state(5, 1), c = state_.gates == 4 ? begin_state(6, 2) : nullptr;
    for (args_.step = 0; args_.step < args_.steps; ++args_.step) {
      const bool resets_first = state_.gates == 3 && args_.flag == 0;
      product(h->data(), recurrent->data(), 0, resets_first ? 2 : state_.gates);
      if (resets_first) {
        reset(x->data(), recurrent->data(), h->data(), scaled->data());
        product(scaled->data(), recurrent->data(), 2, 1);
      }
      cell(x->data(), recurrent->data(), h->data(), c ? c->data() : nullptr);
    }
    // Lengths of sequences without steps are checked, too.
    if (args_.steps == 0) cell(x->data(), recurrent->data(), h->data(), c ? c->data() : nullptr);
    end_state(1, h->data());
    if (c) end_state(2, c->data());
  }

 private:
  [[nodiscard]] const TclTensor& in(size_t i) const { return *context_.tensor(step_.inputs[i]); }
  // nullptr: not wanted.
  [[nodiscard]] void* out(size_t i) const {
    const bool wanted = i < step_.outputs.size() && step_.outputs[i] != kNone;
    return wanted ? context_.tensor(step_.outputs[i])->data : nullptr;
  }
  [[nodiscard]] std::shared_ptr<Buffer> room(int64_t items) const {
    return state_.device->allocate(items * state_.item);
  }

  // The products of the inputs of all steps.
  void project(void* x) const {
    const int64_t rows = args_.steps * args_.batch, depth = in(0).dims[2];
    if (rows == 0) return;
    RecurrentProduct{in(0).data,     in(1).data,    x,     rows, width_, depth, 0,
                     width_ * depth, rows * width_, width_}
        .run(state_);
  }

  // The products of states for some of the gates.
  void product(const void* states, void* recurrent, int64_t first, int64_t count) const {
    const int64_t hidden = args_.hidden;
    const auto* weights = static_cast<const std::byte*>(in(2).data);
    auto* to = static_cast<std::byte*>(recurrent);
    RecurrentProduct{states,
                     weights + first * hidden * hidden * state_.item,
                     to + first * hidden * state_.item,
                     args_.batch,
                     count * hidden,
                     hidden,
                     args_.batch * hidden,
                     width_ * hidden,
                     args_.batch * width_,
                     width_}
        .run(state_);
  }

  [[nodiscard]] Grid grid() const {
    return looping_grid(*state_.device, args_.directions * args_.batch * args_.hidden);
  }

  void add_end(Arguments& made) const {
    void* const status = state_.device->status();
    made.add(status).add(failure_of(step_, TCL_INDEX_OUT_OF_RANGE)).add(args_);
  }

  void reset(const void* x, const void* recurrent, const void* h, void* scaled) const {
    Arguments made;
    made.add(x).add(recurrent).add(in(3).data).add(in(4).data).add(h).add(scaled);
    add_end(made);
    made.launch(*state_.device, state_.entry("recurrent", "gru_reset_"), grid());
  }

  void cell(const void* x, const void* recurrent, void* h, void* c) const {
    const bool lstm = state_.gates == 4;
    void* const y = args_.steps > 0 ? out(0) : nullptr;
    Arguments made;
    made.add(x).add(recurrent).add(in(3).data);
    if (lstm) made.add(in(7).data);
    made.add(in(4).data);
    if (lstm) made.add(c);
    made.add(h).add(y);
    add_end(made);
    const char* const name = lstm ? "lstm_" : state_.gates == 3 ? "gru_" : "rnn_";
    made.launch(*state_.device, state_.entry("recurrent", name), grid());
  }

  // States [directions, batch, hidden], which outside lie as the layout says.
  void move_state(const void* from, void* to, bool inwards) const {
    const int64_t hidden = args_.hidden, directions = args_.directions;
    const int64_t direction = state_.batch_first ? hidden : args_.batch * hidden;
    const int64_t line = state_.batch_first ? directions * hidden : hidden;
    Move::Axis axes[] = {
        {directions, direction, args_.batch * hidden}, {args_.batch, line, hidden}, {hidden, 1, 1}};
    if (!inwards) {
      for (Move::Axis& axis : axes) std::swap(axis.from, axis.to);
    }
    Move{{std::begin(axes), std::end(axes)}}.run(*state_.device, from, to, state_.item);
  }

  // The initial state of input i, or zeros, where the cells change it: in output o, if that lies
  // so.
  std::shared_ptr<Buffer> begin_state(size_t i, size_t o) const {
    const int64_t items = args_.directions * args_.batch * args_.hidden;
    auto made = room(items);
    if (void* const kept = out(o); kept != nullptr && !state_.batch_first) {
      made = Buffer::wrap(kept, items * state_.item, [] {});
    }
    if (in(i).rank >= 0) {
      move_state(in(i).data, made->data(), true);
    } else {
      state_.device->clear(made->data(), items * state_.item);
    }
    return made;
  }

  void end_state(size_t o, const void* state) const {
    void* const to = out(o);
    if (to != nullptr && to != state) move_state(state, to, false);
  }

  const RecurrentState& state_;
  const Step& step_;
  RunContext& context_;
  CellArgs args_;
  int64_t width_ = 0;  // of all gates
};

void run_recurrent(const Step& step, RunContext& context) {
  RecurrentRun(*static_cast<const RecurrentState*>(step.state.get()), step, context).run();
}

int64_t gates_of(const Node& node) {
  return node.op_type == "LSTM" ? 4 : node.op_type == "GRU" ? 3 : 1;
}

std::optional<std::string> recurrent_refuses(const Graph& graph, const Node& node) {
  const DType dtype = graph.value(node.inputs[0]).type.dtype;
  if (dtype != DType::Float && dtype != DType::Double) {
    return concat("no GPU kernel of ", node.op_type, " for ", dtype_name(dtype));
  }
  if (node.attributes.get_or<double>("clip", 0) < 0) return "its clip is negative";
  if (node.attributes.find("epilogue") != nullptr) return "a program behind it";
  return std::nullopt;
}

CellArgs cell_args(const Node& node) {
  CellArgs args;
  const std::string direction = node.attributes.get_or<std::string>("direction", "forward");
  args.directions = direction == "bidirectional" ? 2 : 1;
  args.backwards = direction == "reverse" ? 1 : 0;
  const char* flag = node.op_type == "LSTM" ? "input_forget" : "linear_before_reset";
  args.flag = node.attributes.get_or<int64_t>(flag, 0) != 0 ? 1 : 0;
  if (const auto* clip = node.attributes.get<double>("clip")) {
    args.clip = static_cast<float>(*clip);
  }
  constexpr int32_t kTanh = 4, kSigmoid = 6;
  const auto* codes = node.attributes.get<std::vector<int64_t>>("activation_codes");
  const auto* params = node.attributes.get<std::vector<double>>("activation_params");
  for (size_t d = 0; d < kDirections; ++d) {
    for (size_t i = 0; i < kFunctions; ++i) {
      const size_t at = d * kFunctions + i;
      args.functions[d][i] = i == 0 && node.op_type != "RNN" ? kSigmoid : kTanh;
      if (codes != nullptr && at < codes->size()) {
        args.functions[d][i] = static_cast<int32_t>((*codes)[at]);
      }
      if (params == nullptr || 2 * at + 1 >= params->size()) continue;
      args.alpha[d][i] = static_cast<float>((*params)[2 * at]);
      args.beta[d][i] = static_cast<float>((*params)[2 * at + 1]);
    }
  }
  return args;
}

Step compile_recurrent(const Graph& graph, const Node& node,
                       const std::shared_ptr<Device>& device) {
  const DType dtype = graph.value(node.inputs[0]).type.dtype;
  const char* names[] = {"rnn", "", "gru", "lstm"};
  const int64_t gates = gates_of(node);
  Step step = launched_step(graph, node, run_recurrent, names[gates - 1]);
  step.inputs.resize(kRecurrentInputs, kNone);
  step.state = std::make_shared<RecurrentState>(
      RecurrentState{device, std::string(type_suffix(dtype)), dtype_bytes(dtype, 1), gates,
                     node.attributes.get_or<int64_t>("layout", 0) != 0, cell_args(node),
                     ProductKernels(device, dtype, false)});
  return step;
}

}  // namespace

std::vector<LaunchedOp> recurrent_ops() {
  std::vector<LaunchedOp> ops;
  for (const std::string_view op : {"LSTM", "GRU", "RNN"}) {
    // Those of the domain tiercel name their activations by number.
    ops.push_back({"", op, recurrent_refuses, compile_recurrent});
    ops.push_back({"tiercel", op, recurrent_refuses, compile_recurrent});
  }
  return ops;
}

}  // namespace tiercel::cuda
