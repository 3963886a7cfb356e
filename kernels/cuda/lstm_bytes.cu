// DynamicQuantizeLSTM: all steps of one sequence by one block, whose state becomes bytes anew in
// each step.
#include "device.cuh"

static constexpr int LSTM_THREADS = 512, MOST_UNITS = 2048, GATES = 4;

// Sizes of one direction, `columns` = 4 * hidden; numbers: weights of R in words of four of a
// column, [directions, ceil(hidden / 4), hidden, gates]; totals: their sums, [directions, columns].
// Gates in the order i, o, f, c. Scales and zero points: one a direction, or (step 1) one a column.
struct ByteLstmArgs {
  i64 steps, batch, hidden;
  i32 directions, backwards, is_signed;  // backwards: the first direction; signs: of weights
  i32 w_step, r_step, zero_step;
};

// Weights [directions, hidden, columns] as words of signed numbers, and the sums of columns.
KERNEL(256)
lstm_pack_bytes(const u8* weights, u32* numbers, i32* totals, ByteLstmArgs a) {
  const i64 columns = a.hidden * GATES, words = ceil_div(a.hidden, 4);
  const u8 flip = a.is_signed ? 0 : 128;
  for (i64 i = first_item(); i < a.directions * columns; i += item_step()) {
    const i64 d = divide(i, columns), column = i - d * columns;
    const i64 gate = divide(column, a.hidden), unit = column - gate * a.hidden;
    const u8* from = weights + d * a.hidden * columns + column;
    i32 total = 0;
    for (i64 w = 0; w < words; w++) {
      u32 word = 0;
      UNROLL
      for (i64 e = 0; e < 4; e++) {
        if (w * 4 + e >= a.hidden) break;
        const u8 byte = from[(w * 4 + e) * columns] ^ flip;
        total += (s8)byte;
        word |= (u32)byte << (8 * e);
      }
      numbers[((d * words + w) * a.hidden + unit) * GATES + gate] = word;
    }
    totals[i] = total;
  }
}

// Four products of bytes without signs by bytes with them, added to c.
DEVICE i32 dot_bytes(u32 a, u32 b, i32 c) {
  asm("dp4a.u32.s32 %0, %1, %2, %0;" : "+r"(c) : "r"(a), "r"(b));
  return c;
}
DEVICE float sigmoid(float x) { return 1.f / (1.f + expf(-x)); }

// The state of one sequence, in shared memory.
struct LstmState {
  float h[MOST_UNITS], c[MOST_UNITS], room[32];
  u32 q[MOST_UNITS / 4];
  int4 parts[LSTM_THREADS];
};
struct Quantized {
  float scale, zero;
  i32 rest;  // the sum of the bytes less their zero points
};

// h as bytes; with zeros up to whole words.
DEVICE Quantized quantize_state(LstmState& s, i32 hidden) {
  float low = 0.f, high = 0.f;
  for (i32 i = threadIdx.x; i < hidden; i += LSTM_THREADS) {
    low = fminf(low, s.h[i]);
    high = fmaxf(high, s.h[i]);
  }
  low = reduce_block(low, Smallest(), 0.f, s.room);
  __syncthreads();  // the room is free again
  high = reduce_block(high, Largest(), 0.f, s.room);
  const float step = __fdiv_rn(high - low, 255.f);
  Quantized made{step == 0.f ? 1.f : step, 0.f, 0};
  made.zero = rintf(fmaxf(0.f, fminf(255.f, __fdiv_rn(-low, made.scale))));
  i32 sum = 0;
  for (i32 w = threadIdx.x; w < (hidden + 3) / 4; w += LSTM_THREADS) {
    u32 word = 0;
    UNROLL
    for (i32 e = 0; e < 4; e++) {
      if (w * 4 + e >= hidden) break;
      const float q = rintf(__fdiv_rn(s.h[w * 4 + e], made.scale)) + made.zero;
      const i32 byte = (i32)fmaxf(0.f, fminf(255.f, q));
      sum += byte;
      word |= (u32)byte << (8 * e);
    }
    s.q[w] = word;
  }
  __syncthreads();  // the room is free again
  // behind its barrier the bytes are there; the next one that uses the room stands behind others
  made.rest = reduce_block(sum, Add(), 0, reinterpret_cast<i32*>(s.room)) - hidden * (i32)made.zero;
  return made;
}

// What a run of one direction reads and writes.
struct LstmCall {
  const i32* projected;  // [directions, steps, batch, columns]: products of X in whole numbers
  const float *x_scale, *w_scale, *r_scale, *bias;  // bias: null or [directions, 2, columns]
  const u8* r_zero;                                 // null: zeros
  const u32* numbers;
  const i32 *totals, *lengths;  // lengths: null, or of each sequence
  const float *h, *c;           // first states [directions, batch, hidden], or null
  float *y, *y_h, *y_c;         // null where nobody wants them
};

