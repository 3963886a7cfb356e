// Pointwise programs: elementwise nodes, `tiercel.Pointwise` bodies and epilogues, run tile by tile
// over the tile kernels.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"
#include "tiercel/kernel.h"

namespace tiercel {

inline constexpr int kPointwiseOperands = 32;  // inputs and outputs of one program
inline constexpr int kPointwiseBuffers = 32;   // tile buffers of one program
inline constexpr int kPointwiseRegisters = 160;
inline constexpr int kPointwiseTile = 1024;  // elements of the longest tile
inline constexpr int kPointwiseRank = 8;     // after neighbouring dims that walk alike were merged

// How one call walks memory; depends on dims alone, so that a plan can keep it between runs.
struct PointwiseWalk {
  enum class Mode : uint8_t {
    Dense,     // as the output
    Scalar,    // one element
    Periodic,  // the innermost dim alone, repeated
    Repeated,  // as Periodic within the two innermost dims, another row beyond
    Strided    // anything else: expanded into the tile
  };
  int64_t size = 0;  // output elements
  int64_t tile = 0;  // elements per tile
  int64_t unit = 0;  // elements per unit of work
  int64_t rank = 0;
  std::array<int64_t, kPointwiseRank> dims{};
  std::array<Mode, kPointwiseOperands> mode{};
  std::array<std::array<int64_t, kPointwiseRank>, kPointwiseOperands>
      strides{};  // elements; 0: broadcast
};

// Runs of output elements: `count` from `start` on, `rows` times, each time `stride` elements
// further on.
struct PointwiseRows {
  int64_t start, count, rows = 1, stride = 0;
  int64_t first_stride = stride;  // the same of input 0
};

// Values of small floats are float32 between the instructions of a program: they are rounded where
// they leave it and where the model says Cast.
class PointwiseProgram {
 public:
  // One tile kernel over registers; `out` may be one of the operands.
  struct Instruction {
    TclTileFn run;
    int16_t out = -1;
    std::array<int16_t, 3> in{-1, -1, -1};
    int32_t params = 0;             // offset in `params`
    const TclTile* tile = nullptr;  // whose `run` it is
  };
  // Where a register lives: a tile buffer, an input, an output or a constant.
  struct Register {
    enum class Kind : uint8_t { Buffer, Input, Output, Constant } kind;
    int16_t index;  // buffer slot, input, output or constant number
    int16_t bits;   // of one element
  };

  [[nodiscard]] int input_count() const { return n_inputs; }
  [[nodiscard]] int output_count() const { return n_outputs; }

  // Throws Error(NotImplemented) when the broadcast pattern has more than kPointwiseRank
  // independent dims.
  void walk(TclTensor* const* inputs, TclTensor* const* outputs, PointwiseWalk& walk) const;
  [[nodiscard]] static int64_t units(const PointwiseWalk& walk) {
    return walk.size == 0 ? 0 : (walk.size + walk.unit - 1) / walk.unit;
  }
  // Nanoseconds on one thread, roughly.
  [[nodiscard]] int64_t work(const PointwiseWalk& walk) const;
  // Computes units [begin, end). Needs no scratch: tiles live on the stack.
  void run(const PointwiseWalk& walk, TclTensor* const* inputs, TclTensor* const* outputs,
           int64_t begin, int64_t end) const;
  // Computes rows of output elements; `inputs` and `outputs` are base pointers.
  void run_range(const PointwiseWalk& walk, const void* const* inputs, void* const* outputs,
                 const PointwiseRows& rows) const;

  std::vector<Instruction> instructions;
  std::vector<Register> registers;
  std::vector<double> params;
  std::vector<std::vector<std::byte>> constants;  // kPointwiseTile equal elements each
  std::vector<int16_t> input_register, output_register;
  int n_inputs = 0;
  int n_outputs = 0;
  int n_buffers = 0;
  int64_t widest = 8;  // bits of the widest register
  // Of an epilogue that starts from 16-bit floats: the same from float32 sums that were not rounded
  // yet. It walks as this one does.
  std::shared_ptr<const PointwiseProgram> of_sums;

 private:
  [[nodiscard]] bool direct(const PointwiseWalk& walk) const;
};

// nullopt: the node (elementwise, or tiercel.Pointwise) runs as a pointwise program; else the
// reason why not.
[[nodiscard]] std::optional<std::string> pointwise_refuses(const Graph& graph, const Node& node);
// Inputs of the program are the node's inputs in order (absent ones too), outputs its outputs.
// Throws the refusal.
[[nodiscard]] std::shared_ptr<const PointwiseProgram> compile_pointwise(const Graph& graph,
                                                                        const Node& node);

// Programs that hang on a node whose kernel is no pointwise program, as body graphs whose input 0
// is a tensor of the node and whose other operands are their captures, in order. The attribute
// `epilogue` starts from the node's output 0 and replaces it; `prologue` starts from the node's
// input 0 and makes what the kernel reads in its place. Every operand broadcasts to that tensor.
[[nodiscard]] std::shared_ptr<const PointwiseProgram> compile_attached(
    const Node& node, std::string_view attribute);  // nullptr: none

// An epilogue or prologue bound to the tensors of one call; must outlive the kernel call. Trivial
// to set up again for the next run.
class AttachedProgram {
 public:
  // `main`: the tensor that the program starts from; `captures`: one tensor per capture.
  void bind(const PointwiseProgram& program, TclTensor* main, TclTensor* const* captures);
  [[nodiscard]] TclEpilogue epilogue() const {
    return {apply, this, apply_rows, program_->of_sums ? apply_sums : nullptr};
  }
  [[nodiscard]] TclPrologue prologue() const { return {fill, this}; }
  [[nodiscard]] const PointwiseProgram& program() const { return *program_; }
  // The walk over the elements of `main`, and units [begin, end) of it from `main` into `to`.
  [[nodiscard]] const PointwiseWalk& walk() const { return walk_; }
  void run(void* to, int64_t begin, int64_t end) const;

 private:
  static void apply(const void* context, void* data, int64_t start, int64_t count);
  static void apply_rows(const void* context, void* data, int64_t start, int64_t count,
                         int64_t rows, int64_t stride);
  static void apply_sums(const void* context, const float* sums, int64_t sums_stride, void* data,
                         int64_t start, int64_t count, int64_t rows, int64_t stride);
  static void fill(const void* context, void* to, int64_t start, int64_t count);
  [[nodiscard]] int64_t bits() const;  // of one element of the result
  void compute(const PointwiseProgram& program, const void* from, void* to,
               const PointwiseRows& rows) const;

  const PointwiseProgram* program_ = nullptr;
  void* main_ = nullptr;
  PointwiseWalk walk_;
  std::array<const void*, kPointwiseOperands> operands_{};  // captures
};

}  // namespace tiercel
