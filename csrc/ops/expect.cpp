// What shape functions demand of operands that kernels read by the extents of another one.
#include "ops/expect.h"

#include <algorithm>

namespace tiercel {

namespace {

[[noreturn]] void refuse(InferContext& ctx, int input, const std::string& expected) {
  ctx.fail(concat("input ", input, " has shape ", shape_text(*ctx.shape(input)), "; expected ",
                  expected));
}

}  // namespace

bool differ(const Dim& a, const Dim& b) { return a.known() && b.known() && a.value() != b.value(); }

void expect_shape(InferContext& ctx, int input, const Shape& wanted) {
  if (!ctx.has_shape(input)) return;
  const Shape& got = *ctx.shape(input);
  if (got.size() != wanted.size() ||
      !std::equal(got.begin(), got.end(), wanted.begin(),
                  [](const Dim& a, const Dim& b) { return !differ(a, b); })) {
    refuse(ctx, input, shape_text(wanted));
  }
}

void expect_rank(InferContext& ctx, int input, size_t least, size_t most) {
  if (!ctx.has_shape(input)) return;
  const size_t rank = ctx.shape(input)->size();
  if (rank < least || rank > most) {
    refuse(ctx, input, concat("a rank from ", least, " to ", most));
  }
}

void expect_vectors(InferContext& ctx, std::initializer_list<int> inputs, const Dim& length) {
  for (int input : inputs) expect_shape(ctx, input, {length});
}

void expect_into(InferContext& ctx, int input, const Shape& target) {
  if (!ctx.has_shape(input)) return;
  const Shape& got = *ctx.shape(input);
  bool fits = got.size() <= target.size();
  for (size_t i = 0; fits && i < got.size(); ++i) {
    const Dim& extent = got[got.size() - 1 - i];
    fits = !differ(extent, Dim(1)) || !differ(extent, target[target.size() - 1 - i]);
  }
  if (!fits) refuse(ctx, input, concat("one that broadcasts to ", shape_text(target)));
}

}  // namespace tiercel
