// Gather and scatter by indices, negative ones from the end; an index out of range is reported, not
// followed.
#include "device.cuh"

static constexpr int AXES = 8;
typedef u8 b8;
typedef u16 b16;
typedef u32 b32;
typedef u64 b64;
typedef uint4 b128;

// Where an index lies among n; -1: nowhere.
template <class I>
DEVICE i64 found(I index, i64 n) {
  const i64 j = index < 0 ? index + n : index;
  return j >= 0 && j < n ? j : -1;
}
// Says of a step that an index is out of range.
struct Report {
  u64* status;
  u64 failure;
};
template <class I>
DEVICE i64 checked(I index, i64 n, const Report& report) {
  const i64 j = found(index, n);
  if (j < 0) atomicMax(report.status, report.failure);
  return j;
}

// y[o, j, i] = x[o, indices[j], i] for [outer, n, inner] and m indices.
template <class T, class I>
DEVICE void gather_items(const T* x, const I* indices, T* y, const Report& report, i64 outer, i64 n,
                         i64 m, i64 inner) {
  for (i64 at = first_item(); at < outer * m * inner; at += item_step()) {
    const i64 line = divide(at, inner), o = divide(line, m);
    const i64 k = checked(indices[line - o * m], n, report);
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
DEVICE void gather_each(const T* x, const I* indices, T* y, i64 total, const Report& report,
                        const ElementsArgs& a) {
  for (i64 at = first_item(); at < total; at += item_step()) {
    const i64 k = checked(indices[at], a.n, report);
    if (k >= 0) y[at] = x[place(at, a) + k * a.strides[a.axis]];
  }
}
// Of equal indices the last wins: `last` (null: none are equal) has, for each place, 1 + the number
// of the last update that it gets.
template <class I>
DEVICE void mark_each(const I* indices, u32* last, i64 total, const Report& report,
                      const ElementsArgs& a) {
  for (i64 at = first_item(); at < total; at += item_step()) {
    const i64 k = checked(indices[at], a.n, report);
    if (k >= 0) atomicMax(last + place(at, a) + k * a.strides[a.axis], (u32)at + 1);
  }
}
template <class T, class I>
DEVICE void scatter_each(const T* updates, const I* indices, const u32* last, T* y, i64 total,
                         const ElementsArgs& a) {
  for (i64 at = first_item(); at < total; at += item_step()) {
    const i64 k = found(indices[at], a.n);
    if (k < 0) continue;
    const i64 to = place(at, a) + k * a.strides[a.axis];
    if (last[to] == (u32)at + 1) y[to] = updates[at];
  }
}

// Of GatherND and ScatterND: tuples of `depth` indices into axes of `size`, each for a run of
// `inner` items; tuples per_batch of a batch, which has `batch_items` items.
struct TupleArgs {
  i64 size[AXES];
  i64 depth, inner, per_batch, batch_items;
};
// The number of the run that a tuple addresses; -1: none.
template <class I>
DEVICE i64 tuple_run(const I* indices, i64 tuple, const TupleArgs& a) {
  i64 to = 0;
  for (i64 d = 0; d < a.depth; d++) {
    const i64 k = found(indices[tuple * a.depth + d], a.size[d]);
    if (k < 0) return -1;
    to = to * a.size[d] + k;
  }
  return to;
}
// Where its run begins in the data.
template <class I>
DEVICE i64 tuple_place(const I* indices, i64 tuple, const TupleArgs& a, const Report& report) {
  const i64 run = tuple_run(indices, tuple, a);
  if (run < 0) {
    atomicMax(report.status, report.failure);
    return -1;
  }
  return divide(tuple, a.per_batch) * a.batch_items + run * a.inner;
}
template <class T, class I>
DEVICE void gather_tuples(const T* x, const I* indices, T* y, i64 total, const Report& report,
                          const TupleArgs& a) {
  for (i64 at = first_item(); at < total; at += item_step()) {
    const i64 tuple = divide(at, a.inner), from = tuple_place(indices, tuple, a, report);
    if (from >= 0) y[at] = x[from + at - tuple * a.inner];
  }
}
// `last`: of each run of the data; tuples of a scatter have no batches.
template <class T, class I>
DEVICE void scatter_tuples(const T* updates, const I* indices, const u32* last, T* y, i64 total,
                           const Report& report, const TupleArgs& a) {
  for (i64 at = first_item(); at < total; at += item_step()) {
    const i64 tuple = divide(at, a.inner), to = tuple_place(indices, tuple, a, report);
    if (to < 0) continue;
    if (last && last[tuple_run(indices, tuple, a)] != (u32)tuple + 1) continue;
    y[to + at - tuple * a.inner] = updates[at];
  }
}

// total: items of y (gather) or of the updates (scatter), tuples (mark_nd); y of a scatter holds
// the data already; `last` is all zeros before mark_*.  grid: any; block: 256; no dynamic shared
// memory.
#define GATHER(T, suffix, I)                                                                     \
  KERNEL(256)                                                                                    \
  gather_##T##_##suffix(const T* x, const I* indices, T* y, u64* status, u64 failure, i64 outer, \
                        i64 n, i64 m, i64 inner) {                                               \
    gather_items<T, I>(x, indices, y, {status, failure}, outer, n, m, inner);                    \
  }                                                                                              \
  KERNEL(256)                                                                                    \
  gather_elements_##T##_##suffix(const T* x, const I* indices, T* y, u64* status, u64 failure,   \
                                 i64 total, ElementsArgs a) {                                    \
    gather_each<T, I>(x, indices, y, total, {status, failure}, a);                               \
  }                                                                                              \
  KERNEL(256)                                                                                    \
  scatter_elements_##T##_##suffix(const T* updates, const I* indices, const u32* last, T* y,     \
                                  i64 total, ElementsArgs a) {                                   \
    scatter_each<T, I>(updates, indices, last, y, total, a);                                     \
  }
