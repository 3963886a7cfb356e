// Runs pointwise programs: how operands walk along the output, and the loop over tiles.
#include "runtime/pointwise.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/shape.h"

namespace tiercel {

namespace {

constexpr int64_t kTileBytes =
    48 << 10;                        // all tile buffers of one program: they stay in the L1 cache
constexpr int64_t kMinTile = 128;    // elements
constexpr int64_t kUnit = 16 << 10;  // elements per unit of work of a one-instruction program
constexpr int64_t kLongRow = 128;    // rows from this length on are cut into tiles one by one
constexpr int64_t kSlotBytes = 8;    // widest element
static_assert(kLongRow <= kMinTile, "a repeated row and one tile fit in two slots");

// Extent of input `t` along output axis `axis` of `rank`, aligned at the last axis.
int64_t extent(const TclTensor& t, int64_t axis, int64_t rank) {
  const int64_t own = axis - (rank - t.rank);
  return own < 0 ? 1 : t.dims[own];
}

struct Axes {
  int64_t rank = 0;
  std::array<int64_t, kPointwiseRank> dims{};
  std::array<uint64_t, kPointwiseRank> walks{};  // bit i: input i advances along this dim
};

// Operands have at most the output's axes, and along each of them its extent or 1.
void check_operands(TclTensor* const* inputs, int n_inputs, const TclTensor& output) {
  for (int i = 0; i < n_inputs; ++i) {
    const TclTensor* t = inputs[i];
    if (t == nullptr || t->rank < 0) continue;
    bool fits = t->rank <= output.rank;
    for (int64_t axis = 0; fits && axis < t->rank; ++axis) {
      const int64_t own = t->dims[axis];
      fits = own == 1 || own == output.dims[axis + output.rank - t->rank];
    }
    if (!fits) {
      throw_error(ErrorKind::InvalidArgument, "elementwise operand ", i, " has shape ",
                  dims_text({t->dims, static_cast<size_t>(t->rank)}),
                  ", which does not broadcast to ",
                  dims_text({output.dims, static_cast<size_t>(output.rank)}));
    }
  }
}

// Merges neighbouring output axes along which the same inputs advance.
Axes merge_axes(TclTensor* const* inputs, int n_inputs, const TclTensor& output) {
  Axes axes;
  for (int64_t axis = 0; axis < output.rank; ++axis) {
    if (output.dims[axis] == 1) continue;
    uint64_t walks = 0;
    for (int i = 0; i < n_inputs; ++i) {
      if (inputs[i] && inputs[i]->rank >= 0 && extent(*inputs[i], axis, output.rank) != 1) {
        walks |= uint64_t{1} << i;
      }
    }
    if (axes.rank > 0 && axes.walks[static_cast<size_t>(axes.rank - 1)] == walks) {
      axes.dims[static_cast<size_t>(axes.rank - 1)] *= output.dims[axis];
      continue;
    }
    if (axes.rank == kPointwiseRank) {
      throw_error(ErrorKind::NotImplemented, "elementwise operands broadcast along more than ",
                  kPointwiseRank, " independent dims");
    }
    axes.dims[static_cast<size_t>(axes.rank)] = output.dims[axis];
    axes.walks[static_cast<size_t>(axes.rank)] = walks;
    ++axes.rank;
  }
  return axes;
}

int64_t bytes_at(int64_t elements, int64_t bits) { return elements * bits / 8; }

template <class T>
void fill(void* out, const void* value, int64_t n) {
  T v;
  std::memcpy(&v, value, sizeof v);
  std::fill_n(static_cast<T*>(out), n, v);
}

struct Wide {
  uint64_t low, high;
};

void splat(void* out, const void* value, int64_t n, int64_t bits) {
  switch (bits) {
    case 8:
      return fill<uint8_t>(out, value, n);
    case 16:
      return fill<uint16_t>(out, value, n);
    case 32:
      return fill<uint32_t>(out, value, n);
    case 64:
      return fill<uint64_t>(out, value, n);
    default:
      return fill<Wide>(out, value, n);
  }
}

}  // namespace

namespace {

// Whether a short innermost row of the input repeats along a longer second dim.
bool repeats(const PointwiseWalk& walk, size_t input) {
  if (walk.rank < 2) return false;
  const auto last = static_cast<size_t>(walk.rank - 1);
  const auto& strides = walk.strides[input];
  return walk.dims[last] < kLongRow && strides[last] == 1 && strides[last - 1] == 0 &&
         walk.dims[last] * walk.dims[last - 1] >= kLongRow;
}

}  // namespace

void PointwiseProgram::walk(TclTensor* const* inputs, TclTensor* const* outputs,
                            PointwiseWalk& walk) const {
  const TclTensor& output = *outputs[0];
  check_operands(inputs, n_inputs, output);
  const Axes axes = merge_axes(inputs, n_inputs, output);
  walk.size = output.size;
  walk.rank = axes.rank;
  walk.dims = axes.dims;
  int64_t expanded = 0;
  for (int i = 0; i < n_inputs; ++i) {
    const auto slot = static_cast<size_t>(i);
    int64_t stride = 1;
    for (int64_t d = axes.rank - 1; d >= 0; --d) {
      const auto axis = static_cast<size_t>(d);
      const bool advances = (axes.walks[axis] >> i & 1) != 0;
      walk.strides[slot][axis] = advances ? stride : 0;
      if (advances) stride *= axes.dims[axis];
    }
    const int64_t size = inputs[i] && inputs[i]->rank >= 0 ? inputs[i]->size : 0;
    if (size == output.size) {
      walk.mode[slot] = PointwiseWalk::Mode::Dense;
    } else if (size <= 1) {
      walk.mode[slot] = PointwiseWalk::Mode::Scalar;
    } else if (axes.dims[static_cast<size_t>(axes.rank - 1)] == size &&
               walk.strides[slot][static_cast<size_t>(axes.rank - 1)] == 1) {
      walk.mode[slot] = PointwiseWalk::Mode::Periodic;
    } else if (repeats(walk, slot)) {
      walk.mode[slot] = PointwiseWalk::Mode::Repeated;
    } else {
      walk.mode[slot] = PointwiseWalk::Mode::Strided;
    }
    if (walk.mode[slot] != PointwiseWalk::Mode::Dense && size > 0) {
      const bool rows = walk.mode[slot] == PointwiseWalk::Mode::Periodic ||
                        walk.mode[slot] == PointwiseWalk::Mode::Repeated;
      expanded += rows ? 2 : 1;
    }
  }
  const int64_t element = std::max(widest / 8, int64_t{1});
  const int64_t tile = kTileBytes / (element * std::max<int64_t>(n_buffers + expanded, 1));
  walk.tile = std::clamp<int64_t>(tile / 64 * 64, kMinTile, kPointwiseTile);
  const auto n = static_cast<int64_t>(instructions.size());
  const int64_t unit = std::max<int64_t>(kUnit / std::max<int64_t>(n, 1), 2048);
  walk.unit = unit / walk.tile * walk.tile;
}

int64_t PointwiseProgram::work(const PointwiseWalk& walk) const {
  // About 0.1 ns per byte of vector work and per byte moved.
  const auto n = static_cast<int64_t>(instructions.size()) + 1;
  return walk.size * n * (widest / 8) / 20;
}

namespace {

// One range of one call: pointers of every register for the tile at hand.
class TileRun {
 public:
  TileRun(const PointwiseProgram& program, const PointwiseWalk& walk, const void* const* inputs,
          void* const* outputs, std::byte* tiles)
      : program_(program), walk_(walk), inputs_(inputs), outputs_(outputs) {
    slot_bytes_ = walk.tile * std::max(program.widest / 8, int64_t{1});
    next_ = tiles + program.n_buffers * slot_bytes_;
    for (size_t r = 0; r < program.registers.size(); ++r) place(r, tiles);
  }

