// Sums of parts of k, which products and convolutions left, added in order and finished.
#include "gemm.cuh"

// g is the product's, d dense; `sums` holds `parts` times its `total` items. grid: any
// (ceil(total / 256)); block: 256; no dynamic shared memory.
#define SUM_PARTS(suffix, T)                                                                       \
  KERNEL(256)                                                                                      \
  sum_parts_##suffix(const float* sums, const T* c, const T* bias, T* d, GemmArgs g, i64 total,    \
                     i64 parts) {                                                                  \
    for (i64 at = first_item(); at < total; at += item_step()) {                                   \
      float sum = 0.f;                                                                             \
      _Pragma("unroll 4") for (i64 part = 0; part < parts; part++) sum += sums[part * total + at]; \
      const i64 row = divide(at, g.n), batch = divide(row, g.m);                                   \
      const GemmOutput<T, T, float> out(c, bias, d, g,                                             \
                                        {batch, row - batch * g.m, at - row * g.n});               \
      out.put(0, 0, sum);                                                                          \
    }                                                                                              \
  }
SUM_PARTS(f32, float)
SUM_PARTS(f16, f16)
SUM_PARTS(bf16, bf16)
