// Recurrent networks over a sequence: LSTM, GRU and RNN.
#include "ops/families.h"
#include "ops/op_def.h"

namespace tiercel {
namespace {

int64_t directions(InferContext& ctx) {
  const std::string direction = ctx.attr_string("direction", "forward");
  if (direction == "bidirectional") return 2;
  if (direction != "forward" && direction != "reverse") {
    ctx.fail(
        concat("direction is \"", direction, "\"; expected forward, reverse or bidirectional"));
  }
  return 1;
}

void expect_dim(InferContext& ctx, int input, size_t axis, const Dim& wanted, const char* name) {
  if (!ctx.has_shape(input)) return;
  const Shape& shape = *ctx.shape(input);
  if (axis >= shape.size()) ctx.fail(concat(name, " has rank ", shape.size(), "; expected more"));
  const Dim& got = shape[axis];
  if (got.known() && wanted.known() && !got.same(wanted)) {
    ctx.fail(concat("axis ", axis, " of ", name, " has extent ", got.value(), "; expected ",
                    wanted.value()));
  }
}

void expect_named_rank(InferContext& ctx, int input, size_t rank, const char* name) {
  if (ctx.has_shape(input) && ctx.shape(input)->size() != rank) {
    ctx.fail(concat(name, " has rank ", ctx.shape(input)->size(), "; expected ", rank));
  }
}

// W, R and B agree with the number of directions, gates and hidden units.
void check_weights(InferContext& ctx, int64_t gates, const Dim& hidden) {
  const Dim n = directions(ctx);
  expect_named_rank(ctx, 0, 3, "X");
  expect_named_rank(ctx, 1, 3, "W");
  expect_named_rank(ctx, 2, 3, "R");
  expect_dim(ctx, 1, 0, n, "W");
  expect_dim(ctx, 2, 0, n, "R");
  expect_dim(ctx, 1, 1, hidden * gates, "W");
  expect_dim(ctx, 2, 1, hidden * gates, "R");
  expect_dim(ctx, 2, 2, hidden, "R");
  if (ctx.has_shape(0) && ctx.has_shape(1)) expect_dim(ctx, 1, 2, (*ctx.shape(0))[2], "W");
  if (ctx.has_shape(3)) {
    expect_named_rank(ctx, 3, 2, "B");
    expect_dim(ctx, 3, 0, n, "B");
    expect_dim(ctx, 3, 1, hidden * (2 * gates), "B");
  }
}

// Initial states, lengths and peepholes.
void check_states(InferContext& ctx, const Dim& batch, const Dim& hidden, bool batch_first) {
  const Dim n = directions(ctx);
  if (ctx.has_shape(4)) {
    expect_named_rank(ctx, 4, 1, "sequence_lens");
    expect_dim(ctx, 4, 0, batch, "sequence_lens");
  }
  const char* names[] = {"initial_h", "initial_c"};
  for (int i = 5; i < 7 && i < ctx.input_count(); ++i) {
    if (!ctx.has_shape(i)) continue;
    expect_named_rank(ctx, i, 3, names[i - 5]);
    expect_dim(ctx, i, 0, batch_first ? batch : n, names[i - 5]);
    expect_dim(ctx, i, 1, batch_first ? n : batch, names[i - 5]);
    expect_dim(ctx, i, 2, hidden, names[i - 5]);
  }
  if (ctx.has_shape(7)) {
    expect_named_rank(ctx, 7, 2, "P");
    expect_dim(ctx, 7, 0, n, "P");
    expect_dim(ctx, 7, 1, hidden * int64_t{3}, "P");
  }
}

void recurrent(InferContext& ctx, int64_t gates) {
  const int64_t n = directions(ctx);
  const bool batch_first = ctx.attr_int("layout") == 1;
  Dim hidden;
  if (ctx.has_attr("hidden_size")) hidden = ctx.attr_int("hidden_size");
  if (ctx.has_shape(2) && ctx.shape(2)->size() == 3 && !hidden.known())
    hidden = ctx.shape(2)->back();
  check_weights(ctx, gates, hidden);
  Dim sequence, batch;
  if (ctx.has_shape(0)) {
    sequence = (*ctx.shape(0))[batch_first ? 1 : 0];
    batch = (*ctx.shape(0))[batch_first ? 0 : 1];
  }
  check_states(ctx, batch, hidden, batch_first);
  const DType dtype = ctx.dtype(0);
  if (ctx.has_output(0)) {
    ctx.set(0, dtype,
            batch_first ? Shape{batch, sequence, n, hidden} : Shape{sequence, n, batch, hidden});
  }
  for (int i = 1; i < ctx.output_count(); ++i) {
    if (!ctx.has_output(i)) continue;
    ctx.set(i, dtype, batch_first ? Shape{batch, n, hidden} : Shape{n, batch, hidden});
  }
}

void lstm(InferContext& ctx) { recurrent(ctx, 4); }
void gru(InferContext& ctx) { recurrent(ctx, 3); }
void rnn(InferContext& ctx) { recurrent(ctx, 1); }

}  // namespace

OpList rnn_ops() {
  return {
      {.name = "LSTM",
       .since = 22,
       .inputs = {{"X", "T"},
                  {"W", "T"},
                  {"R", "T"},
                  {"B", "T", Param::Optional},
                  {"sequence_lens", "T1", Param::Optional},
                  {"initial_h", "T", Param::Optional},
                  {"initial_c", "T", Param::Optional},
                  {"P", "T", Param::Optional}},
       .outputs = {{"Y", "T", Param::Optional},
                   {"Y_h", "T", Param::Optional},
                   {"Y_c", "T", Param::Optional}},
       .types = {{"T", "float double float16 bfloat16"}, {"T1", "int32"}},
       .attributes = {{"activation_alpha", AttrDef::Floats},
                      {"activation_beta", AttrDef::Floats},
                      {"activations", AttrDef::Strings},
                      {"clip", AttrDef::Float},
                      {"direction", AttrDef::String, false, std::string("forward")},
                      {"hidden_size", AttrDef::Int},
                      {"input_forget", AttrDef::Int, false, int64_t{0}},
                      {"layout", AttrDef::Int, false, int64_t{0}}},
       .shape = lstm},
      {.name = "GRU",
       .since = 22,
       .inputs = {{"X", "T"},
                  {"W", "T"},
                  {"R", "T"},
                  {"B", "T", Param::Optional},
                  {"sequence_lens", "T1", Param::Optional},
                  {"initial_h", "T", Param::Optional}},
       .outputs = {{"Y", "T", Param::Optional}, {"Y_h", "T", Param::Optional}},
       .types = {{"T", "float double float16 bfloat16"}, {"T1", "int32"}},
       .attributes = {{"activation_alpha", AttrDef::Floats},
                      {"activation_beta", AttrDef::Floats},
                      {"activations", AttrDef::Strings},
                      {"clip", AttrDef::Float},
                      {"direction", AttrDef::String, false, std::string("forward")},
                      {"hidden_size", AttrDef::Int},
                      {"layout", AttrDef::Int, false, int64_t{0}},
                      {"linear_before_reset", AttrDef::Int, false, int64_t{0}}},
       .shape = gru},
      {.name = "RNN",
       .since = 22,
       .inputs = {{"X", "T"},
                  {"W", "T"},
                  {"R", "T"},
                  {"B", "T", Param::Optional},
                  {"sequence_lens", "T1", Param::Optional},
                  {"initial_h", "T", Param::Optional}},
       .outputs = {{"Y", "T", Param::Optional}, {"Y_h", "T", Param::Optional}},
       .types = {{"T", "float double float16 bfloat16"}, {"T1", "int32"}},
       .attributes = {{"activation_alpha", AttrDef::Floats},
                      {"activation_beta", AttrDef::Floats},
                      {"activations", AttrDef::Strings, false,
                       std::vector<std::string>{"Tanh", "Tanh"}},
                      {"clip", AttrDef::Float},
                      {"direction", AttrDef::String, false, std::string("forward")},
                      {"hidden_size", AttrDef::Int},
                      {"layout", AttrDef::Int, false, int64_t{0}}},
       .shape = rnn},
  };
}

// The same, with activations by number: three codes and three pairs of parameters per direction.
OpList rnn_internal_ops() {
  OpList made = rnn_ops();
  for (OpDef& def : made) {
    def.domain = "tiercel";
    def.types[0].types = "float";
    def.attributes.push_back({"activation_codes", AttrDef::Ints});
    def.attributes.push_back({"activation_params", AttrDef::Floats});
  }
  return made;
}

}  // namespace tiercel