  // `first_ahead`: elements by which input 0 lies further on than the output does.
  void run(int64_t start, int64_t count, int64_t first_ahead) {
    first_ahead_ = first_ahead;
    const int64_t row = walk_.rank > 0 ? walk_.dims[static_cast<size_t>(walk_.rank - 1)] : 1;
    const bool by_row = needs_rows_ && row >= kLongRow;
    const auto below = static_cast<size_t>(std::max<int64_t>(walk_.rank - 2, 0));
    const int64_t plane = needs_planes_ ? row * walk_.dims[below] : 0;
    for (int64_t at = start, end = start + count; at < end;) {
      int64_t n = std::min(walk_.tile, end - at);
      if (by_row) n = std::min(n, row - at % row);
      if (plane > 0) n = std::min(n, plane - at % plane);
      tile(at, n, by_row);
      at += n;
    }
  }

 private:
  // Registers that stay where they are for all tiles, and the buffers of broadcast inputs.
  void place(size_t r, std::byte* tiles) {
    const PointwiseProgram::Register& reg = program_.registers[r];
    const auto index = static_cast<size_t>(reg.index);
    at_[r] = nullptr;
    if (reg.kind == PointwiseProgram::Register::Kind::Buffer) {
      at_[r] = tiles + reg.index * slot_bytes_;
    } else if (reg.kind == PointwiseProgram::Register::Kind::Constant) {
      at_[r] = const_cast<std::byte*>(program_.constants[index].data());
    } else if (reg.kind == PointwiseProgram::Register::Kind::Input && inputs_[index]) {
      place_input(r, index, reg.bits);
    }
  }

