// Attention and RotaryEmbedding on a GPU, by the kernels of attention*.cu and decode.cu.
#include <algorithm>
#include <array>
#include <cmath>

#include "ops/op_def.h"
#include "providers/cuda/lines.h"
#include "providers/cuda/moves.h"
#include "runtime/executor.h"

namespace tiercel::cuda {
namespace {

using Strides = std::array<int64_t, 4>;  // batch, head, row, item

constexpr int64_t kMostItems = 256;  // of a head of keys or values
constexpr int64_t kFewQueries = 8;   // that that get a block each

// As in kernels/cuda/attention.cuh.
struct AttentionArgs {
  Strides q, k, v, y, mask;
  int32_t batch, heads, kv_heads, rows, keys, size, value_size;
  int32_t mask_kind, left, right, offset, from_lengths;
  float scale, softcap;
};

// As in kernels/cuda/decode.cu.
struct RotaryArgs {
  Strides x, y;
  int64_t batch, heads, rows, size, half;
  int32_t interleaved, flat;
  int64_t limit, failure;
};

// [batch, heads, rows, size], or [batch, rows, heads · size].
struct Operand {
  void* data = nullptr;
  int64_t batch = 0, heads = 0, rows = 0, size = 0;
  Strides strides{};
};

Operand planes(void* data, int64_t batch, int64_t heads, int64_t rows, int64_t size) {
  return {data, batch, heads, rows, size, {heads * rows * size, rows * size, size, 1}};
}

Operand operand(const TclTensor& tensor, int64_t heads) {
  const int64_t* dims = tensor.dims;
  if (tensor.rank == 4) return planes(tensor.data, dims[0], dims[1], dims[2], dims[3]);
  const int64_t size = dims[2] / heads;
  return {tensor.data, dims[0], heads, dims[1], size, {dims[1] * dims[2], size, dims[2], 1}};
}

const TclTensor& given(RunContext& context, const std::vector<ValueId>& ids, size_t i) {
  return *context.tensor(i < ids.size() ? ids[i] : kNone);
}

// Items in a head of input `i`, when they are known.
std::optional<int64_t> head_items(const Graph& graph, const Node& node, size_t i,
                                  std::string_view count) {
  const auto& shape = graph.value(node.inputs[i]).type.shape;
  if (!shape || shape->size() < 3 || !shape->back().known()) return std::nullopt;
  const int64_t items = shape->back().value();
  if (shape->size() == 4) return items;
  const auto heads = node.attributes.get_or<int64_t>(count, 0);
  return heads > 0 ? std::optional(items / heads) : std::nullopt;
}

struct AttentionState {
  std::shared_ptr<Device> device;
  FunctionHandle tiles = nullptr, one = nullptr;
  int64_t tile_rows = 64, item_bytes = 4;
  unsigned threads = 128;
};

// Keys or values of the past and the new ones, one after the other.
class Cache {
 public:
  Cache(const AttentionState& state, const Operand& added, const TclTensor& past,
        const TclTensor& present)
      : state_(state) {
    all_ = added;
    if (past.rank < 0 && present.rank < 0) return;
    const int64_t before = past.rank < 0 ? 0 : past.dims[2];
    const int64_t rows = before + added.rows;
    void* data = present.data;
    if (present.rank < 0) {
      memory_ =
          state.device->allocate(added.batch * added.heads * rows * added.size * state.item_bytes);
      data = memory_->data();
    }
    all_ = planes(data, added.batch, added.heads, rows, added.size);
    if (before > 0) put(operand(past, 0), 0);
    put(added, before);
  }
  [[nodiscard]] const Operand& all() const { return all_; }

 private:
  // Copies all rows of `from` to the rows from `row` on.
  void put(const Operand& from, int64_t row) const {
    const int64_t shape[] = {from.batch, from.heads, from.rows, from.size};
    Move move;
    for (size_t i = 0; i < 4; ++i)
      move.axes.push_back({shape[i], from.strides[i], all_.strides[i]});
    move.to = row * all_.strides[2];
    move.run(*state_.device, from.data, all_.data, state_.item_bytes);
  }

