// Matrix products as the kernels of gemm.cu and gemv.cu take them: operands, strides, launches.
#include "providers/cuda/gemm.h"

#include <array>

#include "base/error.h"
#include "providers/cuda/lines.h"
#include "providers/cuda/product_plan.h"

namespace tiercel::cuda {
namespace {

constexpr int64_t kFewRows = 8;  // that the kernels of gemv.cu take

// Strides of the batch axes of an operand, which broadcasts to `batch`.
void batch_strides(const View& view, const std::array<int64_t, kBatchAxes>& batch,
                   int64_t (&strides)[5]) {
  const size_t axes = view.dims.size() < 2 ? 0 : view.dims.size() - 2;
  for (size_t i = 0; i < axes; ++i) {
    const size_t to = static_cast<size_t>(kBatchAxes) - axes + i;
    strides[2 + to] = view.dims[i] == batch[to] ? view.strides[i] : 0;
  }
}

// Axes of a in front of its rows become rows where b is one matrix for all of them.
void fold_rows(View& a, const View& b) {
  if (b.dims.size() != 2) return;
  while (a.dims.size() > 2) {
    const size_t last = a.dims.size() - 2;
    if (a.strides[last - 1] != a.strides[last] * a.dims[last]) return;
    a.dims[last] *= a.dims[last - 1];
    a.dims.erase(a.dims.begin() + static_cast<int64_t>(last) - 1);
    a.strides.erase(a.strides.begin() + static_cast<int64_t>(last) - 1);
  }
}

Arguments product_arguments(const Product& product) {
  const void* const no_bias = nullptr;
  Arguments made;
  made.add(product.a).add(product.b).add(product.c).add(no_bias).add(product.d);
  made.add(product.args);
  return made;
}

}  // namespace

View view_of(const TclTensor& tensor, const std::vector<int64_t>* permutation) {
  const Dims dims = dims_of(tensor);
  const Dims strides = dense_strides(dims);
  if (permutation == nullptr) return {dims, strides};
  View out;
  for (const int64_t axis : *permutation) {
    out.dims.push_back(dims[static_cast<size_t>(axis)]);
    out.strides.push_back(strides[static_cast<size_t>(axis)]);
  }
  return out;
}

Product matmul(View a, View b, const TclTensor& y) {
  if (a.dims.size() == 1) a = {{1, a.dims[0]}, {0, a.strides[0]}};
  if (b.dims.size() == 1) b = {{b.dims[0], 1}, {b.strides[0], 0}};
  fold_rows(a, b);
  Product product;
  GemmArgs& g = product.args;
  const size_t last_a = a.dims.size() - 1, last_b = b.dims.size() - 1;
  g.m = a.dims[last_a - 1];
  g.k = a.dims[last_a];
  g.n = b.dims[last_b];
  g.a[0] = a.strides[last_a - 1];
  g.a[1] = a.strides[last_a];
  g.b[0] = b.strides[last_b - 1];
  g.b[1] = b.strides[last_b];
  g.d[0] = g.n;
  g.d[1] = 1;
  std::array<int64_t, kBatchAxes> batch{1, 1, 1};
  for (const View* view : {&a, &b}) {
    const size_t axes = view->dims.size() - 2;
    for (size_t i = 0; i < axes; ++i) {
      int64_t& extent = batch[static_cast<size_t>(kBatchAxes) - axes + i];
      if (view->dims[i] != 1) extent = view->dims[i];
    }
  }
  batch_strides(a, batch, g.a);
  batch_strides(b, batch, g.b);
  g.d[4] = g.m * g.n;
  g.d[3] = g.d[4] * batch[2];
  g.d[2] = g.d[3] * batch[1];
  g.batch[0] = batch[1];
  g.batch[1] = batch[2];
  g.alpha = 1;
  product.batches = batch[0] * batch[1] * batch[2];
  product.d = y.data;
  return product;
}

std::optional<std::string> ranks_refused(const Graph& graph, ValueId a, ValueId b) {
  for (const ValueId id : {a, b}) {
    const auto& shape = graph.value(id).type.shape;
    if (!shape) return "its rank is not known";
    if (shape->size() > 2 + kBatchAxes) return "more than three batch axes";
  }
  return std::nullopt;
}

ProductKernels::ProductKernels(std::shared_ptr<Device> device, DType dtype, bool tf32)
    : device_(std::move(device)),
      suffix_(type_suffix(dtype)),
      item_bytes_(dtype_bytes(dtype, 1)),
      tf32_(tf32) {
  if (dtype == DType::UInt32) suffix_ = "i32";  // the same bits
  if (dtype == DType::UInt64) suffix_ = "i64";
}

void ProductKernels::run(const Product& product, const Results& results) const {
  const GemmArgs& g = product.args;
  if (product.batches == 0 || g.m == 0 || g.n == 0) return;
  const bool floats = suffix_ == "f32" || suffix_ == "f16" || suffix_ == "bf16";
  if (floats && g.m <= kFewRows && (g.b[0] == 1 || g.b[1] == 1)) {
    if (g.b[1] != 1) return by_rows(product, results);
    const ProductPlan plan = plan_rows(product, item_bytes_, device_->multiprocessors());
    return by_parts(product, plan.parts, results,
                    [&](const Product& part, const Results& to) { by_rows(part, to); });
  }
  if (!floats) return by_tiles(product, false, results);
  const auto sizes = tf32_ && suffix_ == "f32" ? TileSizes::large
                     : g.m > 64 && g.n > 64    ? TileSizes::both
                                               : TileSizes::small;
  const ProductWork work{
      product.batches, g.m, g.n, g.k, item_bytes_, sizes, has_room_for_parts(product)};
  const ProductPlan plan = plan_tiles(work, device_->multiprocessors());
  by_parts(product, plan.parts, results,
           [&](const Product& part, const Results& to) { by_tiles(part, plan.large, to); });
}

void ProductKernels::by_tiles(const Product& product, bool large, const Results& results) const {
  const GemmArgs& g = product.args;
  const bool by_tf32 = tf32_ && suffix_ == "f32";
  const bool tensor_cores = suffix_ == "f16" || suffix_ == "bf16";
  const int64_t tile = large ? 128 : 64;
  Grid grid;
  grid.x = product.batches * groups_of(g.m, tile) * groups_of(g.n, tile);
  grid.threads = tensor_cores || (large && !by_tf32) ? 128 : 256;
  const std::string name = by_tf32 ? "gemm_tf32" : concat(large ? "gemm_" : "gemm_small_", suffix_);
  Arguments made = product_arguments(product);
  results.launch(*device_, tensor_cores ? "gemm_mma" : "gemm", name, made, grid);
}

// Few rows: each column, or group of columns, is a warp's or a block's.
void ProductKernels::by_rows(const Product& product, const Results& results) const {
  const GemmArgs& g = product.args;
  const bool along_n = g.b[1] == 1;
  const int64_t columns = g.n * product.batches;
  Grid grid;
  grid.x =
      along_n ? product.batches * groups_of(g.n, row_columns(item_bytes_)) : groups_of(columns, 8);
  Arguments made = product_arguments(product);
  if (!along_n) made.add(columns);
  results.launch(*device_, "gemv", concat(along_n ? "gemv_n_" : "gemv_k_", suffix_), made, grid);
}

template <class Run>
void ProductKernels::by_parts(const Product& product, int64_t parts, const Results& results,
                              const Run& run) const {
  if (parts == 1) return run(product, results);
  const auto sums = room_for_sums(product, parts);
  run(in_parts(product, parts, sums->data()), Results());
  add_parts(product, parts, sums->data(), results);
}

std::shared_ptr<Buffer> ProductKernels::room_for_sums(const Product& product, int64_t parts) const {
  const int64_t total = product.batches * product.args.m * product.args.n;
  return device_->allocate(parts * total * static_cast<int64_t>(sizeof(float)));
}

void ProductKernels::add_parts(const Product& product, int64_t parts, void* sums,
                               const Results& results) const {
  const GemmArgs& g = product.args;
  const int64_t total = product.batches * g.m * g.n;
  const void* const no_bias = nullptr;
  Arguments made;
  made.add(sums).add(product.c).add(no_bias).add(product.d).add(g).add(total).add(parts);
  results.launch(*device_, "sums", concat("sum_parts_", suffix_), made,
                 looping_grid(*device_, total));
}

}  // namespace tiercel::cuda