  void place_input(size_t r, size_t input, int64_t bits) {
    switch (walk_.mode[input]) {
      case PointwiseWalk::Mode::Dense:
        break;
      case PointwiseWalk::Mode::Scalar:
        at_[r] = take(1);
        splat(at_[r], inputs_[input], walk_.tile, bits);
        break;
      case PointwiseWalk::Mode::Periodic: {
        const int64_t period = walk_.dims[static_cast<size_t>(walk_.rank - 1)];
        needs_rows_ = true;
        expansion_[input] = take(period < kLongRow ? 2 : 1);
        if (period < kLongRow) repeat(expansion_[input], inputs_[input], period, bits);
        break;
      }
      case PointwiseWalk::Mode::Repeated:
        needs_planes_ = true;
        expansion_[input] = take(2);
        break;
      case PointwiseWalk::Mode::Strided:
        needs_rows_ = true;
        expansion_[input] = take(1);
        break;
    }
  }

  std::byte* take(int64_t slots) {
    std::byte* taken = next_;
    next_ += slots * slot_bytes_;
    return taken;
  }

  // The row again and again, long enough for a tile that starts anywhere in it.
  void repeat(std::byte* out, const void* row, int64_t period, int64_t bits) const {
    const int64_t total = walk_.tile + std::min(period, walk_.tile);
    std::memcpy(out, row, static_cast<size_t>(bytes_at(std::min(period, total), bits)));
    for (int64_t done = period; done < total; done *= 2) {  // what is there, once more
      const int64_t n = std::min(done, total - done);
      std::memcpy(out + bytes_at(done, bits), out, static_cast<size_t>(bytes_at(n, bits)));
    }
  }

  void tile(int64_t start, int64_t n, bool by_row) {
    for (size_t i = 0; i < program_.input_register.size(); ++i) {
      if (program_.input_register[i] < 0 || !inputs_[i]) continue;
      const auto r = static_cast<size_t>(program_.input_register[i]);
      const int64_t bits = program_.registers[r].bits;
      const auto* base = static_cast<const std::byte*>(inputs_[i]);
      if (walk_.mode[i] == PointwiseWalk::Mode::Dense) {
        at_[r] = const_cast<std::byte*>(base) + bytes_at(start + (i == 0 ? first_ahead_ : 0), bits);
      } else if (walk_.mode[i] != PointwiseWalk::Mode::Scalar) {
        at_[r] = broadcast_tile(i, start, n, bits, by_row);
      }
    }
    for (size_t i = 0; i < program_.output_register.size(); ++i) {
      const auto r = static_cast<size_t>(program_.output_register[i]);
      if (program_.registers[r].kind == PointwiseProgram::Register::Kind::Output) {
        at_[r] = static_cast<std::byte*>(outputs_[i]) + bytes_at(start, program_.registers[r].bits);
      }
    }
    for (const PointwiseProgram::Instruction& step : program_.instructions) {
      step.run(at_[static_cast<size_t>(step.out)], operand(step, 0), operand(step, 1),
               operand(step, 2), n, program_.params.data() + step.params);
    }
    copy_out(start, n);
  }

