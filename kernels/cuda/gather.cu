// Gather and scatter by indices, negative ones from the end; an index out of range is reported, not
// followed.
#include "device.cuh"

static constexpr int AXES = 8;
typedef u8 b8;
typedef u16 b16;
typedef u32 b32;
typedef u64 b64;
typedef uint4 b128;

// The index in range, or -1 after it was reported in *error: 1 + its place among the indices, of
// several the last.
template <class I>
DEVICE i64 checked(const I* indices, i64 at, i64 n, i64* error) {
  const i64 i = indices[at], j = i < 0 ? i + n : i;
  if (j >= 0 && j < n) return j;
  atomicMax(reinterpret_cast<u64*>(error), (u64)at + 1);
  return -1;
}

// y[o, j, i] = x[o, indices[j], i] for [outer, n, inner] and m indices.
template <class T, class I>
DEVICE void gather_items(const T* x, const I* indices, T* y, i64* error, i64 outer, i64 n, i64 m,
                         i64 inner) {
  for (i64 at = first_item(); at < outer * m * inner; at += item_step()) {
    const i64 line = divide(at, inner), o = divide(line, m);
    const i64 k = checked(indices, line - o * m, n, error);
    if (k >= 0) y[at] = x[(o * n + k) * inner + (at - line * inner)];
  }
}

// Of GatherElements and ScatterElements: shape of the indices (and updates), strides and axis of
// the data.
struct ElementsArgs {
  i64 shape[AXES], strides[AXES];
  i64 rank, axis, n;  // n: size of the data along the axis
};
// Where item `at` of the indices lies in the data, but for the axis.
DEVICE i64 place(i64 at, const ElementsArgs& a) {
  i64 to = 0;
  for (int axis = (int)a.rank - 1; axis >= 0; axis--) {
    const i64 q = divide(at, a.shape[axis]);
    if (axis != a.axis) to += (at - q * a.shape[axis]) * a.strides[axis];
    at = q;
  }
  return to;
}
template <class T, class I>
DEVICE void gather_each(const T* x, const I* indices, T* y, i64* error, i64 total,
                        const ElementsArgs& a) {
  for (i64 at = first_item(); at < total; at += item_step()) {
    const i64 k = checked(indices, at, a.n, error);
    if (k >= 0) y[at] = x[place(at, a) + k * a.strides[a.axis]];
  }
}
// Of equal indices one wins.
template <class T, class I>
DEVICE void scatter_each(const T* updates, const I* indices, T* y, i64* error, i64 total,
                         const ElementsArgs& a) {
  for (i64 at = first_item(); at < total; at += item_step()) {
    const i64 k = checked(indices, at, a.n, error);
    if (k >= 0) y[place(at, a) + k * a.strides[a.axis]] = updates[at];
  }
}

// Of GatherND and ScatterND: tuples of `depth` indices into axes of `size`, each for a run of
// `inner` items; tuples per_batch of a batch, which has `batch_items` items.
struct TupleArgs {
  i64 size[AXES];
  i64 depth, inner, per_batch, batch_items;
};
template <class I>
DEVICE i64 tuple_place(const I* indices, i64 tuple, const TupleArgs& a, i64* error) {
  i64 to = 0;
  for (i64 d = 0; d < a.depth; d++) {
    const i64 k = checked(indices, tuple * a.depth + d, a.size[d], error);
    if (k < 0) return -1;
    to = to * a.size[d] + k;
  }
  return divide(tuple, a.per_batch) * a.batch_items + to * a.inner;
}
template <class T, class I>
DEVICE void gather_tuples(const T* x, const I* indices, T* y, i64* error, i64 total,
                          const TupleArgs& a) {
  for (i64 at = first_item(); at < total; at += item_step()) {
    const i64 tuple = divide(at, a.inner), from = tuple_place(indices, tuple, a, error);
    if (from >= 0) y[at] = x[from + at - tuple * a.inner];
  }
}
template <class T, class I>
DEVICE void scatter_tuples(const T* updates, const I* indices, T* y, i64* error, i64 total,
                           const TupleArgs& a) {
  for (i64 at = first_item(); at < total; at += item_step()) {
    const i64 tuple = divide(at, a.inner), to = tuple_place(indices, tuple, a, error);
    if (to >= 0) y[to + at - tuple * a.inner] = updates[at];
  }
}

