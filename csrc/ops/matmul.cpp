// Matrix products, Einsum and determinants.
#include <map>

#include "ops/families.h"
#include "ops/infer_values.h"

namespace tiercel {
namespace {

constexpr std::string_view kBytesAndFloat8 =
    "int8 uint8 float8e4m3fn float8e4m3fnuz float8e5m2 float8e5m2fnuz";

// numpy.matmul: a vector gets an axis of 1, which goes again afterwards.
Shape matmul_shape(InferContext& ctx, Shape a, Shape b) {
  const std::string given = concat(shape_text(a), " and ", shape_text(b));
  if (a.empty() || b.empty()) ctx.fail("an operand is a scalar; expected rank 1 or more");
  const bool row = a.size() == 1;
  const bool column = b.size() == 1;
  if (row) a.insert(a.begin(), Dim(1));
  if (column) b.emplace_back(1);
  const Dim inner = a.back();
  const Dim outer = b[b.size() - 2];
  if (inner.known() && outer.known() && !inner.same(outer)) {
    ctx.fail(concat("operands have shapes ", given, ": ", inner.value(), " columns meet ",
                    outer.value(), " rows"));
  }
  Shape out = broadcast(Shape(a.begin(), a.end() - 2), Shape(b.begin(), b.end() - 2));
  if (!row) out.push_back(a[a.size() - 2]);
  if (!column) out.push_back(b.back());
  return out;
}

std::optional<Shape> matmul_shape(InferContext& ctx, int left, int right) {
  if (!ctx.has_shape(left) || !ctx.has_shape(right)) return std::nullopt;
  return matmul_shape(ctx, *ctx.shape(left), *ctx.shape(right));
}

// Input `i` with its axes in the order that the attribute lists.
Shape permuted(InferContext& ctx, int i, std::string_view attribute) {
  const Shape& in = *ctx.shape(i);
  const std::optional<std::vector<int64_t>> perm = ctx.attr_ints(attribute);
  if (!perm || perm->empty()) return in;
  if (perm->size() != in.size()) {
    ctx.fail(
        concat(attribute, " has ", perm->size(), " entries, its operand has rank ", in.size()));
  }
  Shape out;
  for (int64_t axis : *perm) out.push_back(in.at(static_cast<size_t>(axis)));
  return out;
}

void permuted_matmul(InferContext& ctx) {
  if (!ctx.has_shape(0) || !ctx.has_shape(1)) return ctx.set(0, ctx.dtype(0));
  ctx.set(0, ctx.dtype(0),
          matmul_shape(ctx, permuted(ctx, 0, "perm_a"), permuted(ctx, 1, "perm_b")));
}

void matmul(InferContext& ctx) { ctx.set(0, ctx.dtype(0), matmul_shape(ctx, 0, 1)); }

void matmul_integer(InferContext& ctx) { ctx.set(0, DType::Int32, matmul_shape(ctx, 0, 1)); }

void qlinear_matmul(InferContext& ctx) { ctx.set(0, ctx.dtype(7), matmul_shape(ctx, 0, 3)); }

void weight_matmul(InferContext& ctx) {
  std::optional<Shape> shape = ctx.shape(0);
  if (shape && shape->empty()) ctx.fail("A is a scalar; expected rank 1 or more");
  if (shape && ctx.has_shape(1)) {
    const Shape& b = *ctx.shape(1);
    const bool by_rows = ctx.attr_int("axis") == 0;
    const int64_t bits = ctx.attr_int("bits", 4);
    if (b.size() != 2) ctx.fail(concat("B has shape ", shape_text(b), "; expected a matrix"));
    const Dim& given = by_rows ? b[0] : b[1];
    const Dim& depth = shape->back();
    if (given.known() && depth.known()) {
      const int64_t most = by_rows ? given.value() : given.value() * 8 / bits;
      if (depth.value() > most || (by_rows && depth.value() < most)) {
        ctx.fail(concat("A has ", depth.value(), " columns, B has ", most, " rows"));
      }
    }
  }
  if (shape) shape->back() = Dim(ctx.attr_int("N", 1));
  ctx.set(0, ctx.dtype(0), std::move(shape));
}

void gemm(InferContext& ctx) {
  if (!ctx.has_shape(0) || !ctx.has_shape(1)) return ctx.set(0, ctx.dtype(0));
  const Shape& a = *ctx.shape(0);
  const Shape& b = *ctx.shape(1);
  if (a.size() != 2 || b.size() != 2) {
    ctx.fail(concat("A and B have shapes ", shape_text(a), " and ", shape_text(b),
                    "; expected two matrices"));
  }
  const size_t ta = ctx.attr_int("transA") != 0 ? 1 : 0;
  const size_t tb = ctx.attr_int("transB") != 0 ? 1 : 0;
  const Dim& columns = a[1 - ta];
  const Dim& rows = b[tb];
  if (columns.known() && rows.known() && !columns.same(rows)) {
    ctx.fail(concat("A has ", columns.value(), " columns, B has ", rows.value(), " rows"));
  }
  ctx.set(0, ctx.dtype(0), Shape{a[ta], b[1 - tb]});
}

void determinant(InferContext& ctx) {
  if (!ctx.has_shape(0)) return ctx.set(0, ctx.dtype(0));
  const Shape& in = *ctx.shape(0);
  if (in.size() < 2)
    ctx.fail("input has rank " + std::to_string(in.size()) + "; expected 2 or more");
  const Dim& rows = in[in.size() - 2];
  if (rows.known() && in.back().known() && rows.value() != in.back().value()) {
    ctx.fail(concat("input has shape ", shape_text(in), "; expected square matrices"));
  }
  ctx.set(0, ctx.dtype(0), Shape(in.begin(), in.end() - 2));
}

std::vector<std::string> split_terms(const std::string& text) {
  std::vector<std::string> terms(1);
  for (char c : text) {
    if (c == ',') {
      terms.emplace_back();
    } else if (c != ' ') {
      terms.back() += c;
    }
  }
  return terms;
}

// Extents by letter; the axes of "..." are numbered from the right, as broadcasting aligns them.
class EinsumAxes {
 public:
  explicit EinsumAxes(InferContext& ctx) : ctx_(ctx) {}