  [[nodiscard]] const void* operand(const PointwiseProgram::Instruction& step, size_t i) const {
    return step.in[i] < 0 ? nullptr : at_[static_cast<size_t>(step.in[i])];
  }

  // Outputs whose value lies elsewhere: in a buffer that had to wait, in an input, in a constant.
  void copy_out(int64_t start, int64_t n) {
    for (size_t i = 0; i < program_.output_register.size(); ++i) {
      const auto r = static_cast<size_t>(program_.output_register[i]);
      const PointwiseProgram::Register& reg = program_.registers[r];
      if (reg.kind == PointwiseProgram::Register::Kind::Output &&
          reg.index == static_cast<int16_t>(i)) {
        continue;
      }
      std::byte* out = static_cast<std::byte*>(outputs_[i]) + bytes_at(start, reg.bits);
      std::memmove(out, at_[r], static_cast<size_t>((n * reg.bits + 7) / 8));
    }
  }

  std::byte* broadcast_tile(size_t input, int64_t start, int64_t n, int64_t bits, bool by_row) {
    const auto* base = static_cast<const std::byte*>(inputs_[input]);
    const auto last = static_cast<size_t>(walk_.rank - 1);
    const int64_t row = walk_.dims[last];
    if (walk_.mode[input] == PointwiseWalk::Mode::Periodic && !by_row) {
      return expansion_[input] + bytes_at(start % row, bits);
    }
    if (walk_.mode[input] == PointwiseWalk::Mode::Repeated) {
      const std::byte* from = base + bytes_at(offset(input, start - start % row), bits);
      if (splatted_[input] != from) repeat(expansion_[input], from, row, bits);
      splatted_[input] = from;
      return expansion_[input] + bytes_at(start % row, bits);
    }
    if (!by_row) return expand(input, start, n, bits);
    const std::byte* at = base + bytes_at(offset(input, start), bits);
    if (walk_.strides[input][last] != 0) return const_cast<std::byte*>(at);
    if (splatted_[input] != at) splat(expansion_[input], at, std::min(row, walk_.tile), bits);
    splatted_[input] = at;
    return expansion_[input];
  }

  // Element of the input that output element `flat` reads.
  [[nodiscard]] int64_t offset(size_t input, int64_t flat) const {
    int64_t at = 0;
    for (int64_t d = walk_.rank - 1; d >= 0; --d) {
      const auto axis = static_cast<size_t>(d);
      at += flat % walk_.dims[axis] * walk_.strides[input][axis];
      flat /= walk_.dims[axis];
    }
    return at;
  }

  // Copies the operand into a tile, element by output element.
  std::byte* expand(size_t input, int64_t start, int64_t n, int64_t bits) {
    switch (bits) {
      case 8:
        expand_as<uint8_t>(input, start, n);
        break;
      case 16:
        expand_as<uint16_t>(input, start, n);
        break;
      case 32:
        expand_as<uint32_t>(input, start, n);
        break;
      default:
        expand_as<uint64_t>(input, start, n);
    }
    return expansion_[input];
  }

  template <class T>
  void expand_as(size_t input, int64_t start, int64_t n) {
    const auto& strides = walk_.strides[input];
    const auto last = static_cast<size_t>(walk_.rank - 1);
    const int64_t row = walk_.dims[last];
    const int64_t step = strides[last];
    const auto* from = static_cast<const T*>(inputs_[input]);
    T* out = reinterpret_cast<T*>(expansion_[input]);
    std::array<int64_t, kPointwiseRank> index;
    for (int64_t d = walk_.rank - 1, flat = start; d >= 0; --d) {
      const auto axis = static_cast<size_t>(d);
      index[axis] = flat % walk_.dims[axis];
      flat /= walk_.dims[axis];
      from += index[axis] * strides[axis];
    }
    while (n > 0) {
      // Whole rows up to the end of the next outer dim go at once: rows may be very short.
      int64_t rows = 0;
      if (index[last] == 0 && last > 0) {
        rows = std::min(n / row, walk_.dims[last - 1] - index[last - 1]);
      }
      const int64_t outer = last > 0 ? strides[last - 1] : 0;
      for (int64_t r = 0; r < rows; ++r, from += outer) {
        for (int64_t i = 0; i < row; ++i) *out++ = from[i * step];
      }
      n -= rows * row;
      if (rows > 0) {
        index[last - 1] += rows;
      } else {
        const int64_t run = std::min(n, row - index[last]);
        for (int64_t i = 0; i < run; ++i) *out++ = from[i * step];
        from += run * step;
        n -= run;
        index[last] += run;
      }
      for (size_t axis = last; axis > 0; --axis) {
        if (index[axis] < walk_.dims[axis]) continue;
        from += strides[axis - 1] - index[axis] * strides[axis];
        index[axis] = 0;
        ++index[axis - 1];
      }
    }
  }

