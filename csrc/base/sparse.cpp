// Sparse tensors as dense ones: every index is checked.
#include "base/sparse.h"

#include <cstring>

namespace tiercel {

namespace {

// Row-major position of entry `i`.
int64_t position(const SparseTensor& sparse, std::span<const int64_t> index, int64_t elements) {
  int64_t flat = 0;
  for (size_t axis = 0; axis < index.size(); ++axis) {
    const int64_t extent = index.size() == 1 ? elements : sparse.dims[axis];
    if (index[axis] < 0 || index[axis] >= extent) {
      throw_error(ErrorKind::InvalidGraph, "a sparse tensor of shape ", dims_text(sparse.dims),
                  " has the index ", index[axis], "; expected less than ", extent);
    }
    flat = flat * extent + index[axis];
  }
  return flat;
}

}  // namespace

Tensor dense(const SparseTensor& sparse, int64_t& budget) {
  const DType dtype = sparse.values.dtype();
  const int64_t width = dtype_bits(dtype) / 8;
  if (width == 0 || dtype == DType::String || !sparse.indices.valid()) {
    throw_error(ErrorKind::InvalidGraph, "a sparse tensor of type ", dtype_name(dtype),
                " has no indices, or values that are not supported; give a dense one");
  }
  const int64_t elements = element_count(sparse.dims);
  const int64_t bytes = dtype_bytes(dtype, elements);
  if (bytes > budget) {
    throw_error(ErrorKind::InvalidGraph, "a sparse tensor of shape ", dims_text(sparse.dims),
                " would be ", bytes, " dense bytes; ", budget, " are left of ", kDenseBudget);
  }
  budget -= bytes;
  const std::vector<int64_t> indices = sparse.indices.as_i64();
  const auto count = static_cast<size_t>(sparse.values.size());
  const size_t depth = sparse.indices.rank() == 2 ? sparse.dims.size() : 1;
  if (indices.size() != count * depth) {
    throw_error(ErrorKind::InvalidGraph, "a sparse tensor has ", indices.size(), " indices for ",
                count, " values; expected ", depth, " for each");
  }
  if (elements == 0 && count > 0) {
    throw_error(ErrorKind::InvalidGraph, "a sparse tensor without elements has ", count, " values");
  }
  Tensor out(dtype, sparse.dims);
  std::memset(out.raw(), 0, static_cast<size_t>(bytes));
  for (size_t i = 0; i < count; ++i) {
    const int64_t at = position(sparse, std::span(indices).subspan(i * depth, depth), elements);
    std::memcpy(out.data<std::byte>() + at * width,
                sparse.values.data<std::byte>() + static_cast<int64_t>(i) * width,
                static_cast<size_t>(width));
  }
  return out;
}

}  // namespace tiercel