  void read(const std::string& term, const Shape& shape) {
    const size_t dots = term.find("...");
    const size_t letters = dots == std::string::npos ? term.size() : term.size() - 3;
    if (letters > shape.size() || (dots == std::string::npos && letters != shape.size())) {
      ctx_.fail(concat("term \"", term, "\" does not fit an operand of shape ", shape_text(shape)));
    }
    const size_t hidden = shape.size() - letters;
    for (size_t i = 0, axis = 0; i < term.size(); ++i) {
      if (i == dots) {
        const auto start = shape.begin() + static_cast<std::ptrdiff_t>(axis);
        ellipsis_ = broadcast(ellipsis_, Shape(start, start + static_cast<std::ptrdiff_t>(hidden)));
        axis += hidden;
        i += 2;
      } else {
        merge(term[i], shape[axis++]);
      }
    }
  }

  [[nodiscard]] Shape write(const std::string& term) const {
    Shape out;
    for (size_t i = 0; i < term.size(); ++i) {
      if (term[i] == '.') {
        out.insert(out.end(), ellipsis_.begin(), ellipsis_.end());
        i += 2;
      } else {
        const auto it = extents_.find(term[i]);
        if (it == extents_.end()) {
          ctx_.fail(concat("output letter \"", std::string(1, term[i]), "\" is in no operand"));
        }
        out.push_back(it->second);
      }
    }
    return out;
  }

  // Letters that occur once, in order, after the ellipsis: the output when none is written.
  [[nodiscard]] std::string implied() const {
    std::string out = ellipsis_.empty() ? "" : "...";
    for (const auto& [letter, count] : counts_) {
      if (count == 1) out += letter;
    }
    return out;
  }

 private:
  void merge(char letter, const Dim& extent) {
    ++counts_[letter];
    const auto [it, fresh] = extents_.emplace(letter, extent);
    if (!fresh) it->second = broadcast(Shape{it->second}, Shape{extent})[0];
  }

