// Convolutions on a GPU: Conv and ConvTranspose by the kernels of conv.cu,
// conv_patch.cu and depthwise.cu.
#include <algorithm>

#include "ops/op_def.h"
#include "providers/cuda/attached.h"
#include "providers/cuda/conv_patches.h"
#include "providers/cuda/depthwise.h"
#include "providers/cuda/gemm.h"
#include "providers/cuda/kept.h"
#include "providers/cuda/lines.h"
#include "providers/cuda/product_plan.h"
#include "runtime/executor.h"

namespace tiercel::cuda {
namespace {

constexpr int64_t kTapBytes = 16;

// As in kernels/cuda/copy.cu.
struct ConvCopyArgs {
  int64_t shape[8], from[8], to[8];
  int64_t rank;
};

struct ConvState {
  std::shared_ptr<Device> device;
  ConvWindow window;
  std::string suffix;
  int64_t item = 0;  // bytes
  bool tf32 = false;
  Attached epilogue;
  ProductKernels products;
  Derived weights;  // of ConvTranspose and of patches, permuted
  std::unique_ptr<KeptBuffers> tables = std::make_unique<KeptBuffers>();
};

std::shared_ptr<Buffer> table_of_taps(const ConvState& state, const ConvArgs& args) {
  Device& device = *state.device;
  const int64_t taps = std::max<int64_t>(args.channels * args.volume(), 1);
  const int64_t entries = groups_of(taps, 32) * 32;
  auto table = device.allocate(entries * kTapBytes);
  const void* const address = table->data();
  Grid grid;
  grid.x = groups_of(entries, grid.threads);
  Arguments made;
  made.add(address).add(args).add(entries).add(int32_t{state.window.transposed});
  made.launch(device, cuda_function(device, "conv", "conv_table"), grid);
  return table;
}

// Weights [groups * channels, filters, kernel] as [groups * filters, channels * kernel].
ConvCopyArgs weight_order(const ConvArgs& args) {
  const int64_t channels = args.channels, filters = args.filters, volume = args.volume();
  return {{args.groups, channels, filters, volume},
          {channels * filters * volume, filters * volume, volume, 1},
          {channels * filters * volume, volume, channels * volume, 1},
          4};
}

std::shared_ptr<Buffer> permuted(const ConvState& state, const ConvArgs& args, const void* from) {
  const ConvCopyArgs order = weight_order(args);
  const int64_t total = order.shape[0] * order.from[0];
  auto made = state.device->allocate(total * state.item);
  if (total == 0) return made;
  void* const to = made->data();
  Grid grid;
  const int64_t most = int64_t{state.device->multiprocessors()} * 8;
  grid.x = std::min(groups_of(total, grid.threads), most);
  const auto copy = cuda_function(*state.device, "copy", concat("copy_b", state.item * 8));
  Arguments().add(from).add(to).add(total).add(order).launch(*state.device, copy, grid);
  return made;
}

// Weights [groups * filters, channels, kernel] as conv_patch.cu takes them.
std::shared_ptr<Buffer> chunked(const ConvState& state, const ConvArgs& args, const void* from) {
  const int64_t chunk = kPatchBytes / state.item, chunks = groups_of(args.channels, chunk);
  const int64_t filters = int64_t{args.groups} * args.filters;
  const int64_t total = filters * chunks * args.volume() * chunk;
  auto made = state.device->allocate(total * state.item);
  void* const to = made->data();
  const auto taps = static_cast<int32_t>(args.volume());
  Arguments arguments;
  arguments.add(from).add(to).add(total).add(args.channels).add(taps);
  const char* entry = state.tf32 ? "conv_patch_weights_tf32" : "conv_patch_weights_b16";
  arguments.launch(*state.device, cuda_function(*state.device, "conv_patch", entry),
                   looping_grid(*state.device, total));
  return made;
}

// The result as that of a product: filters are rows, points columns; a and b are not set.
Product product_of(const ConvArgs& args, const void* bias, void* y) {
  Product product{.c = bias, .d = y};
  GemmArgs& g = product.args;
  const int64_t groups = args.groups, filters = args.filters;
  g.m = filters, g.n = args.points(), g.k = args.channels * args.volume();
  g.d[0] = g.n, g.d[1] = 1;
  g.d[4] = filters * g.n, g.d[3] = groups * g.d[4];
  g.c[0] = 1, g.c[4] = filters;
  g.batch[0] = args.batch, g.batch[1] = groups;
  g.alpha = g.beta = 1;
  product.batches = args.batch * groups;
  return product;
}

// Sums of parts that `launch` leaves, and y of them.
template <class Launch>
void add_up(const ConvState& state, const ConvArgs& args, int64_t parts, const void* bias, void* y,
            const Results& results, const Launch& launch) {
  const Product product = product_of(args, bias, y);
  const auto sums = state.products.room_for_sums(product, parts);
  launch(sums->data());
  state.products.add_parts(product, parts, sums->data(), results);
}

void launch_patches(const ConvState& state, const PatchPlan& plan, const void* x, const void* w,
                    const void* bias, void* y, const Results& results) {
  const auto weights = state.weights.get([&] { return chunked(state, plan.args.c, w); });
  const void* const from = weights->data();
  Grid grid;
  grid.x = plan.blocks;
  grid.y = static_cast<unsigned>(plan.parts);
  grid.threads = static_cast<unsigned>(plan.filters * plan.points / 64);
  const auto entry = concat("conv_patch_", plan.filters, "_", plan.points, "_",
                            state.tf32 ? "tf32" : state.suffix);
  const auto launch = [&](PatchArgs args, void* sums, const Results& after) {
    args.sums = sums;
    Arguments made;
    made.add(x).add(from).add(bias).add(y).add(args);
    after.launch(*state.device, "conv_patch", entry, made, grid);
  };
  if (plan.parts == 1) return launch(plan.args, nullptr, results);
  add_up(state, plan.args.c, plan.parts, bias, y, results,
         [&](void* sums) { launch(plan.args, sums, Results()); });
}

void launch_depthwise(const ConvState& state, const ConvArgs& args, const void* x, const void* w,
                      const void* bias, void* y, const Results& results) {
  if (const auto plan = plan_depthwise(args, state.device->multiprocessors())) {
    Grid tiles;
    tiles.x = plan->blocks;
    Arguments made;
    made.add(x).add(w).add(bias).add(y).add(plan->args);
    const auto entry = concat("conv_depthwise_", args.kernel[1], "_", state.suffix);
    results.launch(*state.device, "depthwise", entry, made, tiles);
    return;
  }
  const int64_t total = args.batch * args.points() * args.groups * args.filters;
  const int64_t most = int64_t{state.device->multiprocessors()} * 16;
  Grid grid;
  grid.x = std::min(groups_of(total, grid.threads), most);
  Arguments made;
  made.add(x).add(w).add(bias).add(y).add(args);
  results.launch(*state.device, "conv", "conv_depthwise_" + state.suffix, made, grid);
}

ProductPlan plan_product(const ConvState& state, const ConvArgs& args) {
  const bool transposed = state.window.transposed;
  const int64_t columns = args.batch * args.points();
  const auto sizes = transposed                          ? TileSizes::small
                     : state.tf32                        ? TileSizes::large
                     : args.filters > 64 && columns > 64 ? TileSizes::both
                                                         : TileSizes::small;
  const ProductWork work{args.groups, args.filters, columns,         args.channels * args.volume(),
                         state.item,  sizes,        state.item == 4, false};
  return plan_tiles(work, state.device->multiprocessors());
}

void launch_product(const ConvState& state, const ConvArgs& args, const void* x, const void* w,
                    const void* bias, void* y, const Results& results) {
  const bool transposed = state.window.transposed, by_tf32 = state.tf32 && !transposed;
  const int64_t columns = args.batch * args.points();
  const auto [large, parts] = plan_product(state, args);
  const int64_t tile = large ? 128 : 64;
  const std::string key(reinterpret_cast<const char*>(&args), sizeof args);
  const auto table =
      state.tables->get(*state.device, key, [&] { return table_of_taps(state, args); });
  const void* const taps = table->data();
  Grid grid;
  grid.x = args.groups * groups_of(args.filters, tile) * groups_of(columns, tile);
  grid.y = static_cast<unsigned>(parts);
  grid.threads = large || state.suffix == "f32" ? 256 : 128;
  const char* name = transposed ? "conv_transpose_" : large ? "conv_" : "conv_small_";
  const std::string entry = by_tf32 ? "conv_tf32" : name + state.suffix;
  const auto launch = [&](const void* with_bias, void* to, const Results& after) {
    Arguments made;
    made.add(x).add(w).add(with_bias).add(to).add(taps).add(args);
    after.launch(*state.device, "conv", entry, made, grid);
  };
  if (parts == 1) return launch(bias, y, results);
  add_up(state, args, parts, bias, y, results,
         [&](void* sums) { launch(nullptr, sums, Results()); });
}

// Windows of one item that follow one another: a product of matrices.
bool is_plain_product(const ConvArgs& args) {
  bool plain = args.volume() == 1;
  for (size_t i = 0; i < kSpatial; ++i) {
    plain = plain && args.stride[i] == 1 && args.pad[i] == 0 && args.size[i] == args.out[i];
  }
  return plain;
}

void launch_plain_product(const ConvState& state, const ConvArgs& args, const void* x,
                          const void* w, const void* bias, void* y, const Results& results) {
  Product product = product_of(args, bias, y);
  product.a = w, product.b = x;
  GemmArgs& g = product.args;
  g.a[0] = g.k, g.a[1] = 1, g.a[4] = g.m * g.k;
  g.b[0] = g.n, g.b[1] = 1, g.b[4] = g.k * g.n, g.b[3] = args.groups * g.b[4];
  state.products.run(product, results);
}

// nullopt: by an implicit product.
std::optional<PatchPlan> patches_of(const ConvState& state, const ConvArgs& args) {
  if (state.item != 2 && !state.tf32) return std::nullopt;
  return plan_patches(args, state.item, state.device->multiprocessors());
}

void run_conv(const Step& step, RunContext& context) {
  const auto& state = *static_cast<const ConvState*>(step.state.get());
  const TclTensor& x = *context.tensor(step.inputs[0]);
  const TclTensor& y = *context.tensor(step.outputs[0]);
  if (y.size == 0) return;
  const TclTensor& w = *context.tensor(step.inputs[1]);
  const void* const bias = step.inputs[2] == kNone ? nullptr : context.tensor(step.inputs[2])->data;
  const ConvArgs args = conv_args(state.window, x, w, y);
  const Results results(state.epilogue, step, context);
  if (!state.window.transposed && args.channels == 1) {
    launch_depthwise(state, args, x.data, w.data, bias, y.data, results);
  } else if (state.window.transposed) {
    const auto weights = state.weights.get([&] { return permuted(state, args, w.data); });
    launch_product(state, args, x.data, weights->data(), bias, y.data, results);
  } else if (is_plain_product(args)) {
    launch_plain_product(state, args, x.data, w.data, bias, y.data, results);
  } else if (const auto plan = patches_of(state, args)) {
    launch_patches(state, *plan, x.data, w.data, bias, y.data, results);
  } else {
    launch_product(state, args, x.data, w.data, bias, y.data, results);
  }
}

std::optional<std::string> conv_refuses(const Graph& graph, const Node& node) {
  const Type& x = graph.value(node.inputs[0]).type;
  if (x.dtype != DType::Float && x.dtype != DType::Float16 && x.dtype != DType::BFloat16) {
    return "no convolution of these types";
  }
  if (auto refusal = spatial_refused(x)) return refusal;
  return attached_refuses(node, "epilogue");
}

Step compile_conv(const Graph& graph, const Node& node, const std::shared_ptr<Device>& device,
                  bool tf32) {
  const DType dtype = graph.value(node.inputs[0]).type.dtype;
  const bool transposed = node.op_type == "ConvTranspose";
  Step step = launched_step(graph, node, run_conv, transposed ? "conv_transpose" : "conv");
  step.inputs.resize(3, kNone);
  Attached epilogue(node, "epilogue", step, device);
  const auto groups = node.attributes.get_or<int64_t>("group", 1);
  const std::string order = concat(transposed ? "rows of filters, group " : "patches, group ",
                                   groups, tf32 ? ", tf32" : "");
  step.state =
      std::make_shared<ConvState>(ConvState{.device = device,
                                            .window = ConvWindow(node),
                                            .suffix = std::string(type_suffix(dtype)),
                                            .item = dtype_bytes(dtype, 1),
                                            .tf32 = tf32 && dtype == DType::Float,
                                            .epilogue = std::move(epilogue),
                                            .products = {device, dtype, tf32},
                                            .weights = {device, graph, node.inputs[1], order}});
  return step;
}

}  // namespace

std::vector<LaunchedOp> conv_ops() {
  return {{"", "Conv", conv_refuses, compiled<compile_conv, false>, compiled<compile_conv, true>},
          {"", "ConvTranspose", conv_refuses, compiled<compile_conv, false>,
           compiled<compile_conv, true>}};
}

}  // namespace tiercel::cuda