// total: items of y (gather) or of the updates (scatter); y of a scatter holds the data already;
// error: one item that is 0 before.  grid: any; block: 256; no dynamic shared memory.
#define GATHER(T, suffix, I)                                                                       \
  KERNEL(256)                                                                                      \
  gather_##T##_##suffix(const T* x, const I* indices, T* y, i64* error, i64 outer, i64 n, i64 m,   \
                        i64 inner) {                                                               \
    gather_items<T, I>(x, indices, y, error, outer, n, m, inner);                                  \
  }                                                                                                \
  KERNEL(256)                                                                                      \
  gather_elements_##T##_##suffix(const T* x, const I* indices, T* y, i64* error, i64 total,        \
                                 ElementsArgs a) {                                                 \
    gather_each<T, I>(x, indices, y, error, total, a);                                             \
  }                                                                                                \
  KERNEL(256)                                                                                      \
  scatter_elements_##T##_##suffix(const T* updates, const I* indices, T* y, i64* error, i64 total, \
                                  ElementsArgs a) {                                                \
    scatter_each<T, I>(updates, indices, y, error, total, a);                                      \
  }
#define GATHER_TUPLES(T)                                                                           \
  KERNEL(256)                                                                                      \
  gather_nd_##T(const T* x, const i64* indices, T* y, i64* error, i64 total, TupleArgs a) {        \
    gather_tuples<T, i64>(x, indices, y, error, total, a);                                         \
  }                                                                                                \
  KERNEL(256)                                                                                      \
  scatter_nd_##T(const T* updates, const i64* indices, T* y, i64* error, i64 total, TupleArgs a) { \
    scatter_tuples<T, i64>(updates, indices, y, error, total, a);                                  \
  }
#define GATHER_ALL(T) \
  GATHER(T, i32, i32) \
  GATHER(T, i64, i64) \
  GATHER_TUPLES(T)
GATHER_ALL(b8)
GATHER_ALL(b16)
GATHER_ALL(b32)
GATHER_ALL(b64)
GATHER(b128, i32, i32)
GATHER(b128, i64, i64)

// ---- scatter with a reduction: equal indices in their order, by one thread for all that may meet

enum Reduction { ADD = 1, MULTIPLY = 2, LARGEST = 3, SMALLEST = 4 };
template <class C>
DEVICE C combine(C a, C b, i32 how) {
  return how == ADD        ? a + b
         : how == MULTIPLY ? a * b
         : how == LARGEST  ? Largest()(a, b)
                           : Smallest()(a, b);
}
template <class T>
DEVICE void merge(T* to, T with, i32 how) {
  *to = narrow<T>(combine((compute_t<T>)widen(*to), (compute_t<T>)widen(with), how));
}

// A thread has a line along the axis; total: items of the updates.
template <class T>
DEVICE void scatter_lines(const T* updates, const i64* indices, T* y, i64* error, i64 total,
                          i32 how, const ElementsArgs& a) {
  i64 inner = 1;
  for (i64 axis = a.axis + 1; axis < a.rank; axis++) inner *= a.shape[axis];
  const i64 m = a.shape[a.axis], lines = divide(total, m);
  for (i64 line = first_item(); line < lines; line += item_step()) {
    const i64 o = divide(line, inner), first = o * m * inner + (line - o * inner);
    T* to = y + place(first, a);
    for (i64 j = 0; j < m; j++) {
      const i64 k = checked(indices, first + j * inner, a.n, error);
      if (k >= 0) merge(to + k * a.strides[a.axis], updates[first + j * inner], how);
    }
  }
}
// A thread has one item of every run.
template <class T>
DEVICE void scatter_runs(const T* updates, const i64* indices, T* y, i64* error, i64 total, i32 how,
                         const TupleArgs& a) {
  const i64 tuples = divide(total, a.inner);
  for (i64 i = first_item(); i < a.inner; i += item_step())
    for (i64 t = 0; t < tuples; t++) {
      const i64 to = tuple_place(indices, t, a, error);
      if (to >= 0) merge(y + to + i, updates[t * a.inner + i], how);
    }
}
// how: 1 add, 2 multiply, 3 largest, 4 smallest.  grid: any; block: 256; no dynamic shared memory.
#define SCATTER(suffix, T)                                                                      \
  KERNEL(256, 1)                                                                                \
  scatter_elements_reduce_##suffix(const T* updates, const i64* indices, T* y, i64* error,      \
                                   i64 total, i32 how, ElementsArgs a) {                        \
    scatter_lines<T>(updates, indices, y, error, total, how, a);                                \
  }                                                                                             \
  KERNEL(256)                                                                                   \
  scatter_nd_reduce_##suffix(const T* updates, const i64* indices, T* y, i64* error, i64 total, \
                             i32 how, TupleArgs a) {                                            \
    scatter_runs<T>(updates, indices, y, error, total, how, a);                                 \
  }
SCATTER(f32, float)
SCATTER(f16, f16)
SCATTER(bf16, bf16)
SCATTER(i32, i32)
SCATTER(i64, i64)
