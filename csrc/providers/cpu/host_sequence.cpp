// Sequences and optional values.
#include <algorithm>
#include <cstring>

#include "providers/cpu/host_call.h"

namespace tiercel {
namespace {

Value make_sequence(Sequence items) { return std::make_shared<Sequence>(std::move(items)); }

Value kept(const Value& value) { return value.tensor() ? Value(copy_of(*value.tensor())) : value; }

void sequence_empty(HostCall& call) { give(call, 0, make_sequence({})); }

void sequence_construct(HostCall& call) {
  Sequence items;
  for (size_t i = 0; i < call.inputs.size(); ++i) items.push_back(copy_of(tensor(call, i)));
  give(call, 0, make_sequence(std::move(items)));
}

// The position input, or `fallback`; negative counts from the end. `slots`: valid positions.
int64_t position(const HostCall& call, size_t input, int64_t slots, int64_t length,
                 int64_t fallback) {
  if (!has_input(call, input)) return fallback;
  const std::vector<int64_t> given = tensor(call, input).as_i64();
  if (given.size() != 1) host_fail(call, concat("position has ", given.size(), " elements"));
  const int64_t at = given[0] < 0 ? given[0] + length : given[0];
  if (at < 0 || at >= slots) {
    host_fail(call, concat("position ", given[0], " is outside a sequence of ", length));
  }
  return at;
}

void sequence_insert(HostCall& call) {
  Sequence items = sequence(call, 0);
  const auto length = static_cast<int64_t>(items.size());
  const int64_t at = position(call, 2, length + 1, length, length);
  const Tensor& added = tensor(call, 1);
  const Tensor* first = items.empty() ? nullptr : items.front().tensor();
  if (first && first->dtype() != added.dtype()) {
    host_fail(call, concat("a tensor(", std::string(dtype_name(added.dtype())),
                           ") does not go into a sequence of tensor(",
                           std::string(dtype_name(first->dtype())), ")"));
  }
  items.insert(items.begin() + at, copy_of(added));
  give(call, 0, make_sequence(std::move(items)));
}

void sequence_at(HostCall& call) {
  const Sequence& items = sequence(call, 0);
  const auto length = static_cast<int64_t>(items.size());
  if (!has_input(call, 1)) host_fail(call, "position is missing");
  give(call, 0, kept(items[static_cast<size_t>(position(call, 1, length, length, 0))]));
}

void sequence_erase(HostCall& call) {
  Sequence items = sequence(call, 0);
  const auto length = static_cast<int64_t>(items.size());
  if (items.empty()) host_fail(call, "the sequence is empty; there is nothing to erase");
  items.erase(items.begin() + position(call, 1, length, length, length - 1));
  give(call, 0, make_sequence(std::move(items)));
}

void sequence_length(HostCall& call) {
  give(call, 0, Tensor::scalar_i64(static_cast<int64_t>(sequence(call, 0).size())));
}

// Rows of `count` elements: where they begin and how far apart they lie, in elements.
struct Rows {
  const Tensor& tensor;
  int64_t first, step;
};

template <class T>
void copy_words(void* to, int64_t to_step, const void* from, int64_t from_step, int64_t rows) {
  auto* out = static_cast<T*>(to);
  const auto* in = static_cast<const T*>(from);
  for (int64_t i = 0; i < rows; ++i) out[i * to_step] = in[i * from_step];
}

// Copies rows of `count` elements; strings are objects.
void copy_rows(const Rows& to, const Rows& from, int64_t count, int64_t rows) {
  if (count == 0) return;
  if (to.tensor.dtype() == DType::String) {
    for (int64_t i = 0; i < rows; ++i) {
      std::copy_n(from.tensor.data<std::string>() + from.first + i * from.step, count,
                  to.tensor.data<std::string>() + to.first + i * to.step);
    }
    return;
  }
  const int64_t width = dtype_bits(to.tensor.dtype()) / 8;
  auto* out = to.tensor.data<std::byte>() + to.first * width;
  const auto* in = from.tensor.data<std::byte>() + from.first * width;
  if (count == 1 && width == 8) return copy_words<uint64_t>(out, to.step, in, from.step, rows);
  if (count == 1 && width == 4) return copy_words<uint32_t>(out, to.step, in, from.step, rows);
  if (count == 1 && width == 2) return copy_words<uint16_t>(out, to.step, in, from.step, rows);
  if (count == 1 && width == 1) return copy_words<uint8_t>(out, to.step, in, from.step, rows);
  for (int64_t i = 0; i < rows; ++i) {
    std::memcpy(out + i * to.step * width, in + i * from.step * width,
                static_cast<size_t>(count * width));
  }
}

void expect_whole_bytes(const HostCall& call, const Tensor& t) {
  if (dtype_bits(t.dtype()) % 8 == 0) return;
  throw_error(ErrorKind::NotImplemented, where(call.node), ": elements of tensor(",
              std::string(dtype_name(t.dtype())), ") are not split or joined");
}

int64_t span_of(const Dims& dims, int64_t from, int64_t to) {
  return element_count(
      std::span(dims).subspan(static_cast<size_t>(from), static_cast<size_t>(to - from)));
}

void concat_from_sequence(HostCall& call) {
  const Sequence& items = sequence(call, 0);
  if (items.empty()) host_fail(call, "the sequence is empty");
  const bool stack = attribute<int64_t>(call.node, "new_axis", 0) != 0;
  const Tensor* first = items.front().tensor();
  if (!first) host_fail(call, "the sequence holds no tensors");
  expect_whole_bytes(call, *first);
  const int64_t rank = first->rank() + (stack ? 1 : 0);
  const int64_t axis = axis_within(call, attribute<int64_t>(call.node, "axis", 0), rank);
  Dims dims = first->dims();
  int64_t along = 0;
  for (const Value& item : items) {
    const Tensor* t = item.tensor();
    const bool fits = t && t->dtype() == first->dtype() && t->rank() == first->rank();
    Dims got = fits ? t->dims() : Dims{};
    if (fits && !stack) {
      along += got[static_cast<size_t>(axis)];
      got[static_cast<size_t>(axis)] = dims[static_cast<size_t>(axis)];
    }
    if (!fits || got != dims) {
      host_fail(call, concat("elements of shape ", dims_text(dims), " and ",
                             t ? dims_text(t->dims()) : "?", " do not join along axis ", axis));
    }
  }
  if (stack) dims.insert(dims.begin() + axis, static_cast<int64_t>(items.size()));
  if (!stack) dims[static_cast<size_t>(axis)] = along;
  Tensor out(first->dtype(), dims);
  const int64_t outer = span_of(dims, 0, axis);
  const int64_t row = span_of(dims, axis, rank);
  constexpr int64_t kTogether = 1024;  // rows whose lines of the output stay in the cache
  for (int64_t first = 0; first < outer; first += kTogether) {
    const int64_t rows = std::min(kTogether, outer - first);
    int64_t column = 0;
    for (const Value& item : items) {
      const Tensor& t = *item.tensor();
      const int64_t width = t.size() / outer;
      copy_rows({out, first * row + column, row}, {t, first * width, width}, width, rows);
      column += width;
    }
  }
  give(call, 0, std::move(out));
}

// How long each part is along the axis.
std::vector<int64_t> part_lengths(const HostCall& call, int64_t extent) {
  if (!has_input(call, 1)) return std::vector<int64_t>(static_cast<size_t>(extent), 1);
  const Tensor& split = tensor(call, 1);
  const std::vector<int64_t> given = split.as_i64();
  if (split.rank() > 0) {
    int64_t sum = 0;
    for (int64_t n : given) {
      if (n < 0 || n > extent) host_fail(call, concat("split holds ", n));
      sum += n;
    }
    if (sum != extent) host_fail(call, concat("split adds up to ", sum, "; expected ", extent));
    return given;
  }
  if (given[0] < 1) host_fail(call, concat("split is ", given[0], "; expected 1 or more"));
  std::vector<int64_t> lengths;
  for (int64_t at = 0; at < extent; at += given[0]) {
    lengths.push_back(std::min(given[0], extent - at));
  }
  return lengths;
}

void split_to_sequence(HostCall& call) {
  const Tensor& x = tensor(call, 0);
  expect_whole_bytes(call, x);
  const int64_t axis = axis_within(call, attribute<int64_t>(call.node, "axis", 0), x.rank());
  const int64_t extent = x.dims()[static_cast<size_t>(axis)];
  const bool drop = !has_input(call, 1) && attribute<int64_t>(call.node, "keepdims", 1) == 0;
  const int64_t outer = span_of(x.dims(), 0, axis), inner = span_of(x.dims(), axis + 1, x.rank());
  Sequence items;
  int64_t at = 0;
  for (int64_t length : part_lengths(call, extent)) {
    Dims dims = x.dims();
    dims[static_cast<size_t>(axis)] = length;
    Tensor part(x.dtype(), dims);
    copy_rows({part, 0, length * inner}, {x, at * inner, extent * inner}, length * inner, outer);
    if (drop) dims.erase(dims.begin() + axis);
    items.push_back(drop ? part.reshaped(dims) : part);
    at += length;
  }
  give(call, 0, make_sequence(std::move(items)));
}

void optional_value(HostCall& call) {
  give(call, 0, has_input(call, 0) ? kept(*call.inputs[0]) : Value());
}

void optional_has_element(HostCall& call) {
  const bool present = has_input(call, 0);
  give(call, 0, Tensor::of<bool>(DType::Bool, {}, std::span(&present, 1)));
}

void optional_get_element(HostCall& call) {
  if (!has_input(call, 0)) host_fail(call, "the optional value is empty");
  give(call, 0, kept(*call.inputs[0]));
}

void identity(HostCall& call) {
  give(call, 0, call.inputs.empty() || !call.inputs[0] ? Value() : kept(*call.inputs[0]));
}

constexpr HostOp kSequence[] = {
    {"", "SequenceEmpty", sequence_empty},
    {"", "SequenceConstruct", sequence_construct},
    {"", "SequenceInsert", sequence_insert},
    {"", "SequenceAt", sequence_at},
    {"", "SequenceErase", sequence_erase},
    {"", "SequenceLength", sequence_length},
    {"", "ConcatFromSequence", concat_from_sequence},
    {"", "SplitToSequence", split_to_sequence},
    {"", "Optional", optional_value},
    {"", "OptionalHasElement", optional_has_element},
    {"", "OptionalGetElement", optional_get_element},
    {"", "Identity", identity},
};

}  // namespace

std::span<const HostOp> host_sequence_ops() { return kSequence; }

}  // namespace tiercel