#define GATHER_ALL(T)                                                                      \
  GATHER(T, i32, i32)                                                                      \
  GATHER(T, i64, i64)                                                                      \
  KERNEL(256)                                                                              \
  gather_nd_##T(const T* x, const i64* indices, T* y, u64* status, u64 failure, i64 total, \
                TupleArgs a) {                                                             \
    gather_tuples<T, i64>(x, indices, y, total, {status, failure}, a);                     \
  }                                                                                        \
  KERNEL(256)                                                                              \
  scatter_nd_##T(const T* updates, const i64* indices, const u32* last, T* y, u64* status, \
                 u64 failure, i64 total, TupleArgs a) {                                    \
    scatter_tuples<T, i64>(updates, indices, last, y, total, {status, failure}, a);        \
  }
GATHER_ALL(b8)
GATHER_ALL(b16)
GATHER_ALL(b32)
GATHER_ALL(b64)
GATHER_ALL(b128)
#define MARK(suffix, I)                                                                    \
  KERNEL(256)                                                                              \
  mark_elements_##suffix(const I* indices, u32* last, u64* status, u64 failure, i64 total, \
                         ElementsArgs a) {                                                 \
    mark_each<I>(indices, last, total, {status, failure}, a);                              \
  }
MARK(i32, i32)
MARK(i64, i64)
KERNEL(256) mark_nd(const i64* indices, u32* last, i64 total, TupleArgs a) {
  for (i64 tuple = first_item(); tuple < total; tuple += item_step()) {
    const i64 run = tuple_run(indices, tuple, a);
    if (run >= 0) atomicMax(last + run, (u32)tuple + 1);
  }
}

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
DEVICE void scatter_lines(const T* updates, const i64* indices, T* y, i64 total, i32 how,
                          const Report& report, const ElementsArgs& a) {
  i64 inner = 1;
  for (i64 axis = a.axis + 1; axis < a.rank; axis++) inner *= a.shape[axis];
  const i64 m = a.shape[a.axis], lines = divide(total, m);
  for (i64 line = first_item(); line < lines; line += item_step()) {
    const i64 o = divide(line, inner), first = o * m * inner + (line - o * inner);
    T* to = y + place(first, a);
    for (i64 j = 0; j < m; j++) {
      const i64 k = checked(indices[first + j * inner], a.n, report);
      if (k >= 0) merge(to + k * a.strides[a.axis], updates[first + j * inner], how);
    }
  }
}
// A thread has one item of every run.
template <class T>
DEVICE void scatter_runs(const T* updates, const i64* indices, T* y, i64 total, i32 how,
                         const Report& report, const TupleArgs& a) {
  const i64 tuples = divide(total, a.inner);
  for (i64 i = first_item(); i < a.inner; i += item_step())
    for (i64 t = 0; t < tuples; t++) {
      const i64 to = tuple_place(indices, t, a, report);
      if (to >= 0) merge(y + to + i, updates[t * a.inner + i], how);
    }
}
// how: 1 add, 2 multiply, 3 largest, 4 smallest.  grid: any; block: 256; no dynamic shared memory.
#define SCATTER(suffix, T)                                                                         \
  KERNEL(256, 1)                                                                                   \
  scatter_elements_reduce_##suffix(const T* updates, const i64* indices, T* y, u64* status,        \
                                   u64 failure, i64 total, i32 how, ElementsArgs a) {              \
    scatter_lines<T>(updates, indices, y, total, how, {status, failure}, a);                       \
  }                                                                                                \
  KERNEL(256)                                                                                      \
  scatter_nd_reduce_##suffix(const T* updates, const i64* indices, T* y, u64* status, u64 failure, \
                             i64 total, i32 how, TupleArgs a) {                                    \
    scatter_runs<T>(updates, indices, y, total, how, {status, failure}, a);                        \
  }
SCATTER(f32, float)
SCATTER(f64, double)
SCATTER(f16, f16)
SCATTER(bf16, bf16)
SCATTER(i32, i32)
SCATTER(i64, i64)
