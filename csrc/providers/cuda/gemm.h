// Matrix products as the kernels of gemm.cu and gemv.cu take them: operands, strides, launches.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/shape.h"
#include "providers/cuda/attached.h"

namespace tiercel::cuda {

// As in kernels/cuda/gemm.cuh.
struct GemmArgs {
  int64_t m, n, k;
  int64_t batch[2];
  int64_t a[5], b[5], c[5], d[5];
  float alpha, beta;
  void* sums;  // of parts of k; nullptr: they are whole
};

constexpr int kBatchAxes = 3;

struct Product {
  const void* a = nullptr;
  const void* b = nullptr;
  const void* c = nullptr;
  void* d = nullptr;
  int64_t batches = 1;
  GemmArgs args{};
};

// An operand by its axes: extents and strides.
struct View {
  Dims dims, strides;
};

// After a permutation, unless that is nullptr.
[[nodiscard]] View view_of(const TclTensor& tensor, const std::vector<int64_t>* permutation);
// Strides of MatMul to `y`, without the addresses of a and b.
[[nodiscard]] Product matmul(View a, View b, const TclTensor& y);
// nullopt: the ranks of both operands are known, and are no more than products have batch axes for.
[[nodiscard]] std::optional<std::string> ranks_refused(const Graph& graph, ValueId a, ValueId b);

// The products of one element type; entries are found when a launch first needs them.
class ProductKernels {
 public:
  // `tf32`: products of floats by tensor cores, whose factors have 10 bits of mantissa.
  ProductKernels(std::shared_ptr<Device> device, DType dtype, bool tf32);
  // One launch; where d is output 0 of a step, with its epilogue.
  void run(const Product& product, const Results& results = {}) const;
  // Floats for the sums of so many parts of k, and d made of them; `g.sums` is not read.
  [[nodiscard]] std::shared_ptr<Buffer> room_for_sums(const Product& product, int64_t parts) const;
  void add_parts(const Product& product, int64_t parts, void* sums, const Results& results) const;

 private:
  void by_rows(const Product& product, const Results& results) const;
  void by_tiles(const Product& product, bool large, const Results& results) const;
  // `run` on parts of k, then their sum.
  template <class Run>
  void by_parts(const Product& product, int64_t parts, const Results& results,
                const Run& run) const;

  std::shared_ptr<Device> device_;
  std::string_view suffix_;
  int64_t item_bytes_;
  bool tf32_;
};

}  // namespace tiercel::cuda
