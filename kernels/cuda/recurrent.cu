// One step of LSTM, GRU and RNN cells, after the products of their gates.
#include "device.cuh"

static constexpr int DIRECTIONS = 2, FUNCTIONS = 3;
// Numbered as in kernels/cpu/recurrent_cells.py.
enum Activation {
  AFFINE,
  RELU,
  LEAKY_RELU,
  THRESHOLDED_RELU,
  TANH,
  SCALED_TANH,
  SIGMOID,
  HARD_SIGMOID,
  ELU,
  SOFTSIGN,
  SOFTPLUS
};

struct CellArgs {
  i64 batch, hidden, steps, step;    // step: number of this step in its sequence
  i64 row_time, row_batch;           // rows of x between times and sequences
  i64 y_time, y_batch, y_direction;  // strides of y
  i32 directions, backwards;         // whether the first direction takes the last time first
  i32 flag;                          // LSTM: input and forget gates coupled; GRU:
                                     // linear_before_reset
  float clip;                        // below 0: none
  i32 functions[DIRECTIONS][FUNCTIONS];
  float alpha[DIRECTIONS][FUNCTIONS], beta[DIRECTIONS][FUNCTIONS];
};

template <class T>
DEVICE T activate(T x, i64 direction, int which, const CellArgs& a) {
  const T alpha = direction ? a.alpha[1][which] : a.alpha[0][which];
  const T beta = direction ? a.beta[1][which] : a.beta[0][which];
  switch (direction ? a.functions[1][which] : a.functions[0][which]) {
    case AFFINE:
      return alpha * x + beta;
    case RELU:
      return x < T(0) ? T(0) : x;
    case LEAKY_RELU:
      return x < T(0) ? alpha * x : x;
    case THRESHOLDED_RELU:
      return x > alpha ? x : T(0);
    case TANH:
      return tanh(x);
    case SCALED_TANH:
      return alpha * tanh(beta * x);
    case SIGMOID:
      return T(1) / (T(1) + exp(-x));
    case HARD_SIGMOID:
      return fmax(T(0), fmin(T(1), alpha * x + beta));
    case ELU:
      return x < T(0) ? alpha * (exp(x) - T(1)) : x;
    case SOFTSIGN:
      return x / (T(1) + fabs(x));
    default:
      return fmax(x, T(0)) + log(T(1) + exp(-fabs(x)));
  }
}
template <class T>
DEVICE T clipped(T x, const CellArgs& a) {
  return a.clip < 0.f ? x : fmin(fmax(x, -(T)a.clip), (T)a.clip);
}

// One hidden unit of one sequence in one direction.
struct Unit {
  i64 d, b, j, at;  // at: in states [directions, batch, hidden]
  i64 time;         // of this step
  bool alive;       // the sequence has this step
};
// lengths: null, or of the sequences; one outside of the steps gives `failure` to `status`.
DEVICE Unit unit_of(i64 i, const i32* lengths, u64* status, u64 failure, const CellArgs& a) {
  const i64 line = divide(i, a.hidden), d = line >= a.batch ? 1 : 0, b = line - d * a.batch;
  i64 length = lengths ? lengths[b] : a.steps;
  if (length < 0 || length > a.steps) {
    atomicMax(status, failure);
    length = length < 0 ? 0 : a.steps;
  }
  const bool alive = a.step < length, back = d == 1 || a.backwards;
  return {d, b, i - line * a.hidden, i, alive && back ? length - 1 - a.step : a.step, alive};
}
// Gate g before its activation: products of the input and of the state, and their biases. x
// [directions, steps * batch, gates * hidden], recurrent [directions, batch, gates * hidden], bias
// null or [directions, 2, gates * hidden].
template <class T, int GATES>
struct Gates {
  const T *x, *recurrent, *bias;
  i64 hidden;
  __device__ __forceinline__ Gates(const T* x_, const T* recurrent_, const T* bias_, const Unit& u,
                                   const CellArgs& a) {
    const i64 row = u.time * a.row_time + u.b * a.row_batch, width = GATES * a.hidden;
    x = x_ + (u.d * a.steps * a.batch + row) * width + u.j;
    recurrent = recurrent_ + (u.d * a.batch + u.b) * width + u.j;
    bias = bias_ ? bias_ + u.d * 2 * width + u.j : nullptr;
    hidden = a.hidden;
  }
  __device__ __forceinline__ T input(int g) const {
    return x[g * hidden] + (bias ? bias[g * hidden] : T(0));
  }
  __device__ __forceinline__ T state(int g) const {
    return recurrent[g * hidden] + (bias ? bias[(GATES + g) * hidden] : T(0));
  }
  __device__ __forceinline__ T operator()(int g) const { return input(g) + state(g); }
};
template <class T>
DEVICE void put_result(T* y, const Unit& u, T value, const CellArgs& a) {
  if (y) y[u.time * a.y_time + u.b * a.y_batch + u.d * a.y_direction + u.j] = value;
}

