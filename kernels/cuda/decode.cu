// Rotary embeddings: pairs of items turned by angles of their positions.
#include "device.cuh"

// x, y: [batch, heads, rows, size] by strides; tables: [positions, half]; positions: null (row
// number + first), [1] (the first, flat = 1) or [batch, rows]. A position that is not
// below `limit` gives `failure` to `status`, unless that is null.
struct RotaryArgs {
  i64 x[4], y[4];  // batch, head, row, item
  i64 batch, heads, rows, size, half;
  i32 interleaved, flat;
  i64 limit, failure;
};
template <class T>
DEVICE void rotate(const T* x, const T* cosines, const T* sines, const i64* positions, T* y,
                   i64* status, const RotaryArgs& a) {
  const i64 rest = a.size - a.half, total = a.batch * a.heads * a.rows * rest;
  for (i64 i = first_item(); i < total; i += item_step()) {
    const i64 line = divide(i, rest), plane = divide(line, a.rows), b = divide(plane, a.heads);
    const i64 item = i - line * rest, row = line - plane * a.rows, h = plane - b * a.heads;
    const T* from = x + b * a.x[0] + h * a.x[1] + row * a.x[2];
    T* to = y + b * a.y[0] + h * a.y[1] + row * a.y[2];
    if (item >= a.half) {  // behind the pairs nothing is rotated
      to[(item + a.half) * a.y[3]] = from[(item + a.half) * a.x[3]];
      continue;
    }
    const i64 p = !positions ? row : a.flat ? positions[0] + row : positions[b * a.rows + row];
    if (status && (p < 0 || p >= a.limit)) {
      atomicMax(reinterpret_cast<u64*>(status), (u64)a.failure);
      continue;
    }
    const float c = widen(cosines[p * a.half + item]), s = widen(sines[p * a.half + item]);
    const i64 u = a.interleaved ? 2 * item : item, v = a.interleaved ? u + 1 : item + a.half;
    const float xu = widen(from[u * a.x[3]]), xv = widen(from[v * a.x[3]]);
    to[u * a.y[3]] = narrow<T>(xu * c - xv * s);
    to[v * a.y[3]] = narrow<T>(xv * c + xu * s);
  }
}

// grid: any; block: 256.  No dynamic shared memory.
#define ROTARY(suffix, T)                                                                       \
  KERNEL(256)                                                                                   \
  rotary_embedding_##suffix(const T* x, const T* cosines, const T* sines, const i64* positions, \
                            T* y, i64* status, RotaryArgs a) {                                  \
    rotate<T>(x, cosines, sines, positions, y, status, a);                                      \
  }
ROTARY(f32, float)
ROTARY(f16, f16)
ROTARY(bf16, bf16)
