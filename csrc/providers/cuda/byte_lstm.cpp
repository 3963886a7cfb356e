// DynamicQuantizeLSTM on a GPU: the product of the input by the kernels of quantize.cu and
// gemm_bytes.cu, all steps by lstm_bytes.cu.
#include <algorithm>

#include "ops/op_def.h"
#include "providers/cuda/bytes.h"
#include "providers/cuda/gemm.h"
#include "providers/cuda/kept.h"
#include "providers/cuda/lines.h"
#include "runtime/executor.h"

namespace tiercel::cuda {
namespace {

constexpr int64_t kMostUnits = 2048;  // of the state that a block holds
constexpr int64_t kLstmThreads = 512;
constexpr int64_t kLstmRanges = 256;  // blocks that look for the range of the input, at most
enum LstmInput : uint8_t { X, W, R, B, Lengths, H, C, P, WScale, WZero, RScale, RZero, Inputs };

// As in kernels/cuda/lstm_bytes.cu.
struct ByteLstmArgs {
  int64_t steps, batch, hidden;
  int32_t directions, backwards, is_signed, w_step, r_step, zero_step;
};
struct LstmCall {
  const void *projected, *x_scale, *w_scale, *r_scale, *bias, *r_zero, *numbers, *totals, *lengths;
  const void *h, *c, *y, *y_h, *y_c;
};

struct ByteLstmState {
  std::shared_ptr<Device> device;
  bool backwards = false, is_signed = false;
  FunctionHandle range = nullptr, quantize = nullptr, product = nullptr, pack = nullptr,
                 walk = nullptr;
  Derived turned, packed;  // weights of the input and of the state
};

struct LstmTensors {
  const Step& step;
  RunContext& context;
  [[nodiscard]] const TclTensor& input(size_t i) const { return *context.tensor(step.inputs[i]); }
  [[nodiscard]] const void* data(size_t i) const {
    return step.inputs[i] == kNone ? nullptr : input(i).data;
  }
  [[nodiscard]] const void* output(size_t i) const {
    const bool wanted = i < step.outputs.size() && step.outputs[i] != kNone;
    return wanted ? context.tensor(step.outputs[i])->data : nullptr;
  }
  // 1 where a scale or zero point has a number for each column, 0 for one a direction.
  [[nodiscard]] int32_t step_of(size_t i, int64_t directions) const {
    return step.inputs[i] != kNone && input(i).size > directions ? 1 : 0;
  }
};

// The input as bytes, with its scale and zero point: where they lie in one buffer.
struct QuantizedInput {
  std::shared_ptr<Buffer> memory;
  std::byte *scale, *zero, *bytes;
};

QuantizedInput quantized_input(const ByteLstmState& state, const TclTensor& x) {
  const int64_t blocks = std::clamp<int64_t>(groups_of(x.size, 1024), 1, kLstmRanges);
  QuantizedInput made{state.device->allocate(512 + kLstmRanges * 8 + x.size), {}, {}, {}};
  made.scale = made.memory->data();
  made.zero = made.scale + 256;
  std::byte* const ranges = made.zero + 256;
  made.bytes = ranges + kLstmRanges * 8;
  Arguments().add(x.data).add(ranges).add(x.size).launch(*state.device, state.range,
                                                         grid_of(blocks));
  Grid grid = looping_grid(*state.device, x.size);
  grid.x = std::max<int64_t>(grid.x, 1);
  Arguments call;
  call.add(x.data).add(ranges).add(made.bytes).add(made.scale).add(made.zero);
  call.add(x.size).add(blocks).launch(*state.device, state.quantize, grid);
  return made;
}

// Products of the input, in whole numbers: [directions, steps * batch, columns].
std::shared_ptr<Buffer> project(const ByteLstmState& state, const LstmTensors& t,
                                const ByteLstmArgs& args, const QuantizedInput& x) {
  const TclTensor& w = t.input(W);
  const int64_t rows = args.steps * args.batch, depth = w.dims[1], columns = w.dims[2];
  const int64_t pitch = turned_pitch(depth);
  const auto turned = state.turned.get(
      [&] { return turn_matrices(*state.device, w.data, args.directions, depth, columns); });
  auto sums = state.device->allocate(args.directions * rows * columns * 4);
  const int64_t zero_step = t.step_of(WZero, args.directions), no_step = 0;
  for (int64_t d = 0; d < args.directions; ++d) {
    GemmArgs g{};
    g.m = rows, g.n = columns, g.k = depth;
    g.batch[0] = g.batch[1] = 1;
    g.a[0] = depth, g.a[1] = 1, g.b[0] = 1, g.b[1] = pitch, g.d[0] = columns, g.d[1] = 1;
    g.alpha = 1;
    const void* const no_bias = nullptr;
    const auto* zeros = static_cast<const std::byte*>(t.data(WZero));
    if (zeros != nullptr) zeros += d * (zero_step != 0 ? columns : 1);
    const void* const b = turned->data() + d * pitch * columns;
    const void* const to = sums->data() + d * rows * columns * 4;
    Arguments made;
    made.add(x.bytes).add(b).add(x.zero).add(zeros).add(no_bias).add(to).add(g);
    made.add(no_step).add(zero_step);
    made.launch(*state.device, state.product,
                grid_of(groups_of(rows, 128) * groups_of(columns, 64)));
  }
  return sums;
}

// Weights of the state in words, then the sums of their columns.
std::shared_ptr<Buffer> packed_weights(const ByteLstmState& state, const LstmTensors& t,
                                       const ByteLstmArgs& args, int64_t words) {
  return state.packed.get([&] {
    const int64_t columns = args.directions * args.hidden * 4;
    auto made = state.device->allocate((words + columns) * 4);
    const void *const numbers = made->data(), *const totals = made->data() + words * 4;
    Arguments call;
    call.add(t.input(R).data).add(numbers).add(totals).add(args);
    call.launch(*state.device, state.pack, looping_grid(*state.device, columns));
    return made;
  });
}

void run_byte_lstm(const Step& step, RunContext& context) {
  const auto& state = *static_cast<const ByteLstmState*>(step.state.get());
  const LstmTensors t{step, context};
  const TclTensor &x = t.input(X), &r = t.input(R);
  ByteLstmArgs args{x.dims[0], x.dims[1], r.dims[1], static_cast<int32_t>(r.dims[0])};
  if (args.batch == 0 || args.hidden == 0) return;
  args.backwards = state.backwards ? 1 : 0;
  args.is_signed = state.is_signed ? 1 : 0;
  args.w_step = t.step_of(WScale, args.directions);
  args.r_step = t.step_of(RScale, args.directions);
  args.zero_step = t.step_of(RZero, args.directions);
  const QuantizedInput quantized = quantized_input(state, x);
  std::shared_ptr<Buffer> projected;
  if (args.steps > 0) projected = project(state, t, args, quantized);
  const int64_t words = args.directions * groups_of(args.hidden, 4) * args.hidden * 4;
  const auto weights = packed_weights(state, t, args, words);
  const LstmCall call{projected ? projected->data() : nullptr,
                      quantized.scale,
                      t.data(WScale),
                      t.data(RScale),
                      t.data(B),
                      t.data(RZero),
                      weights->data(),
                      weights->data() + words * 4,
                      t.data(Lengths),
                      t.data(H),
                      t.data(C),
                      t.output(0),
                      t.output(1),
                      t.output(2)};
  Arguments made;
  made.add(call).add(args);
  made.launch(*state.device, state.walk, grid_of(args.directions * args.batch, kLstmThreads));
}

std::optional<std::string> byte_lstm_refuses(const Graph& graph, const Node& node) {
  if (node.attributes.find("clip") || node.attributes.get_or<int64_t>("input_forget", 0) != 0 ||
      input_of(node, P) != kNone) {
    return "has clip, peepholes or input_forget";
  }
  const auto* functions = node.attributes.get<std::vector<std::string>>("activations");
  for (size_t i = 0; functions != nullptr && i < functions->size(); ++i) {
    const char* const usual = i % 3 == 0 ? "Sigmoid" : "Tanh";
    if ((*functions)[i] != usual) return concat("has the activation ", (*functions)[i]);
  }
  const auto& shape = graph.value(node.inputs[R]).type.shape;
  if (!shape || shape->size() != 3 || !(*shape)[1].known()) return "R's shape is not known";
  if ((*shape)[1].value() > kMostUnits) return concat("more than ", kMostUnits, " hidden units");
  return std::nullopt;
}

Step compile_byte_lstm(const Graph& graph, const Node& node,
                       const std::shared_ptr<Device>& device) {
  ByteLstmState state{.device = device};
  const DType weights = graph.value(node.inputs[W]).type.dtype;
  state.backwards = node.attributes.get_or<std::string>("direction", "forward") == "reverse";
  state.is_signed = weights == DType::Int8;
  state.turned = {device, graph, node.inputs[W], kTurned};
  state.packed = {device, graph, node.inputs[R], "words and their sums"};
  const auto inside = device->enter();
  state.range = cuda_function(*device, "quantize", "range_f32");
  state.quantize = cuda_function(*device, "quantize", "dynamic_quantize_f32");
  state.product = cuda_function(*device, "gemm_bytes", concat("gemm_u8_", type_suffix(weights)));
  state.pack = cuda_function(*device, "lstm_bytes", "lstm_pack_bytes");
  state.walk = cuda_function(*device, "lstm_bytes", "lstm_bytes");
  Step step = launched_step(graph, node, run_byte_lstm, "lstm_bytes");
  step.inputs.resize(Inputs, kNone);
  step.state = std::make_shared<ByteLstmState>(std::move(state));
  return step;
}

}  // namespace

std::vector<LaunchedOp> byte_lstm_ops() {
  return {{"com.microsoft", "DynamicQuantizeLSTM", byte_lstm_refuses, compile_byte_lstm}};
}

}  // namespace tiercel::cuda