// One gate of one unit from the product with the state.
DEVICE float gate_of(const LstmCall& p, const ByteLstmArgs& a, const Quantized& state, i32 product,
                     i64 d, i64 row, i64 column) {
  const i64 columns = a.hidden * GATES, at = d * columns + column;
  const auto place = [&](i32 step) { return step ? at : d; };
  i32 zero = a.is_signed ? 0 : -128;
  if (p.r_zero) {
    const u8 byte = p.r_zero[place(a.zero_step)];
    zero += a.is_signed ? (i32)(s8)byte : (i32)byte;
  }
  const float whole =
      (float)product - state.zero * (float)p.totals[at] - (float)state.rest * (float)zero;
  const float* bias = p.bias ? p.bias + d * 2 * columns + column : nullptr;
  const float added = bias ? bias[0] + bias[columns] : 0.f;
  const float x =
      (float)p.projected[row * columns + column] * (*p.x_scale * p.w_scale[place(a.w_step)]);
  return whole * (state.scale * p.r_scale[place(a.r_step)]) + (x + added);
}

// Sums of products of one slice of the depth, for the four gates of a unit.
DEVICE int4 slice_of(const LstmState& s, const uint4* numbers, i32 hidden, i32 unit, i32 first,
                     i32 stop) {
  int4 sum = make_int4(0, 0, 0, 0);
  for (i32 w = first; w < stop; w++) {
    const uint4 word = numbers[(i64)w * hidden + unit];
    const u32 q = s.q[w];
    sum.x = dot_bytes(q, word.x, sum.x);
    sum.y = dot_bytes(q, word.y, sum.y);
    sum.z = dot_bytes(q, word.z, sum.z);
    sum.w = dot_bytes(q, word.w, sum.w);
  }
  return sum;
}

// One step; `row` of what was projected, `y`: null or where its state goes.
DEVICE void lstm_step(LstmState& s, const LstmCall& p, const ByteLstmArgs& a, i64 d, i64 row,
                      float* y) {
  const i32 hidden = (i32)a.hidden, words = (hidden + 3) / 4;
  const i32 width = min((hidden + 31) / 32 * 32, LSTM_THREADS), slices = LSTM_THREADS / width;
  const i32 slice = threadIdx.x / width, lane = threadIdx.x % width;
  const i32 depth = (words + slices - 1) / slices;
  const uint4* numbers = reinterpret_cast<const uint4*>(p.numbers) + d * words * hidden;
  const Quantized state = quantize_state(s, hidden);
  for (i32 u0 = 0; u0 < hidden; u0 += width) {
    const i32 unit = u0 + lane;
    if (slice < slices && unit < hidden)
      s.parts[threadIdx.x] = slice_of(s, numbers, hidden, unit, min(slice * depth, words),
                                      min((slice + 1) * depth, words));
    __syncthreads();  // the parts are there
    if (slice == 0 && unit < hidden) {
      int4 sum = s.parts[lane];
      for (i32 i = 1; i < slices; i++) {
        const int4 part = s.parts[i * width + lane];
        sum.x += part.x;
        sum.y += part.y;
        sum.z += part.z;
        sum.w += part.w;
      }
      const float in = sigmoid(gate_of(p, a, state, sum.x, d, row, unit));
      const float out = sigmoid(gate_of(p, a, state, sum.y, d, row, a.hidden + unit));
      const float keep = sigmoid(gate_of(p, a, state, sum.z, d, row, 2 * a.hidden + unit));
      const float next = tanhf(gate_of(p, a, state, sum.w, d, row, 3 * a.hidden + unit));
      const float c = keep * s.c[unit] + in * next;
      s.c[unit] = c;
      s.h[unit] = out * tanhf(c);
      if (y) y[unit] = s.h[unit];
    }
    // no barrier: with more than one turn a thread reads its own part alone, and it is the thread
    // of this unit that reads the state first
  }
}

// hidden <= 2048.  grid: directions * batch; block: 512; no dynamic shared memory.
KERNEL(512, 1) lstm_bytes(LstmCall p, ByteLstmArgs a) {
  __shared__ LstmState s;
  const i64 d = blockIdx.x / (u32)a.batch, b = blockIdx.x % (u32)a.batch;
  const bool backwards = d == 1 || a.backwards;
  const i64 state = (d * a.batch + b) * a.hidden;
  i64 length = p.lengths ? p.lengths[b] : a.steps;
  length = length < 0 ? 0 : length > a.steps ? a.steps : length;
  for (i32 i = threadIdx.x; i < a.hidden; i += LSTM_THREADS) {
    s.h[i] = p.h ? p.h[state + i] : 0.f;
    s.c[i] = p.c ? p.c[state + i] : 0.f;
  }  // each thread reads its own units first
  for (i64 step = 0; step < a.steps; step++) {
    const bool past = step >= length;
    const i64 t = past || !backwards ? step : length - 1 - step;
    float* y = p.y ? p.y + ((t * a.directions + d) * a.batch + b) * a.hidden : nullptr;
    if (!past)
      lstm_step(s, p, a, d, (d * a.steps + t) * a.batch + b, y);
    else if (y)
      for (i32 i = threadIdx.x; i < a.hidden; i += LSTM_THREADS) y[i] = 0.f;
  }
  for (i32 i = threadIdx.x; i < a.hidden; i += LSTM_THREADS) {
    if (p.y_h) p.y_h[state + i] = s.h[i];
    if (p.y_c) p.y_c[state + i] = s.c[i];
  }
}