  const AttentionState& state_;
  Operand all_;
  std::shared_ptr<Buffer> memory_;
};

// A mask of up to four axes; keys behind a shorter last axis are hidden.
void put_mask(AttentionArgs& args, const TclTensor& mask) {
  if (mask.rank < 0) return;
  args.mask_kind = static_cast<DType>(mask.dtype) == DType::Bool ? 2 : 1;
  int64_t stride = 1;
  for (int64_t i = mask.rank; i-- > 0;) {
    const int64_t extent = mask.dims[i];
    args.mask[static_cast<size_t>(4 - mask.rank + i)] = extent == 1 ? 0 : stride;
    stride *= extent;
  }
  const int64_t across = mask.dims[mask.rank - 1];
  if (across != 1) args.keys = std::min(args.keys, static_cast<int32_t>(across));
}

AttentionArgs arguments_of(const Node& node, const Operand& q, const Operand& k, const Operand& v,
                           const Operand& y) {
  AttentionArgs args{};
  args.q = q.strides;
  args.k = k.strides;
  args.v = v.strides;
  args.y = y.strides;
  args.batch = static_cast<int32_t>(q.batch);
  args.heads = static_cast<int32_t>(q.heads);
  args.kv_heads = static_cast<int32_t>(k.heads);
  args.rows = static_cast<int32_t>(q.rows);
  args.keys = static_cast<int32_t>(k.rows);
  args.size = static_cast<int32_t>(q.size);
  args.value_size = static_cast<int32_t>(v.size);
  const auto integer = [&](const char* name, int64_t other) {
    return static_cast<int32_t>(
        std::clamp<int64_t>(node.attributes.get_or<int64_t>(name, other), -1, INT32_MAX / 2));
  };
  args.left = integer("left_window_size", -1);
  args.right = integer("is_causal", 0) != 0 ? 0 : integer("right_window_size", -1);
  const auto scale = node.attributes.get_or<double>("scale", 0);
  const double usual = 1 / std::sqrt(static_cast<double>(q.size));
  args.scale = static_cast<float>(scale == 0 ? usual : scale);
  args.softcap = static_cast<float>(std::max(node.attributes.get_or<double>("softcap", 0), 0.0));
  return args;
}

void run_attention(const Step& step, RunContext& context) {
  const auto& state = *static_cast<const AttentionState*>(step.state.get());
  const Node& node = context.node(step);
  const auto heads = node.attributes.get_or<int64_t>("q_num_heads", 0);
  const auto kv_heads = node.attributes.get_or<int64_t>("kv_num_heads", 0);
  const Operand q = operand(given(context, step.inputs, 0), heads);
  const TclTensor& past = given(context, step.inputs, 4);
  const Cache keys(state, operand(given(context, step.inputs, 1), kv_heads), past,
                   given(context, step.outputs, 1));
  const Cache values(state, operand(given(context, step.inputs, 2), kv_heads),
                     given(context, step.inputs, 5), given(context, step.outputs, 2));
  const TclTensor& out = given(context, step.outputs, 0);
  if (out.size <= 0) return;
  const Operand &k = keys.all(), &v = values.all();
  if (k.heads < 1 || q.heads % k.heads != 0) {
    throw_error(ErrorKind::InvalidArgument, "node \"", node.name, "\" (Attention): ", q.heads,
                " heads of queries for ", k.heads, " of keys");
  }
  AttentionArgs args = arguments_of(node, q, k, v, operand(out, heads));
  const TclTensor& mask = given(context, step.inputs, 3);
  const TclTensor& lengths = given(context, step.inputs, 6);
  put_mask(args, mask);
  if (past.rank >= 0) {
    args.offset = static_cast<int32_t>(past.dims[2]);
  } else if (lengths.rank >= 0) {
    args.from_lengths = 1;
  }
  const bool few = q.rows <= kFewQueries;
  const int64_t blocks = few ? q.rows : groups_of(q.rows, state.tile_rows);
  Arguments made;
  made.add(q.data).add(k.data).add(v.data).add(mask.data).add(lengths.data).add(out.data);
  made.add(args).launch(*state.device, few ? state.one : state.tiles,
                        grid_of(q.batch * q.heads * blocks, few ? 256 : state.threads));
}

std::optional<std::string> attention_refuses(const Graph& graph, const Node& node) {
  if (auto refusal = float_lines_refused(graph, node)) return refusal;
  const DType dtype = graph.value(node.inputs[0]).type.dtype;
  const auto type = [&](size_t i) { return graph.value(node.inputs[i]).type.dtype; };
  if (type(1) != dtype || type(2) != dtype) return "keys or values of another type";
  if (node.inputs.size() > 3 && node.inputs[3] != kNone && type(3) != DType::Bool &&
      type(3) != dtype) {
    return concat("a mask of ", dtype_name(type(3)));
  }
  if (node.outputs.size() > 3 && node.outputs[3] != kNone) return "scores are wanted too";
  const auto size = head_items(graph, node, 0, "q_num_heads");
  const auto value_size = head_items(graph, node, 2, "kv_num_heads");
  if (!size || !value_size) return "the size of its heads is not known";
  if (*size > kMostItems || *value_size > kMostItems) {
    return concat("heads of more than ", kMostItems, " items");
  }
  return std::nullopt;
}

Step compile_attention(const Graph& graph, const Node& node,
                       const std::shared_ptr<Device>& device) {
  const DType dtype = graph.value(node.inputs[0]).type.dtype;
  const int64_t most = std::max(*head_items(graph, node, 0, "q_num_heads"),
                                *head_items(graph, node, 2, "kv_num_heads"));
  const std::string_view suffix = type_suffix(dtype);
  AttentionState state{.device = device};
  state.item_bytes = dtype_bytes(dtype, 1);
  const auto inside = device->enter();
  state.one = cuda_function(*device, "attention_fma", concat("attention_one_", suffix));
  const bool by_fma = dtype == DType::Float;
  const int64_t depth = most > 128 ? 256 : most > 64 ? 128 : 64;
  state.tiles = cuda_function(*device, by_fma ? "attention_fma" : "attention",
                              concat("attention_", depth, "_", suffix));
  state.tile_rows = depth == 256 || (by_fma && depth == 128) ? 32 : 64;
  state.threads = static_cast<unsigned>(state.tile_rows) * 2;
  Step step = launched_step(graph, node, run_attention, "attention");
  step.state = std::make_shared<AttentionState>(std::move(state));
  return step;
}

// ---- RotaryEmbedding

// Tables by position are of all batches; without positions each batch has its own.
void run_rotary(const Step& step, RunContext& context) {
  const auto& state = lines_in(step);
  const Node& node = context.node(step);
  const TclTensor& x = given(context, step.inputs, 0);
  if (x.size == 0) return;
  const auto heads = node.attributes.get_or<int64_t>("num_heads", 0);
  const Operand from = operand(x, heads), to = operand(given(context, step.outputs, 0), heads);
  const TclTensor& positions = given(context, step.inputs, 3);
  const TclTensor& cosines = given(context, step.inputs, 1);
  const auto turned = node.attributes.get_or<int64_t>("rotary_embedding_dim", 0);
  RotaryArgs args{from.strides, to.strides, from.batch, from.heads, from.rows, from.size};
  args.half = (turned > 0 ? turned : from.size) / 2;
  args.interleaved = node.attributes.get_or<int64_t>("interleaved", 0) != 0 ? 1 : 0;
  const bool by_position = positions.rank >= 0;
  if (by_position) args.limit = cosines.dims[0];
  args.failure = (static_cast<int64_t>(step.node) << 32) | TCL_INDEX_OUT_OF_RANGE;
  void* const status = by_position ? state.device->status() : nullptr;
  const int64_t launches = by_position ? 1 : from.batch;
  args.batch /= launches;
  const int64_t bytes = item_bytes(x);
  const auto at = [&](void* data, int64_t items) {
    return static_cast<std::byte*>(data) + items * bytes;
  };
  for (int64_t b = 0; b < launches; ++b) {
    const int64_t table = b * args.rows * args.half;
    Arguments made;
    made.add(at(from.data, b * from.strides[0])).add(at(cosines.data, table));
    made.add(at(given(context, step.inputs, 2).data, table)).add(positions.data);
    made.add(at(to.data, b * to.strides[0])).add(status).add(args);
    made.launch(*state.device, state.entries[0], looping_grid(*state.device, x.size / launches));
  }
}

std::optional<std::string> rotary_refuses(const Graph& graph, const Node& node) {
  return float_lines_refused(graph, node);
}

Step compile_rotary(const Graph& graph, const Node& node, const std::shared_ptr<Device>& device) {
  return compile_lines(graph, node, device, run_rotary, "rotary_embedding", "decode",
                       {"rotary_embedding_"});
}

}  // namespace

std::vector<LaunchedOp> attention_ops() {
  return {{"", "Attention", attention_refuses, compile_attention},
          {"", "RotaryEmbedding", rotary_refuses, compile_rotary}};
}

}  // namespace tiercel::cuda