// Gates i, o, f, c; peepholes null or [directions, 3 * hidden] (i, o, f). c and h are changed.
template <class T>
DEVICE void lstm_step(const T* x, const T* recurrent, const T* bias, const T* peepholes,
                      const i32* lengths, T* c, T* h, T* y, u64* status, u64 failure,
                      const CellArgs& a) {
  for (i64 i = first_item(); i < a.directions * a.batch * a.hidden; i += item_step()) {
    const Unit u = unit_of(i, lengths, status, failure, a);
    if (!u.alive) {
      put_result(y, u, T(0), a);
      continue;
    }
    const Gates<T, 4> gate(x, recurrent, bias, u, a);
    const T* p = peepholes ? peepholes + u.d * 3 * a.hidden + u.j : nullptr;
    const T before = c[i], pi = p ? p[0] : T(0), po = p ? p[a.hidden] : T(0);
    const T pf = p ? p[2 * a.hidden] : T(0);
    const T in = activate(clipped(gate(0) + pi * before, a), u.d, 0, a);
    const T keep = a.flag ? T(1) - in : activate(clipped(gate(2) + pf * before, a), u.d, 0, a);
    const T now = keep * before + in * activate(clipped(gate(3), a), u.d, 1, a);
    const T out = activate(clipped(gate(1) + po * now, a), u.d, 0, a);
    c[i] = now;
    h[i] = out * activate(now, u.d, 2, a);
    put_result(y, u, h[i], a);
  }
}

// Gates z, r, h. Without linear_before_reset the h gate needs the product of r * state: gru_reset
// makes that in `scaled`, and recurrent's third part is then its product. h is changed.
template <class T>
DEVICE void gru_reset_state(const T* x, const T* recurrent, const T* bias, const i32* lengths,
                            const T* h, T* scaled, u64* status, u64 failure, const CellArgs& a) {
  for (i64 i = first_item(); i < a.directions * a.batch * a.hidden; i += item_step()) {
    const Unit u = unit_of(i, lengths, status, failure, a);
    const Gates<T, 3> gate(x, recurrent, bias, u, a);
    scaled[i] = u.alive ? activate(clipped(gate(1), a), u.d, 0, a) * h[i] : T(0);
  }
}
template <class T>
DEVICE void gru_step(const T* x, const T* recurrent, const T* bias, const i32* lengths, T* h, T* y,
                     u64* status, u64 failure, const CellArgs& a) {
  for (i64 i = first_item(); i < a.directions * a.batch * a.hidden; i += item_step()) {
    const Unit u = unit_of(i, lengths, status, failure, a);
    if (!u.alive) {
      put_result(y, u, T(0), a);
      continue;
    }
    const Gates<T, 3> gate(x, recurrent, bias, u, a);
    const T z = activate(clipped(gate(0), a), u.d, 0, a);
    T from_state = gate.state(2);
    if (a.flag) from_state *= activate(clipped(gate(1), a), u.d, 0, a);
    const T made = activate(clipped(gate.input(2) + from_state, a), u.d, 1, a);
    h[i] = (T(1) - z) * made + z * h[i];
    put_result(y, u, h[i], a);
  }
}

template <class T>
DEVICE void rnn_step(const T* x, const T* recurrent, const T* bias, const i32* lengths, T* h, T* y,
                     u64* status, u64 failure, const CellArgs& a) {
  for (i64 i = first_item(); i < a.directions * a.batch * a.hidden; i += item_step()) {
    const Unit u = unit_of(i, lengths, status, failure, a);
    if (u.alive) {
      const Gates<T, 1> gate(x, recurrent, bias, u, a);
      h[i] = activate(clipped(gate(0), a), u.d, 0, a);
    }
    put_result(y, u, u.alive ? h[i] : T(0), a);
  }
}

// y: null, or the output: steps at or beyond the length of their sequence give zeros and keep
// states.  grid: any (directions * batch * hidden); block: 256; no dynamic shared memory.
#define CELLS(suffix, T)                                                                      \
  KERNEL(256)                                                                                 \
  lstm_##suffix(const T* x, const T* recurrent, const T* bias, const T* peepholes,            \
                const i32* lengths, T* c, T* h, T* y, u64* status, u64 failure, CellArgs a) { \
    lstm_step<T>(x, recurrent, bias, peepholes, lengths, c, h, y, status, failure, a);        \
  }                                                                                           \
  KERNEL(256)                                                                                 \
  gru_reset_##suffix(const T* x, const T* recurrent, const T* bias, const i32* lengths,       \
                     const T* h, T* scaled, u64* status, u64 failure, CellArgs a) {           \
    gru_reset_state<T>(x, recurrent, bias, lengths, h, scaled, status, failure, a);           \
  }                                                                                           \
  KERNEL(256)                                                                                 \
  gru_##suffix(const T* x, const T* recurrent, const T* bias, const i32* lengths, T* h, T* y, \
               u64* status, u64 failure, CellArgs a) {                                        \
    gru_step<T>(x, recurrent, bias, lengths, h, y, status, failure, a);                       \
  }                                                                                           \
  KERNEL(256)                                                                                 \
  rnn_##suffix(const T* x, const T* recurrent, const T* bias, const i32* lengths, T* h, T* y, \
               u64* status, u64 failure, CellArgs a) {                                        \
    rnn_step<T>(x, recurrent, bias, lengths, h, y, status, failure, a);                       \
  }
CELLS(f32, float)
CELLS(f64, double)