  const PointwiseProgram& program_;
  const PointwiseWalk& walk_;
  const void* const* inputs_;
  void* const* outputs_;
  int64_t slot_bytes_ = 0;
  int64_t first_ahead_ = 0;
  std::byte* next_ = nullptr;
  bool needs_rows_ = false;
  bool needs_planes_ = false;
  std::array<std::byte*, kPointwiseRegisters> at_;
  std::array<std::byte*, kPointwiseOperands> expansion_;
  std::array<const std::byte*, kPointwiseOperands> splatted_{};
};

// Bytes of stack that hold every tile buffer at the smallest tile; larger tiles were chosen to fit
// kTileBytes.
constexpr int64_t kStackBytes =
    std::max(kTileBytes, kMinTile * kSlotBytes * (2 * kPointwiseOperands + kPointwiseBuffers));

}  // namespace

void PointwiseProgram::run_range(const PointwiseWalk& walk, const void* const* inputs,
                                 void* const* outputs, const PointwiseRows& rows) const {
  if (rows.count <= 0) return;
  const int64_t ahead = rows.first_stride - rows.stride;
  if (instructions.size() == 1 && direct(walk)) {
    const Instruction& step = instructions[0];
    for (int64_t r = 0, start = rows.start; r < rows.rows; ++r, start += rows.stride) {
      std::array<const void*, 3> operands{};
      for (size_t i = 0; i < 3; ++i) {
        if (step.in[i] < 0) continue;
        const Register& reg = registers[static_cast<size_t>(step.in[i])];
        const auto* base = static_cast<const std::byte*>(inputs[reg.index]);
        operands[i] = base + bytes_at(start + (reg.index == 0 ? r * ahead : 0), reg.bits);
      }
      auto* out = static_cast<std::byte*>(outputs[0]);
      out += bytes_at(start, registers[static_cast<size_t>(step.out)].bits);
      step.run(out, operands[0], operands[1], operands[2], rows.count, params.data() + step.params);
    }
    return;
  }
  alignas(64) std::byte tiles[kStackBytes];
  TileRun tile_run(*this, walk, inputs, outputs, tiles);
  for (int64_t r = 0; r < rows.rows; ++r) {
    tile_run.run(rows.start + r * rows.stride, rows.count, r * ahead);
  }
}

// One instruction from dense inputs to the output: no tiles needed.
bool PointwiseProgram::direct(const PointwiseWalk& walk) const {
  const Instruction& step = instructions[0];
  if (registers[static_cast<size_t>(step.out)].kind != Register::Kind::Output) return false;
  if (output_register.size() != 1) return false;
  return std::all_of(step.in.begin(), step.in.end(), [&](int16_t r) {
    if (r < 0) return true;
    const Register& reg = registers[static_cast<size_t>(r)];
    return reg.kind == Register::Kind::Input &&
           walk.mode[static_cast<size_t>(reg.index)] == PointwiseWalk::Mode::Dense;
  });
}

void PointwiseProgram::run(const PointwiseWalk& walk, TclTensor* const* inputs,
                           TclTensor* const* outputs, int64_t begin, int64_t end) const {
  std::array<const void*, kPointwiseOperands> in;
  std::array<void*, kPointwiseOperands> out;
  for (size_t i = 0; i < static_cast<size_t>(n_inputs); ++i) {
    in[i] = inputs[i] ? inputs[i]->data : nullptr;
  }
  for (size_t i = 0; i < static_cast<size_t>(n_outputs); ++i) out[i] = outputs[i]->data;
  const int64_t start = begin * walk.unit;
  const int64_t stop = std::min(end * walk.unit, walk.size);
  run_range(walk, in.data(), out.data(), {start, stop - start});
}

}  // namespace tiercel
