// Unique over texts and complex numbers: slices in order, real parts before imaginary ones.
#include <algorithm>
#include <complex>
#include <numeric>

#include "providers/cpu/host_call.h"

namespace tiercel {
namespace {

template <class T>
bool comes_before(const T& a, const T& b) {
  return a < b;
}

template <class T>
bool comes_before(const std::complex<T>& a, const std::complex<T>& b) {
  return a.real() != b.real() ? a.real() < b.real() : a.imag() < b.imag();
}

// A tensor as slices along an axis: `outer` blocks of `count` slices of `inner` elements.
struct Slices {
  int64_t outer = 1, count = 1, inner = 1;

  [[nodiscard]] int64_t at(int64_t slice, int64_t i) const {
    return (i / inner * count + slice) * inner + i % inner;
  }
};

Slices slices_of(const Tensor& x, std::optional<int64_t> axis) {
  if (!axis) return {1, x.size(), 1};
  Slices s{.count = x.dims()[static_cast<size_t>(*axis)]};
  for (int64_t a = 0; a < x.rank(); ++a) {
    if (a < *axis) s.outer *= x.dims()[static_cast<size_t>(a)];
    if (a > *axis) s.inner *= x.dims()[static_cast<size_t>(a)];
  }
  return s;
}

struct Groups {
  std::vector<int64_t> first, inverse, counts;
};

// Equal slices are one group; groups in the order of their slices, or of first occurrence.
template <class T>
Groups grouped(const T* data, const Slices& s, bool sorted) {
  const int64_t length = s.outer * s.inner;
  const auto before = [&](int64_t a, int64_t b) {
    for (int64_t i = 0; i < length; ++i) {
      const T& x = data[s.at(a, i)];
      const T& y = data[s.at(b, i)];
      if (comes_before(x, y)) return true;
      if (comes_before(y, x)) return false;
    }
    return false;
  };
  std::vector<int64_t> order(static_cast<size_t>(s.count));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), before);
  Groups groups{.inverse = std::vector<int64_t>(order.size())};
  for (size_t i = 0; i < order.size(); ++i) {
    if (i == 0 || before(order[i - 1], order[i])) {
      groups.first.push_back(order[i]);
      groups.counts.push_back(0);
    }
    ++groups.counts.back();
    groups.inverse[static_cast<size_t>(order[i])] = static_cast<int64_t>(groups.first.size()) - 1;
  }
  if (sorted) return groups;
  std::vector<size_t> by_first(groups.first.size());
  std::iota(by_first.begin(), by_first.end(), 0);
  std::sort(by_first.begin(), by_first.end(),
            [&](size_t a, size_t b) { return groups.first[a] < groups.first[b]; });
  Groups out;
  std::vector<int64_t> place(by_first.size());
  for (size_t i = 0; i < by_first.size(); ++i) {
    out.first.push_back(groups.first[by_first[i]]);
    out.counts.push_back(groups.counts[by_first[i]]);
    place[by_first[i]] = static_cast<int64_t>(i);
  }
  for (int64_t group : groups.inverse) out.inverse.push_back(place[static_cast<size_t>(group)]);
  return out;
}

template <class T>
void unique_of(HostCall& call) {
  const Tensor& x = tensor(call, 0);
  std::optional<int64_t> axis;
  if (const auto* given = call.node.attributes.get<int64_t>("axis")) {
    axis = axis_within(call, *given, x.rank());
  }
  const Slices from = slices_of(x, axis);
  const bool sorted = attribute<int64_t>(call.node, "sorted", 1) != 0;
  const Groups groups = grouped(x.data<T>(), from, sorted);
  Slices to = from;
  to.count = static_cast<int64_t>(groups.first.size());
  Dims dims = {to.count};
  if (axis) {
    dims = x.dims();
    dims[static_cast<size_t>(*axis)] = to.count;
  }
  Tensor y(x.dtype(), dims);
  for (int64_t slice = 0; slice < to.count; ++slice) {
    const int64_t first = groups.first[static_cast<size_t>(slice)];
    for (int64_t i = 0; i < from.outer * from.inner; ++i) {
      y.data<T>()[to.at(slice, i)] = x.data<T>()[from.at(first, i)];
    }
  }
  give(call, 0, std::move(y));
  give(call, 1, Tensor::vector_i64(groups.first));
  give(call, 2, Tensor::vector_i64(groups.inverse));
  give(call, 3, Tensor::vector_i64(groups.counts));
}

constexpr HostOp kUnique[] = {
    {"", "Unique", unique_of<std::string>, "T=string"},
    {"", "Unique", unique_of<std::complex<float>>, "T=complex64"},
    {"", "Unique", unique_of<std::complex<double>>, "T=complex128"},
};

}  // namespace

std::span<const HostOp> host_unique_ops() { return kUnique; }

}  // namespace tiercel
