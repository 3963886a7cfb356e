// Operators over the blocked layout [N, C / c, H, W, c], whose innermost dim are c channels: what
// the layout pass makes of convolutions and poolings. Lanes beyond the last channel hold anything.
#include <algorithm>

#include "ops/infer_values.h"
#include "ops/window.h"

namespace tiercel {
namespace {

constexpr size_t kSpatial = 2;

Dim blocks_of(const Dim& channels, int64_t block) { return ceil_div(channels, block); }

int64_t block_of(InferContext& ctx) {
  const int64_t block = ctx.attr_int("block");
  if (block < 1) ctx.fail(concat("block is ", block, "; expected 1 or more"));
  return block;
}

// The shape of input 0, which must have this rank; nullopt when it is unknown.
std::optional<Shape> input_of_rank(InferContext& ctx, size_t rank) {
  if (!ctx.has_shape(0)) return std::nullopt;
  const Shape shape = *ctx.shape(0);
  if (shape.size() != rank) ctx.fail(concat("input has rank ", shape.size(), "; expected ", rank));
  return shape;
}

void block(InferContext& ctx) {
  const std::optional<Shape> in = input_of_rank(ctx, 4);
  if (!in) return ctx.set(0, ctx.dtype(0), Shape(5));
  const int64_t c = block_of(ctx);
  const Shape& x = *in;
  ctx.set(0, ctx.dtype(0), Shape{x[0], blocks_of(x[1], c), x[2], x[3], c});
}

void unblock(InferContext& ctx) {
  const std::optional<Shape> in = input_of_rank(ctx, 5);
  const int64_t channels = ctx.attr_int("channels");
  if (!in) return ctx.set(0, ctx.dtype(0), Shape{Dim(), channels, Dim(), Dim()});
  const Shape& x = *in;
  const Dim blocks = x[4].known() ? blocks_of(channels, x[4].value()) : Dim();
  if (x[1].known() && blocks.known() && !x[1].same(blocks)) {
    ctx.fail(
        concat(x[1].value(), " blocks of ", x[4].text(), " do not hold ", channels, " channels"));
  }
  ctx.set(0, ctx.dtype(0), Shape{x[0], channels, x[2], x[3]});
}

// X is blocked, or [N, C, H, W]. winograd: 0 forbids Winograd's algorithm, 1 takes it where it
// pays, 2 and 4 wherever it is possible, with tiles of so many rows and columns.
void conv_blocked(InferContext& ctx) {
  const int64_t c = block_of(ctx);
  Shape out(5);
  out[4] = c;
  if (ctx.has_shape(1)) out[1] = blocks_of(ctx.shape(1)->front(), c);
  if (ctx.has_shape(0)) {
    const Shape in = *ctx.shape(0);
    if (in.size() != 4 && in.size() != 5) {
      ctx.fail(concat("input has rank ", in.size(), "; expected 4 or 5"));
    }
    out[0] = in[0];
    const Window w = window(ctx, kernel_of(ctx, kSpatial, 1));
    for (size_t i = 0; i < kSpatial; ++i) out[i + 2] = slid(ctx, w, i, in[i + 2]);
  }
  ctx.set(0, ctx.dtype(0), out);
}

void pool_blocked(InferContext& ctx) {
  const std::optional<Shape> in = input_of_rank(ctx, 5);
  if (!in) return ctx.set(0, ctx.dtype(0), Shape(5));
  Shape out = *in;
  Window w = window(ctx, kernel_of(ctx, kSpatial, -1));
  w.pools = true;
  for (size_t i = 0; i < kSpatial; ++i) out[i + 2] = slid(ctx, w, i, out[i + 2]);
  ctx.set(0, ctx.dtype(0), out);
}

void global_pool_blocked(InferContext& ctx) {
  const std::optional<Shape> in = input_of_rank(ctx, 5);
  if (!in) return ctx.set(0, ctx.dtype(0), Shape{Dim(), Dim(), 1, 1, Dim()});
  ctx.set(0, ctx.dtype(0), Shape{(*in)[0], (*in)[1], 1, 1, (*in)[4]});
}

void lrn_blocked(InferContext& ctx) {
  const std::optional<Shape> in = input_of_rank(ctx, 5);
  if (ctx.attr_int("size") < 1) ctx.fail("size must be 1 or more");
  ctx.set(0, ctx.dtype(0), in.value_or(Shape(5)));
}

std::vector<AttrDef> window_attributes(std::vector<AttrDef> more) {
  std::vector<AttrDef> out{{"kernel_shape", AttrDef::Ints},
                           {"strides", AttrDef::Ints},
                           {"dilations", AttrDef::Ints},
                           {"pads", AttrDef::Ints},
                           {"auto_pad", AttrDef::String, false, std::string("NOTSET")}};
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

}  // namespace

OpList blocked_ops() {
  return {
      {.domain = "tiercel",
       .name = "Block",
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", "float"}},
       .attributes = {{"block", AttrDef::Int, true}},
       .shape = block},
      {.domain = "tiercel",
       .name = "Unblock",
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", "float"}},
       .attributes = {{"channels", AttrDef::Int, true}},
       .shape = unblock},
      {.domain = "tiercel",
       .name = "ConvBlocked",
       .inputs = {{"X", "T"}, {"W", "T"}, {"B", "T", Param::Optional}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", "float"}},
       .attributes = window_attributes({{"group", AttrDef::Int, false, int64_t{1}},
                                        {"block", AttrDef::Int, true},
                                        {"winograd", AttrDef::Int, false, int64_t{1}}}),
       .shape = conv_blocked},
      {.domain = "tiercel",
       .name = "MaxPoolBlocked",
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", "float"}},
       .attributes = window_attributes({{"ceil_mode", AttrDef::Int, false, int64_t{0}}}),
       .shape = pool_blocked},
      {.domain = "tiercel",
       .name = "AveragePoolBlocked",
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", "float"}},
       .attributes = window_attributes({{"ceil_mode", AttrDef::Int, false, int64_t{0}},
                                        {"count_include_pad", AttrDef::Int, false, int64_t{0}}}),
       .shape = pool_blocked},
      {.domain = "tiercel",
       .name = "GlobalAveragePoolBlocked",
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", "float"}},
       .shape = global_pool_blocked},
      {.domain = "tiercel",
       .name = "LRNBlocked",
       .inputs = {{"X", "T"}},
       .outputs = {{"Y", "T"}},
       .types = {{"T", "float"}},
       .attributes = {{"alpha", AttrDef::Float, false, 9.99999975e-05},
                      {"beta", AttrDef::Float, false, 0.75},
                      {"bias", AttrDef::Float, false, 1.0},
                      {"size", AttrDef::Int, true}},
       .shape = lrn_blocked},
  };
}

}  // namespace tiercel
