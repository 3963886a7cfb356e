// Operators of com.microsoft on the elements of tensors.
#include "ops/contrib.h"
#include "ops/expect.h"

namespace tiercel {

namespace {

void tokenizer(InferContext& ctx) {
  std::optional<Shape> shape = ctx.shape(0);
  if (shape) shape->push_back(Dim());
  ctx.set(0, DType::String, shape);
}

// values, first indices, counts
void unique_elements(InferContext& ctx) {
  ctx.set(0, ctx.dtype(0), Shape{Dim()});
  if (ctx.has_output(1)) ctx.set(1, DType::Int64, Shape{Dim()});
  if (ctx.has_output(2)) ctx.set(2, DType::Int64, Shape{Dim()});
}

void murmur_hash(InferContext& ctx) {
  ctx.set(0, ctx.attr_int("positive", 1) != 0 ? DType::UInt32 : DType::Int32, ctx.shape(0));
}

// Pairs of positions along the cheapest way: no more than both sides together.
void time_warping(InferContext& ctx) {
  Dim most;
  if (ctx.has_shape(0)) {
    const Shape& cost = *ctx.shape(0);
    const size_t rank = cost.size();
    if (rank != 2 && (rank != 3 || differ(cost[0], Dim(1)))) {
      ctx.fail(concat("input has shape ", shape_text(cost), "; expected [M, N] or [1, M, N]"));
    }
    most = cost[rank - 2] + cost[rank - 1];
  }
  ctx.set(0, DType::Int32, Shape{Dim(2), ctx.at_most(most)});
}

void n_gram_hashes(InferContext& ctx) {
  const int64_t before = ctx.attr_int("max_ngram_size") - 1;
  expect_rank(ctx, 0, 2, 2);
  std::optional<Shape> hashes, present;
  if (ctx.has_shape(0)) {
    const Shape& ids = *ctx.shape(0);
    hashes = Shape{ids[0], ids[1], Dim(before * ctx.attr_int("n_head_per_ngram"))};
    present = Shape{ids[0], Dim(before)};
  }
  ctx.set(0, ctx.dtype(0), hashes);
  if (ctx.has_output(1)) ctx.set(1, ctx.dtype(0), present);
}

void bifurcation(InferContext& ctx) {
  Dim most;
  if (ctx.has_shape(1)) most = product(*ctx.shape(1));
  if (ctx.has_input(3)) most = ctx.has_shape(3) ? most + product(*ctx.shape(3)) : Dim();
  ctx.set(0, DType::Int64, Shape{ctx.at_most(most)});
  ctx.set(1, DType::Int64, Shape{});
}

}  // namespace

OpList contrib_tensor_ops() {
  return {
      contrib_row("ComplexMul", "A:T B:T", "C:T", "T = float double float16"),
      contrib_row("ComplexMulConj", "A:T B:T", "C:T", "T = float double float16"),
      contrib_row("DynamicTimeWarping", "input:F", "output:I", "F = float; I = int32", "",
                  time_warping, kDataDependent),
      contrib_row(
          "ExpandDims", "X:T axis:tensor(int32)", "Y:T",
          "T = uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 float double string bool "
          "complex64 complex128"),
      contrib_row(
          "GatherND", "data:T indices:Tind", "output:T",
          "T = uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 float double string bool "
          "complex64 complex128; Tind = int32 int64"),
      contrib_row("Irfft", "X:T", "Y:T", "T = float double float16",
                  "normalized:int=0 onesided:int=1 signal_ndim:int!"),
      contrib_row("IsAllFinite", "input:V*", "output:T",
                  "V = float16 float double bfloat16; T = bool",
                  "isinf_only:int=0 isnan_only:int=0"),
      contrib_row("MurmurHash3", "X:T1", "Y:T2",
                  "T1 = uint32 int32 uint64 int64 float double string; T2 = uint32 int32",
                  "positive:int=1 seed:int=0", murmur_hash),
      contrib_row("NGramRepeatBlock", "input_ids:Tid scores:T", "scores_out:T",
                  "Tid = int64; T = float", "ngram_size:int!"),
      contrib_row("Range", "start:T limit:T delta:T?", "Y:T", "T = float double int16 int32 int64"),
      contrib_row("Rfft", "X:T", "Y:T", "T = float double float16",
                  "normalized:int=0 onesided:int=1 signal_ndim:int=1"),
      contrib_row("SampleOp", "X:T", "Y:T", "T = uint32 uint64 int32 int64 float16 float double"),
      contrib_row("Tokenizer", "X:T", "Y:T", "T = string",
                  "mark:int! mincharnum:int! pad_value:string! separators:strings tokenexp:string",
                  tokenizer, kDataDependent),
      contrib_row(
          "TorchEmbedding",
          "weight:T indices:tensor(int64) padding_idx:tensor(int64)? "
          "scale_grad_by_freq:tensor(bool)?",
          "Y:T",
          "T = float16 float double bfloat16 uint8 uint16 uint32 uint64 int8 int16 int32 int64"),
      contrib_row("Trilu", "X:T k:tensor(int64)?", "Y:T",
                  "T = float16 float double bfloat16 uint8 uint16 uint32 uint64 int8 int16 int32 "
                  "int64 bool",
                  "upper:int=1"),
      contrib_row(
          "UnfoldTensor", "input:T", "output:T",
          "T = uint8 uint16 uint32 uint64 int8 int16 int32 int64 bfloat16 float16 float double "
          "string bool complex64 complex128",
          "dim:int=-1 size:int! step:int=1"),
      contrib_row(
          "Unique", "x:T", "y:T idx:tensor(int64) counts:tensor(int64)",
          "T = uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 float double string bool "
          "complex64 complex128",
          "", unique_elements, kDataDependent),
      contrib_row("WordConvEmbedding", "Sequence:T W:T1 B:T1 C:T1", "Y:T1", "T = int32; T1 = float",
                  "char_embedding_size:int conv_window_size:int embedding_size:int"),
      contrib_row("BifurcationDetector",
                  "src_tokens:T cur_tokens:T prev_suffix_match_idx:T pred_tokens:T?",
                  "tokens:T suffix_match_idx:T", "T = int64",
                  "max_ngram_size:int=3 min_ngram_size:int=1", bifurcation, kDataDependent),
      contrib_row(
          "NGramHashMapping",
          "input_ids:M multipliers:M vocab_sizes:M past_ids:M? head_offsets:M? eos_token_id:M? "
          "segment_ids:tensor(int32)?",
          "hash_ids:M present_ids:M?", "M = int32 int64",
          "max_ngram_size:int! n_head_per_ngram:int! pad_id:int! reset_on_eos:int=0",
          n_gram_hashes),
  };
}

}  // namespace tiercel
