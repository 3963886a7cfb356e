// Products with weights of few bits, widened by standard nodes: once, where they are constants.
#include <array>
#include <cmath>

#include "passes/packed_weight.h"
#include "passes/weight_matmul.h"

namespace tiercel {

namespace {

DType dtype_of_bits(const Composer& e, int64_t bits) {
  if (bits != 2 && bits != 4 && bits != 8) e.fail(concat("bits is ", bits, "; expected 2, 4 or 8"));
  return bits == 2 ? DType::UInt2 : bits == 4 ? DType::UInt4 : DType::UInt8;
}

// The parts of each byte by shifts and masks, low ones first.
ValueId split_bytes(Composer& e, ValueId bytes, int64_t bits) {
  const auto byte = [&](int64_t value) {
    const auto number = static_cast<uint8_t>(value);
    return e.constant(Tensor::of<uint8_t>(DType::UInt8, {}, std::span(&number, 1)));
  };
  std::vector<ValueId> parts;
  for (int64_t at = 0; at < 8; at += bits) {
    const ValueId low =
        e.op("BitShift", {bytes, byte(at)}, with("direction", std::string("RIGHT")));
    const ValueId part = e.op("BitwiseAnd", {low, byte((1 << bits) - 1)});
    parts.push_back(e.unsqueeze(part, {-1}));
  }
  const ValueId all = e.concat_of(std::move(parts), -1);
  std::vector<int64_t> dims(static_cast<size_t>(e.rank(bytes, "the packed input") - 1), 0);
  dims.push_back(-1);
  return e.reshape(all, dims);
}

}  // namespace

ValueId numbers_of_bytes(Composer& e, ValueId bytes, int64_t bits, DType dtype) {
  const DType packed = dtype_of_bits(e, bits);
  if (bits == 8) return e.cast(bytes, dtype);
  const Tensor* known = e.graph().constant(bytes);
  if (!known) return e.cast(split_bytes(e, bytes, bits), dtype);
  Dims dims = known->dims();
  if (dims.empty()) e.fail("a packed input has rank 0; expected 1 or more");
  dims.back() *= 8 / bits;
  return e.cast(e.constant(Tensor(packed, std::move(dims), known->buffer(), known->raw())), dtype);
}

namespace {

// Zero points as [n, blocks].
ValueId zeros_of(Composer& e, const Blocked& w, int64_t blocks, DType dtype) {
  if (w.zeros == kNone) return e.number(dtype, std::ldexp(1.0, static_cast<int>(w.bits) - 1));
  if (e.dtype(w.zeros) != DType::UInt8) {
    return e.cast(e.reshape(w.zeros, {w.n, blocks}), dtype);
  }
  const int64_t bytes = (blocks * w.bits + 7) / 8;  // rows end on whole bytes
  if (const Tensor* known = e.graph().constant(w.zeros); known && known->bytes() != w.n * bytes) {
    e.fail(concat("zero_points has ", known->bytes(), " bytes; expected ", w.n * bytes));
  }
  const Tensor* known = e.graph().constant(w.zeros);
  const ValueId rows =
      known ? e.constant(known->reshaped({w.n, bytes})) : e.reshape(w.zeros, {w.n, bytes});
  return e.slice(numbers_of_bytes(e, rows, w.bits, dtype), 1, 0, blocks);
}

}  // namespace

ValueId widened(Composer& e, const Blocked& w) {
  if (w.k < 1 || w.n < 1 || w.block < 1) e.fail("K, N and block_size are not positive");
  static_cast<void>(dtype_of_bits(e, w.bits));
  const int64_t blocks = (w.k + w.block - 1) / w.block, width = w.block * w.bits / 8;
  const Tensor* known = e.graph().constant(w.bytes);
  if (known && known->bytes() != w.n * blocks * width) {
    e.fail(concat("the packed weights have ", known->bytes(), " bytes; expected ",
                  w.n * blocks * width));
  }
  const ValueId rows = known ? e.constant(known->reshaped({w.n, blocks, width}))
                             : e.reshape(w.bytes, {w.n, blocks, width});
  const DType dtype = e.dtype(w.scales);
  const ValueId numbers = numbers_of_bytes(e, rows, w.bits, dtype);
  const ValueId scales = e.reshape(w.scales, {w.n, blocks});
  const ValueId zeros = zeros_of(e, w, blocks, dtype);
  const bool uniform = w.zeros == kNone;
  if (w.groups != kNone) {
    const ValueId flat = e.slice(e.reshape(numbers, {w.n, blocks * w.block}), 1, 0, w.k);
    const ValueId zero = uniform ? zeros : e.gather(zeros, w.groups, 1);
    return e.mul(e.sub(flat, zero), e.gather(scales, w.groups, 1));
  }
  const ValueId zero = uniform ? zeros : e.unsqueeze(zeros, {2});
  const ValueId blocked = e.mul(e.sub(numbers, zero), e.unsqueeze(scales, {2}));
  const ValueId flat = e.reshape(blocked, {w.n, blocks * w.block});
  return blocks * w.block == w.k ? flat : e.slice(flat, 1, 0, w.k);
}

namespace {

bool is_empty(const Composer& e, ValueId x) {
  const Shape* shape = e.shape(x);
  if (!shape) return false;
  for (const Dim& dim : *shape) {
    if (dim.known() && dim.value() == 0) return true;
  }
  return false;
}

// x times constant rows as they are packed; kNone where they must be widened first.
ValueId product_of_constants(Composer& e, ValueId x, const Blocked& w) {
  const Tensor* bytes = e.graph().constant(w.bytes);
  const Tensor* scales = e.graph().constant(w.scales);
  const Tensor* zeros = w.zeros == kNone ? nullptr : e.graph().constant(w.zeros);
  if (!bytes || !scales || w.groups != kNone || (w.zeros != kNone && !zeros)) return kNone;
  if (w.n < 1 || w.k < 1 || w.block < 1 || (w.bits != 4 && w.bits != 8)) return kNone;
  const int64_t blocks = (w.k + w.block - 1) / w.block;
  if (bytes->bytes() != w.n * blocks * w.block * w.bits / 8) return kNone;
  if (scales->size() != w.n * blocks || e.rank(x, "A") < 1) return kNone;
  WeightMatrix matrix{.numbers = *bytes, .scales = *scales, .axis = 1, .bits = w.bits};
  matrix.block = w.block, matrix.n = w.n, matrix.k = w.k, matrix.accuracy_level = w.accuracy_level;
  matrix.zero_point = int64_t{1} << (w.bits - 1);
  if (zeros) {
    if (zeros->dtype() != DType::UInt8) return kNone;
    if (zeros->bytes() != w.n * ((blocks * w.bits + 7) / 8)) return kNone;
    matrix.zeros = *zeros;
  }
  auto operands = weight_operands(e.graph(), matrix, e.node().name);
  if (!operands) return kNone;
  operands->inputs.insert(operands->inputs.begin(), x);
  return e.op("WeightMatMul", std::move(operands->inputs), std::move(operands->attributes),
              "tiercel");
}

// x [..., k] times the widened rows, plus the bias.
ValueId packed_product(Composer& e, ValueId x, const Blocked& w, ValueId bias) {
  if (const ValueId y = product_of_constants(e, x, w); y != kNone) return e.sum(y, bias);
  if (!is_empty(e, w.bytes)) {
    return e.sum(e.mat_mul(x, e.transpose(widened(e, w), {1, 0})), bias);
  }
  const ValueId front = e.op("Shape", {x}, with("end", int64_t{-1}));  // the weights are left out
  return e.sum(e.filled(e.concat_of({front, e.ints({w.n})}, 0), e.dtype(x), 0), bias);
}

bool mat_mul_n_bits(Graph& graph, NodeId id) {
  Composer e(graph, id);
  e.expect_integer("weight_prepacked", {0});
  const Blocked w{.bytes = e.input(1),
                  .scales = e.input(2),
                  .zeros = e.input(3),
                  .groups = e.input(4),
                  .n = e.integer("N"),
                  .k = e.integer("K"),
                  .bits = e.integer("bits", 4),
                  .block = e.integer("block_size"),
                  .accuracy_level = e.integer("accuracy_level")};
  return e.finish({packed_product(e, e.input(0), w, e.input(5))});
}

// One of the projections of a fused node: bytes, scales and bias from input `at` on.
ValueId projection(Composer& e, ValueId x, size_t at, int64_t n) {
  const Blocked w{.bytes = e.input(at),
                  .scales = e.input(at + 1),
                  .n = n,
                  .k = e.integer("K"),
                  .bits = e.integer("bits", 4),
                  .block = e.integer("block_size"),
                  .accuracy_level = e.integer("accuracy_level")};
  return packed_product(e, x, w, e.input(at + 2));
}

// Input and skip added, and normalised where there is a scale.
ValueId prepared(Composer& e, ValueId& sum) {
  sum = e.sum(e.input(0), e.input(1));
  if (!e.has(2)) return sum;
  Attributes attributes = with("axis", int64_t{-1});
  attributes.set("epsilon", e.real("epsilon", 1e-5));
  return e.op("RMSNormalization", {sum, e.input(2)}, std::move(attributes));
}

bool mat_mul_n_bits_mlp(Graph& graph, NodeId id) {
  Composer e(graph, id);
  e.expect_text("activation", {"silu"});
  ValueId sum = kNone;
  const ValueId x = prepared(e, sum);
  const ValueId gate = projection(e, x, 3, e.integer("N"));
  return e.finish({e.mul(e.silu(gate), projection(e, x, 6, e.integer("N"))), sum});
}

bool mat_mul_n_bits_qkv(Graph& graph, NodeId id) {
  Composer e(graph, id);
  ValueId sum = kNone;
  const ValueId x = prepared(e, sum);
  return e.finish({projection(e, x, 3, e.integer("Nq")), projection(e, x, 6, e.integer("Nkv")),
                   projection(e, x, 9, e.integer("Nkv")), sum});
}

// The projection, plus an adapter of two: down to its rank and up again.
bool mat_mul_n_bits_q_lora(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const int64_t n = e.integer("N"), k = e.integer("K"), bits = e.integer("lora_bits", 8);
  const int64_t block = e.integer("lora_block_size", 32);
  const int64_t inner = e.known(e.input(4), 0, "lora_A_scales");
  const Blocked base{.bytes = e.input(1),
                     .scales = e.input(2),
                     .n = n,
                     .k = k,
                     .bits = e.integer("bits", 4),
                     .block = e.integer("block_size", 32)};
  const ValueId y = packed_product(e, e.input(0), base, kNone);
  const Blocked down{
      .bytes = e.input(3), .scales = e.input(4), .n = inner, .k = k, .bits = bits, .block = block};
  const Blocked up{
      .bytes = e.input(5), .scales = e.input(6), .n = n, .k = inner, .bits = bits, .block = block};
  const ValueId low = packed_product(e, e.input(0), down, kNone);
  return e.finish({e.add(y, packed_product(e, low, up, kNone))});
}

// What the 16 codes of bitsandbytes stand for: FP4, and the quantiles NF4.
constexpr double kCodes[2][16] = {
    {0, 5.208333333e-03, 0.66666667, 1, 0.33333333, 0.5, 0.16666667, 0.25, -0.0, -5.208333333e-03,
     -0.66666667, -1, -0.33333333, -0.5, -0.16666667, -0.25},
    {-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
     -0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725,
     0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
     0.7229568362236023, 1}};

// Codes lie high half first; scales run over the flattened matrix.
bool mat_mul_bnb4(Graph& graph, NodeId id) {
  Composer e(graph, id);
  e.expect_integer("quant_type", {0, 1});
  const int64_t k = e.integer("K"), n = e.integer("N"), block = e.integer("block_size");
  if (k < 1 || n < 1 || block < 1) e.fail("K, N and block_size are not positive");
  const int64_t blocks = (n * k + block - 1) / block;
  const DType dtype = e.dtype(e.input(2));
  const ValueId pairs = e.reshape(split_bytes(e, e.flat(e.input(1)), 4), {-1, 2});
  const ValueId codes = e.flat(e.gather(pairs, e.ints({1, 0}), 1));
  const ValueId table =
      e.constant(make_tensor(dtype, {16}, kCodes[e.integer("quant_type") == 1 ? 1 : 0]));
  const ValueId real = e.slice(e.gather(table, e.cast(codes, DType::Int32), 0), 0, 0, n * k);
  const ValueId whole = e.op("Pad", {real, e.ints({0, blocks * block - n * k})});
  const ValueId scales = e.reshape(e.input(2), {blocks, 1});
  const ValueId flat = e.flat(e.mul(e.reshape(whole, {blocks, block}), scales));
  const ValueId weights = e.reshape(e.slice(flat, 0, 0, n * k), {n, k});
  const bool transposed = e.integer("transB", 1) != 0;
  return e.finish({e.mat_mul(e.input(0), transposed ? e.transpose(weights, {1, 0}) : weights)});
}

// What one gather is about: data and scales of one rank, the scales with blocks along one axis.
struct GatheredBlocks {
  int64_t rank, axis, across, bits, block;
  bool bytes;  // uint8 holds numbers of `bits` along the last axis
};

GatheredBlocks blocks_of(const Composer& e) {
  GatheredBlocks g{.rank = e.rank(e.input(0), "data"),
                   .axis = e.integer("gather_axis"),
                   .across = e.integer("quantize_axis", 1),
                   .bits = e.integer("bits", 4),
                   .block = e.integer("block_size", 128),
                   .bytes = e.dtype(e.input(0)) == DType::UInt8};
  if (g.axis < 0) g.axis += g.rank;
  if (g.across < 0) g.across += g.rank;
  const std::string axes = concat("an axis of data, which has rank ", g.rank);
  if (g.axis < 0 || g.axis >= g.rank) e.refuse("gather_axis", axes);
  if (g.across < 0 || g.across >= g.rank) e.refuse("quantize_axis", axes);
  if (g.bytes && g.bits < 8 && g.axis == g.rank - 1) {
    e.refuse("gather_axis", "another axis than the last, along which data is packed");
  }
  return g;
}

// Rows of a table of numbers of fewer bytes than Gather moves, as `dtype`: it gathers the bytes
// that a constant lies in.
ValueId gathered_rows(Composer& e, ValueId x, ValueId indices, int64_t axis, DType dtype) {
  const DType own = e.dtype(x);
  const Tensor* known = e.graph().constant(x);
  const bool nibbles = own == DType::Int4 || own == DType::UInt4;
  const bool bytes = dtype_bits(own) == 8;
  const int64_t last = known && known->rank() > 0 ? known->dims().back() : 1;
  if (!known || !(bytes || (nibbles && last % 2 == 0 && axis != known->rank() - 1))) {
    return e.gather(e.cast(x, dtype), indices, axis);
  }
  Dims dims = known->dims();
  if (nibbles) dims.back() /= 2;
  const Tensor view(DType::UInt8, std::move(dims), known->buffer(), known->raw());
  const ValueId rows = e.gather(e.constant(view), indices, axis);
  if (bytes) return e.cast(e.op("BitCast", {rows}, with("to", static_cast<int64_t>(own))), dtype);
  const ValueId halves = split_bytes(e, rows, 4);
  if (own == DType::UInt4) return e.cast(halves, dtype);
  const uint8_t sign = 8;
  const ValueId bit = e.constant(Tensor::of<uint8_t>(DType::UInt8, {}, std::span(&sign, 1)));
  return e.shifted(e.cast(e.op("BitwiseXor", {halves, bit}), dtype), -8);
}

// Where the numbers of a gather come from: all of the tensor, or the rows that are asked for.
struct GatherPlan {
  bool first;  // gathers before it widens
  ValueId indices;
  int64_t across, length;
};

// (data - zero point) · scale, blocks lying along `across`.
ValueId unblocked(Composer& e, const GatheredBlocks& g, const GatherPlan& plan, ValueId scales) {
  const DType dtype = e.dtype(scales);
  const auto numbers = [&](ValueId x) {
    if (!g.bytes && plan.first) return gathered_rows(e, x, plan.indices, g.axis, dtype);
    if (!g.bytes) return e.cast(x, dtype);
    const ValueId rows = plan.first ? e.gather(x, plan.indices, g.axis) : x;
    return numbers_of_bytes(e, rows, g.bits, dtype);
  };
  const int64_t block = g.block > 0 ? g.block : plan.length;
  std::vector<int64_t> which;
  for (int64_t i = 0; i < plan.length; ++i) which.push_back(i / block);
  const auto spread = [&](ValueId x) { return e.gather(x, e.ints(which), plan.across); };
  ValueId real = numbers(e.input(0));
  if (e.has(3)) {
    const int64_t blocks = (plan.length + block - 1) / block;
    real = e.sub(real, spread(e.slice(numbers(e.input(3)), plan.across, 0, blocks)));
  } else if (g.bytes) {
    real = e.shifted(real, -std::ldexp(1.0, static_cast<int>(g.bits) - 1));
  }
  return e.mul(real, spread(scales));
}

// Scales of extent 1 along the gathered axis serve all rows.
ValueId gathered_scales(Composer& e, const GatheredBlocks& g, ValueId indices, int64_t added) {
  const ValueId scales = e.input(2);
  if (e.known(scales, g.axis, "scales") != 1 || e.known(e.input(0), g.axis, "data") == 1) {
    return e.gather(scales, indices, g.axis);
  }
  if (added < 0) return e.squeeze(scales, {g.axis});
  ValueId out = scales;
  for (int64_t i = 0; i < added; ++i) out = e.unsqueeze(out, {g.axis});
  return out;
}

// Rows are gathered while they are small.
ValueId gather_blocks(Composer& e, const GatheredBlocks& g, ValueId indices) {
  const bool packed = g.bytes && g.across == g.rank - 1;
  const int64_t length = e.known(e.input(0), g.across, "data") * (packed ? 8 / g.bits : 1);
  if (g.axis == g.across) {
    const GatherPlan whole{false, indices, g.across, length};
    return e.gather(unblocked(e, g, whole, e.input(2)), indices, g.axis);
  }
  const int64_t added = e.rank(indices, "indices") - 1;
  const int64_t across = g.across < g.axis ? g.across : g.across + added;
  const GatherPlan rows{true, indices, across, length};
  return unblocked(e, g, rows, gathered_scales(e, g, indices, added));
}

// An index that is out of range gives zeros.
bool gather_block_quantized(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const GatheredBlocks g = blocks_of(e);
  const ValueId indices = e.cast(e.input(1), DType::Int64);
  const ValueId size = e.scalar_of(e.extent(e.input(0), g.axis));
  const ValueId inside = e.op("And", {e.op("GreaterOrEqual", {indices, e.op("Neg", {size})}),
                                      e.op("Less", {indices, size})});
  const ValueId safe = e.where(inside, indices, e.constant(Tensor::scalar_i64(0)));
  const ValueId y = gather_blocks(e, g, safe);
  std::vector<int64_t> behind;
  for (int64_t axis = g.axis + 1; axis < g.rank; ++axis) behind.push_back(axis - g.rank);
  const ValueId shown = behind.empty() ? inside : e.unsqueeze(inside, behind);
  return e.finish({e.where(shown, y, e.number(e.dtype(y), 0))});
}

constexpr Expansion kPackedWeight[] = {
    {"com.microsoft", "MatMulNBits", mat_mul_n_bits},
    {"com.microsoft", "MatMulNBitsMlp", mat_mul_n_bits_mlp},
    {"com.microsoft", "MatMulNBitsQkv", mat_mul_n_bits_qkv},
    {"com.microsoft", "MatMulNBitsQLoRA", mat_mul_n_bits_q_lora},
    {"com.microsoft", "MatMulBnb4", mat_mul_bnb4},
    {"com.microsoft", "GatherBlockQuantized", gather_block_quantized},
};

}  // namespace

std::span<const Expansion> packed_weight_expansions() { return kPackedWeight; }

}  // namespace tiercel
