// Operators that choose or compare elements, for complex numbers and strings, which no kernel
// holds.
#include <algorithm>
#include <cmath>
#include <complex>
#include <numeric>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>

#include "providers/cpu/host_call.h"

namespace tiercel {
namespace {

int order(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return static_cast<int>(std::isnan(a)) - std::isnan(b);
  return static_cast<int>(a > b) - static_cast<int>(a < b);
}
// As numpy sorts: by real part, then imaginary part, NaN last.
template <class T>
int order(const std::complex<T>& a, const std::complex<T>& b) {
  const int real = order(static_cast<double>(a.real()), static_cast<double>(b.real()));
  return real != 0 ? real : order(static_cast<double>(a.imag()), static_cast<double>(b.imag()));
}
int order(const std::string& a, const std::string& b) { return a.compare(b); }

template <class T>
void non_zero(HostCall& call) {
  const Tensor& x = tensor(call, 0);
  const auto rank = static_cast<size_t>(x.rank());
  std::vector<std::vector<int64_t>> found(rank);
  int64_t count = 0;
  for (int64_t flat = 0; flat < x.size(); ++flat) {
    if (x.data<T>()[flat] == T()) continue;
    ++count;
    int64_t rest = flat;
    for (size_t axis = rank; axis-- > 0;) {
      found[axis].push_back(rest % x.dims()[axis]);
      rest /= x.dims()[axis];
    }
  }
  Tensor y(DType::Int64, {x.rank(), count});
  auto* out = y.data<int64_t>();
  for (const auto& coordinates : found)
    out = std::copy(coordinates.begin(), coordinates.end(), out);
  give(call, 0, std::move(y));
}

// The elements as `count` slices along an axis: element k of slice i.
struct Slices {
  int64_t count, outer, inner;
  [[nodiscard]] int64_t length() const { return outer * inner; }
  [[nodiscard]] int64_t at(int64_t i, int64_t k) const {
    return (k / inner * count + i) * inner + k % inner;
  }
};

Slices slices_of(const HostCall& call, const Tensor& x) {
  const auto* given = call.node.attributes.get<int64_t>("axis");
  if (given == nullptr) return {x.size(), 1, 1};
  const auto axis = static_cast<size_t>(axis_within(call, *given, x.rank()));
  const std::span<const int64_t> dims = x.dims();
  return {dims[axis], element_count(dims.first(axis)), element_count(dims.subspan(axis + 1))};
}

// What is equal: the first of it and how many.
struct Same {
  int64_t first, count;
};

// Equal strings, ordered by value; `group_of` becomes the group of each.
std::vector<Same> groups_of_strings(std::span<const std::string> x,
                                    std::vector<int64_t>& group_of) {
  std::unordered_map<std::string_view, int64_t> known;
  std::vector<Same> found;
  for (size_t i = 0; i < x.size(); ++i) {
    const auto [at, added] = known.try_emplace(x[i], static_cast<int64_t>(found.size()));
    if (added) found.push_back({static_cast<int64_t>(i), 0});
    ++found[static_cast<size_t>(at->second)].count;
    group_of[i] = at->second;
  }
  std::vector<int64_t> sorted(found.size()), rank(found.size());
  std::iota(sorted.begin(), sorted.end(), int64_t{0});
  std::ranges::sort(sorted, {}, [&](int64_t g) -> const std::string& {
    return x[static_cast<size_t>(found[static_cast<size_t>(g)].first)];
  });
  std::vector<Same> groups;
  for (int64_t g : sorted) {
    rank[static_cast<size_t>(g)] = static_cast<int64_t>(groups.size());
    groups.push_back(found[static_cast<size_t>(g)]);
  }
  for (int64_t& g : group_of) g = rank[static_cast<size_t>(g)];
  return groups;
}

// Equal slices, ordered by value.
template <class T>
std::vector<Same> groups_of_slices(const T* from, const Slices& slices,
                                   std::vector<int64_t>& group_of) {
  const auto compare = [&](int64_t i, int64_t j) {
    for (int64_t k = 0; k < slices.length(); ++k) {
      const int found = order(from[slices.at(i, k)], from[slices.at(j, k)]);
      if (found != 0) return found;
    }
    return 0;
  };
  std::vector<int64_t> sorted(static_cast<size_t>(slices.count));
  std::iota(sorted.begin(), sorted.end(), int64_t{0});
  std::ranges::stable_sort(sorted, [&](int64_t i, int64_t j) { return compare(i, j) < 0; });
  std::vector<Same> groups;
  for (size_t n = 0; n < sorted.size(); ++n) {
    if (n == 0 || compare(sorted[n - 1], sorted[n]) != 0) groups.push_back({sorted[n], 0});
    ++groups.back().count;
    group_of[static_cast<size_t>(sorted[n])] = static_cast<int64_t>(groups.size()) - 1;
  }
  return groups;
}

template <class T>
void unique(HostCall& call) {
  const Tensor& x = tensor(call, 0);
  const T* from = x.data<T>();
  const Slices slices = slices_of(call, x);
  std::vector<int64_t> group_of(static_cast<size_t>(slices.count));
  std::vector<Same> groups;
  if constexpr (std::is_same_v<T, std::string>) {
    if (slices.length() == 1) groups = groups_of_strings({from, group_of.size()}, group_of);
  }
  if (groups.empty()) groups = groups_of_slices(from, slices, group_of);
  std::vector<int64_t> places(groups.size());  // in which order the groups are given
  std::iota(places.begin(), places.end(), int64_t{0});
  if (attribute<int64_t>(call.node, "sorted", 1) == 0) {
    std::ranges::sort(places, {}, [&](int64_t g) { return groups[static_cast<size_t>(g)].first; });
  }
  const auto n = static_cast<int64_t>(groups.size());
  Dims dims = {n};
  if (const auto* axis = call.node.attributes.get<int64_t>("axis")) {
    dims = x.dims();
    dims[static_cast<size_t>(axis_within(call, *axis, x.rank()))] = n;
  }
  Tensor y(x.dtype(), dims), firsts(DType::Int64, {n}), counts(DType::Int64, {n});
  Tensor inverse(DType::Int64, {slices.count});
  const Slices made{n, slices.outer, slices.inner};
  std::vector<int64_t> rank_of(groups.size());
  for (int64_t i = 0; i < n; ++i) {
    const int64_t g = places[static_cast<size_t>(i)];
    const Same& group = groups[static_cast<size_t>(g)];
    rank_of[static_cast<size_t>(g)] = i;
    firsts.data<int64_t>()[i] = group.first;
    counts.data<int64_t>()[i] = group.count;
    for (int64_t k = 0; k < made.length(); ++k) {
      y.data<T>()[made.at(i, k)] = from[slices.at(group.first, k)];
    }
  }
  for (size_t i = 0; i < group_of.size(); ++i) {
    inverse.data<int64_t>()[i] = rank_of[static_cast<size_t>(group_of[i])];
  }
  give(call, 0, std::move(y));
  give(call, 1, std::move(firsts));
  give(call, 2, std::move(inverse));
  give(call, 3, std::move(counts));
}

template <class T>
void where(HostCall& call) {
  const Tensor &choice = tensor(call, 0), &a = tensor(call, 1), &b = tensor(call, 2);
  Tensor y(a.dtype(), broadcast(broadcast(choice.dims(), a.dims()), b.dims()));
  const auto element = [&](const Tensor& t, int64_t flat) {
    int64_t index = 0, stride = 1;
    for (int64_t axis = 1; axis <= y.rank(); ++axis) {
      const auto own = static_cast<size_t>(t.rank() - axis);
      const int64_t extent = y.dims()[static_cast<size_t>(y.rank() - axis)];
      if (axis <= t.rank() && t.dims()[own] != 1) index += flat % extent * stride;
      if (axis <= t.rank()) stride *= t.dims()[own];
      flat /= extent;
    }
    return index;
  };
  for (int64_t flat = 0; flat < y.size(); ++flat) {
    const Tensor& taken = choice.data<bool>()[element(choice, flat)] ? a : b;
    y.data<T>()[flat] = taken.data<T>()[element(taken, flat)];
  }
  give(call, 0, std::move(y));
}

template <class T>
void real_parts(HostCall& call) {
  const Tensor& x = tensor(call, 0);
  const DType part = x.dtype() == DType::Complex64 ? DType::Float : DType::Double;
  Tensor real(part, x.dims()), imaginary(part, x.dims());
  for (int64_t i = 0; i < x.size(); ++i) {
    real.data<T>()[i] = x.data<std::complex<T>>()[i].real();
    imaginary.data<T>()[i] = x.data<std::complex<T>>()[i].imag();
  }
  give(call, 0, std::move(real));
  give(call, 1, std::move(imaginary));
}

template <class T>
void of_parts(HostCall& call) {
  const Tensor &real = tensor(call, 0), &imaginary = tensor(call, 1);
  Tensor y(real.dtype() == DType::Float ? DType::Complex64 : DType::Complex128, real.dims());
  for (int64_t i = 0; i < y.size(); ++i) {
    y.data<std::complex<T>>()[i] = {real.data<T>()[i], imaginary.data<T>()[i]};
  }
  give(call, 0, std::move(y));
}

using Single = std::complex<float>;
using Twice = std::complex<double>;

constexpr HostOp kComplex[] = {
    {"", "NonZero", non_zero<Single>, "T=complex64"},
    {"", "NonZero", non_zero<Twice>, "T=complex128"},
    {"", "NonZero", non_zero<std::string>, "T=string"},
    {"", "Unique", unique<Single>, "T=complex64"},
    {"", "Unique", unique<Twice>, "T=complex128"},
    {"", "Unique", unique<std::string>, "T=string"},
    {"", "Where", where<Single>, "T=complex64"},
    {"", "Where", where<Twice>, "T=complex128"},
    {"", "Where", where<std::string>, "T=string"},
    {"tiercel", "RealParts", real_parts<float>, "T=complex64"},
    {"tiercel", "RealParts", real_parts<double>, "T=complex128"},
    {"tiercel", "OfRealParts", of_parts<float>, "P=float"},
    {"tiercel", "OfRealParts", of_parts<double>, "P=double"},
};

}  // namespace

std::span<const HostOp> host_complex_ops() { return kComplex; }

}  // namespace tiercel
