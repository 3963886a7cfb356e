// One step of LSTM and GRU cells, after the products of their gates.
#include "device.cuh"

enum Activation { SIGMOID = 0, TANH = 1, RELU = 2 };
DEVICE float activate(float x, i32 how) {
  return how == SIGMOID      ? 1.f / (1.f + expf(-x))
         : how == TANH       ? tanhf(x)
         : x > 0.f || x != x ? x
                             : 0.f;
}
DEVICE float clipped(float x, float clip) { return clip > 0.f ? fminf(fmaxf(x, -clip), clip) : x; }

// Null or lengths of the sequences: those at or beyond their length keep state and put out zeros.
struct CellArgs {
  i64 batch, hidden, step;  // step: number of this step in its sequence
  i32 f, g, h;              // activations
  i32 flag;                 // LSTM: input and forget gates coupled; GRU: linear_before_reset
  float clip;               // 0: none
};

// gates [batch, 4 * hidden] in the order i, o, f, c with all biases added; peepholes null or [3 *
// hidden] (i, o, f); c_next and h_next may be c and h; y: null or this step of the output.
template <class T>
DEVICE void lstm_step(const T* gates, const T* peepholes, const i32* lengths, const T* c,
                      const T* h, T* c_next, T* h_next, T* y, const CellArgs& a) {
  for (i64 i = first_item(); i < a.batch * a.hidden; i += item_step()) {
    const i64 b = divide(i, a.hidden), j = i - b * a.hidden;
    if (lengths && a.step >= lengths[b]) {
      c_next[i] = c[i];
      h_next[i] = h[i];
      if (y) y[i] = narrow<T>(0.f);
      continue;
    }
    const T* row = gates + b * 4 * a.hidden + j;
    const T* p = peepholes ? peepholes + j : nullptr;
    const float before = widen(c[i]), pi = p ? widen(p[0]) : 0.f;
    const float po = p ? widen(p[a.hidden]) : 0.f, pf = p ? widen(p[2 * a.hidden]) : 0.f;
    const float in = activate(clipped(widen(row[0]) + pi * before, a.clip), a.f);
    const float keep =
        a.flag ? 1.f - in : activate(clipped(widen(row[2 * a.hidden]) + pf * before, a.clip), a.f);
    const float now = keep * before + in * activate(clipped(widen(row[3 * a.hidden]), a.clip), a.g);
    const float out = activate(clipped(widen(row[a.hidden]) + po * now, a.clip), a.f);
    const T result = narrow<T>(out * activate(now, a.h));
    c_next[i] = narrow<T>(now);
    h_next[i] = result;
    if (y) y[i] = result;
  }
}

// Gates in the order z, r, h.  x [batch, 3 * hidden]: products of the input with both biases of z
// and r and the input's bias of h; recurrent [batch, 3 * hidden]: products of the state, with the
// recurrence's bias of h. Without linear_before_reset the h gate needs r * state first: gru_reset
// makes it in `state`, and recurrent's third part is then its product.  h_next may be h.
template <class T>
DEVICE void gru_reset_state(const T* x, const T* recurrent, const T* h, T* state,
                            const CellArgs& a) {
  for (i64 i = first_item(); i < a.batch * a.hidden; i += item_step()) {
    const i64 b = divide(i, a.hidden), at = b * 3 * a.hidden + a.hidden + (i - b * a.hidden);
    const float r = activate(clipped(widen(x[at]) + widen(recurrent[at]), a.clip), a.f);
    state[i] = narrow<T>(r * widen(h[i]));
  }
}
template <class T>
DEVICE void gru_step(const T* x, const T* recurrent, const i32* lengths, const T* h, T* h_next,
                     T* y, const CellArgs& a) {
  for (i64 i = first_item(); i < a.batch * a.hidden; i += item_step()) {
    const i64 b = divide(i, a.hidden), z_at = b * 3 * a.hidden + (i - b * a.hidden);
    const i64 r_at = z_at + a.hidden, h_at = r_at + a.hidden;
    if (lengths && a.step >= lengths[b]) {
      h_next[i] = h[i];
      if (y) y[i] = narrow<T>(0.f);
      continue;
    }
    const float z = activate(clipped(widen(x[z_at]) + widen(recurrent[z_at]), a.clip), a.f);
    float from_state = widen(recurrent[h_at]);
    if (a.flag)
      from_state *= activate(clipped(widen(x[r_at]) + widen(recurrent[r_at]), a.clip), a.f);
    const float made = activate(clipped(widen(x[h_at]) + from_state, a.clip), a.g);
    const T result = narrow<T>((1.f - z) * made + z * widen(h[i]));
    h_next[i] = result;
    if (y) y[i] = result;
  }
}

// grid: any; block: 256; no dynamic shared memory.  Activations: 0 Sigmoid, 1 Tanh, 2 Relu.
#define CELLS(suffix, T)                                                                        \
  KERNEL(256)                                                                                   \
  lstm_##suffix(const T* gates, const T* peepholes, const i32* lengths, const T* c, const T* h, \
                T* c_next, T* h_next, T* y, CellArgs a) {                                       \
    lstm_step<T>(gates, peepholes, lengths, c, h, c_next, h_next, y, a);                        \
  }                                                                                             \
  KERNEL(256)                                                                                   \
  gru_reset_##suffix(const T* x, const T* recurrent, const T* h, T* state, CellArgs a) {        \
    gru_reset_state<T>(x, recurrent, h, state, a);                                              \
  }                                                                                             \
  KERNEL(256)                                                                                   \
  gru_##suffix(const T* x, const T* recurrent, const i32* lengths, const T* h, T* h_next, T* y, \
               CellArgs a) {                                                                    \
    gru_step<T>(x, recurrent, lengths, h, h_next, y, a);                                        \
  }
CELLS(f32, float)
CELLS(f16, f16)
CELLS(bf16, bf16)
