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
constexpr int64_t kFewQueries = 8;   // that tiles would be too large for
constexpr int64_t kSharing = 4;      // of them, at most, that share a block
constexpr int64_t kFewestKeys = 64;  // of such a block where a query has several

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
  FunctionHandle tiles = nullptr, one = nullptr, shared = nullptr, join = nullptr;
  int64_t tile_rows = 64, item_bytes = 4;
  unsigned threads = 128, shared_bytes = 0;
  bool packed = false;  // tiles read 16 bytes at once
};

// Copies all rows of `from` to the rows of `to` from `row` on.
void copy_rows(const AttentionState& state, const Operand& from, const Operand& to, int64_t row) {
  const int64_t shape[] = {from.batch, from.heads, from.rows, from.size};
  Move move;
  for (size_t i = 0; i < 4; ++i) move.axes.push_back({shape[i], from.strides[i], to.strides[i]});
  move.to = row * to.strides[2];
  move.run(*state.device, from.data, to.data, state.item_bytes);
}

// The operand, or a copy in `memory` where tiles cannot read it.
Operand readable(const AttentionState& state, const Operand& from,
                 std::shared_ptr<Buffer>& memory) {
  if (!state.packed || reinterpret_cast<uintptr_t>(from.data) % 16 == 0) return from;
  memory =
      state.device->allocate(from.batch * from.heads * from.rows * from.size * state.item_bytes);
  const Operand to = planes(memory->data(), from.batch, from.heads, from.rows, from.size);
  copy_rows(state, from, to, 0);
  return to;
}

// Keys or values of the past and the new ones, one after the other.
class Cache {
 public:
  Cache(const AttentionState& state, const Operand& added, const TclTensor& past,
        const TclTensor& present) {
    if (past.rank < 0 && present.rank < 0) {
      all_ = readable(state, added, memory_);
      return;
    }
    const int64_t before = past.rank < 0 ? 0 : past.dims[2];
    const int64_t rows = before + added.rows;
    void* data = present.data;
    if (present.rank < 0) {
      memory_ =
          state.device->allocate(added.batch * added.heads * rows * added.size * state.item_bytes);
      data = memory_->data();
    }
    all_ = planes(data, added.batch, added.heads, rows, added.size);
    if (before > 0) copy_rows(state, operand(past, 0), all_, 0);
    copy_rows(state, added, all_, before);
    all_ = readable(state, all_, aligned_);
  }
  [[nodiscard]] const Operand& all() const { return all_; }

 private:
  Operand all_;
  std::shared_ptr<Buffer> memory_, aligned_;
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

// Few queries: a block has one, or some that share keys and values, and all keys, or a part of them
// where there would be too few blocks for the GPU.
void run_few(const AttentionState& state, Arguments& made, const AttentionArgs& args, void* out) {
  Device& device = *state.device;
  const int64_t sharing = int64_t{args.heads} / args.kv_heads * args.rows;
  const int64_t blocks = int64_t{args.batch} * args.kv_heads * groups_of(sharing, kSharing);
  const int64_t at_once = sharing > 1 ? 1 : 2;  // blocks of a multiprocessor
  const int64_t wanted = device.multiprocessors() * at_once / blocks;
  const int64_t most = std::min(wanted, args.keys / kFewestKeys);
  const int64_t keys = groups_of(std::max(args.keys, 1), std::max<int64_t>(most, 1));
  const int64_t parts = groups_of(std::max(args.keys, 1), keys);
  std::shared_ptr<Buffer> memory;
  if (parts > 1) {
    const int64_t lines = int64_t{args.batch} * args.heads * args.rows;
    memory = device.allocate(lines * parts * (args.value_size + 2) * int64_t{sizeof(float)});
  }
  void* const found = memory ? memory->data() : nullptr;
  made.add(found).add(static_cast<int32_t>(parts)).add(static_cast<int32_t>(keys));
  made.launch(device, sharing > 1 ? state.shared : state.one, grid_of(blocks * parts));
  if (parts == 1) return;
  Arguments joined;
  joined.add(out).add(args).add(found).add(static_cast<int32_t>(parts));
  joined.launch(device, state.join, grid_of(int64_t{args.batch} * args.heads * args.rows));
}

void run_attention(const Step& step, RunContext& context) {
  const auto& state = *static_cast<const AttentionState*>(step.state.get());
  const Node& node = context.node(step);
  const auto heads = node.attributes.get_or<int64_t>("q_num_heads", 0);
  const auto kv_heads = node.attributes.get_or<int64_t>("kv_num_heads", 0);
  std::shared_ptr<Buffer> memory;
  const Operand q = readable(state, operand(given(context, step.inputs, 0), heads), memory);
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
  Arguments made;
  made.add(q.data).add(k.data).add(v.data).add(mask.data).add(lengths.data).add(out.data);
  made.add(args);
  if (q.rows <= kFewQueries) return run_few(state, made, args, out.data);
  const int64_t blocks = groups_of(q.rows, state.tile_rows);
  Grid grid = grid_of(q.batch * q.heads * blocks, state.threads);
  grid.shared_bytes = state.shared_bytes;
  made.launch(*state.device, state.tiles, grid);
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

// Whether scores are products times a positive scale, for which there are tiles of their own.
bool scores_are_products(const Node& node) {
  const bool masked = node.inputs.size() > 3 && node.inputs[3] != kNone;
  return !masked && node.attributes.get_or<double>("softcap", 0) <= 0 &&
         node.attributes.get_or<double>("scale", 0) >= 0;
}

Step compile_attention(const Graph& graph, const Node& node,
                       const std::shared_ptr<Device>& device) {
  const DType dtype = graph.value(node.inputs[0]).type.dtype;
  const int64_t size = *head_items(graph, node, 0, "q_num_heads");
  const int64_t value_size = *head_items(graph, node, 2, "kv_num_heads");
  const int64_t most = std::max(size, value_size);
  const std::string_view suffix = type_suffix(dtype);
  AttentionState state{.device = device};
  state.item_bytes = dtype_bytes(dtype, 1);
  const auto inside = device->enter();
  const int64_t depth = most > 128 ? 256 : most > 64 ? 128 : 64;
  const auto few = [&](std::string_view kernel) {
    return cuda_function(*device, "attention_few", concat(kernel, depth, "_", suffix));
  };
  state.one = few("attention_few_");
  state.shared = few("attention_shared_");
  state.join = cuda_function(*device, "attention_few", concat("attention_join_", suffix));
  if (dtype == DType::Float) {
    state.tiles = cuda_function(*device, "attention_fma", concat("attention_", depth, "_", suffix));
    state.tile_rows = depth == 64 ? 64 : 32;
    state.threads = static_cast<unsigned>(state.tile_rows) * 2;
  } else {
    state.packed = scores_are_products(node) && size % 8 == 0 && value_size % 8 == 0;
    state.tiles =
        cuda_function(*device, "attention",
                      concat("attention_", state.packed ? "" : "general_", depth, "_", suffix));
    state.tile_rows = depth == 256 ? 32 : 128;
    state.threads = depth == 256 ? 64 : state.packed ? 128 : 256;
    if (depth == 128) state.shared_bytes = state.packed ? 57344 : 65536;
  }
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