  InferContext& ctx_;
  std::map<char, Dim> extents_;
  std::map<char, int> counts_;
  Shape ellipsis_;
};

void einsum(InferContext& ctx) {
  const std::string equation = ctx.attr_string("equation");
  const size_t arrow = equation.find("->");
  const std::vector<std::string> terms = split_terms(equation.substr(0, arrow));
  if (static_cast<int>(terms.size()) != ctx.input_count()) {
    ctx.fail(concat("equation \"", equation, "\" has ", terms.size(), " operands, the node has ",
                    ctx.input_count()));
  }
  EinsumAxes axes(ctx);
  for (int i = 0; i < ctx.input_count(); ++i) {
    if (!ctx.has_shape(i)) return ctx.set(0, ctx.dtype(0));
    axes.read(terms[static_cast<size_t>(i)], *ctx.shape(i));
  }
  const std::string out =
      arrow == std::string::npos ? axes.implied() : split_terms(equation.substr(arrow + 2))[0];
  ctx.set(0, ctx.dtype(0), axes.write(out));
}

}  // namespace

OpList matmul_ops() {
  return {
      {.name = "MatMul",
       .since = 13,
       .inputs = {{"A", "T"}, {"B", "T"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", "float double float16 bfloat16 int32 int64 uint32 uint64"}},
       .shape = matmul},
      // MatMul of Transpose(A, perm_a) and Transpose(B, perm_b); without a list an operand stays as
      // it is.
      {.domain = "tiercel",
       .name = "PermutedMatMul",
       .inputs = {{"A", "T"}, {"B", "T"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", "float double float16 bfloat16 int32 int64 uint32 uint64"}},
       .attributes = {{"perm_a", AttrDef::Ints}, {"perm_b", AttrDef::Ints}},
       .shape = permuted_matmul},
      // A [..., K] times the matrix [K, N] of the numbers of B less their zero points, times scales
      // of blocks along the depth. B, of uint8, is [K, N] where the axis is 0, or [N, K or more],
      // packed along its last axis, low bits first; scales and zero points, packed alike, have
      // blocks along that axis. `zero_point` serves where there are none. Signed numbers have
      // their highest bit turned over, and so have their zero points.
      {.domain = "tiercel",
       .name = "WeightMatMul",
       .inputs = {{"A", "T"},
                  {"B", "tensor(uint8)"},
                  {"scales", "T"},
                  {"zero_points", "tensor(uint8)", Param::Optional}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", "float float16 bfloat16"}},
       .attributes = {{"bits", AttrDef::Int, false, int64_t{4}},
                      {"block_size", AttrDef::Int, true},
                      {"axis", AttrDef::Int, false, int64_t{0}},
                      {"is_signed", AttrDef::Int, false, int64_t{0}},
                      {"zero_point", AttrDef::Int, false, int64_t{0}},
                      {"accuracy_level", AttrDef::Int, false, int64_t{0}},
                      {"N", AttrDef::Int, true}},
       .shape = weight_matmul},
      {.name = "Gemm",
       .since = 13,
       .inputs = {{"A", "T"}, {"B", "T"}, {"C", "T", Param::Optional}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", "float double float16 bfloat16 int32 int64 uint32 uint64"}},
       .attributes = {{"alpha", AttrDef::Float, false, 1.0},
                      {"beta", AttrDef::Float, false, 1.0},
                      {"transA", AttrDef::Int, false, int64_t{0}},
                      {"transB", AttrDef::Int, false, int64_t{0}}},
       .shape = gemm},
      {.name = "Einsum",
       .since = 28,
       .inputs = {{"Inputs", "T", Param::Variadic}},
       .outputs = {{"Output", "T"}},
       .types = {{"T", kNumbers}},
       .attributes = {{"equation", AttrDef::String, true}},
       .shape = einsum},
      {.name = "Det",
       .since = 22,
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", "float double float16 bfloat16"}},
       .shape = determinant},
      {.name = "MatMulInteger",
       .since = 10,
       .inputs = {{"A", "T1"},
                  {"B", "T2"},
                  {"a_zero_point", "T1", Param::Optional},
                  {"b_zero_point", "T2", Param::Optional}},
       .outputs = {{"Y", "T3"}},
       .types = {{"T1", "int8 uint8"}, {"T2", "int8 uint8"}, {"T3", "int32"}},
       .shape = matmul_integer},
      {.name = "QLinearMatMul",
       .since = 21,
       .inputs = {{"a", "T1"},
                  {"a_scale", "TS"},
                  {"a_zero_point", "T1"},
                  {"b", "T2"},
                  {"b_scale", "TS"},
                  {"b_zero_point", "T2"},
                  {"y_scale", "TS"},
                  {"y_zero_point", "T3"}},
       .outputs = {{"y", "T3"}},
       .types = {{"TS", "float float16 bfloat16"},
                 {"T1", kBytesAndFloat8},
                 {"T2", kBytesAndFloat8},
                 {"T3", kBytesAndFloat8}},
       .shape = qlinear_matmul},
  };
}

}  // namespace tiercel
