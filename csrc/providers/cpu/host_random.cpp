// Random numbers. A node draws from its own stream: one that its seed fixes, or a new one for every
// session.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <numbers>
#include <random>

#include "passes/edit.h"
#include "providers/cpu/host_call.h"
#include "providers/cpu/provider.h"

namespace tiercel {
namespace {

// From set_random_seed: streams that are opened in the same order afterwards are the same.
std::atomic<bool> seed_given{false};
std::atomic<uint64_t> next_seed{0};

struct Stream {
  uint64_t seed = 0;
  mutable std::atomic<uint64_t> runs = 0;  // every run draws other numbers
};

std::shared_ptr<const void> open_stream(const Graph&, const Node& node) {
  auto stream = std::make_shared<Stream>();
  if (const auto* seed = node.attributes.get<double>("seed")) {
    const double value = *seed;
    std::memcpy(&stream->seed, &value, sizeof value);
  } else if (seed_given) {
    stream->seed = next_seed.fetch_add(1);
  } else {
    std::random_device device;
    stream->seed = static_cast<uint64_t>(device()) << 32 | device();
  }
  return stream;
}

// SplitMix64: the i-th number of a stream by hashing i.
class Draws {
 public:
  explicit Draws(const HostCall& call) {
    const auto& stream = *static_cast<const Stream*>(call.state);
    state_ = mixed(stream.seed + mixed(stream.runs.fetch_add(1)));
  }
  // In [0, 1), with 53 random bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  // Box and Muller's method.
  double normal() {
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

 private:
  static uint64_t mixed(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
  }
  uint64_t next() { return mixed(state_ += 0x9e3779b97f4a7c15U); }
  uint64_t state_;
};

DType dtype_or(const HostCall& call, DType fallback) {
  const auto number = attribute<int64_t>(call.node, "dtype", static_cast<int64_t>(fallback));
  if (!dtype_is_valid(number)) host_fail(call, concat("dtype ", number, " is no element type"));
  return static_cast<DType>(number);
}

// Numbers from `draw`, rounded to the output's type.
template <class Draw>
void fill(HostCall& call, DType dtype, const Dims& dims, Draw draw) {
  const auto n = static_cast<size_t>(element_count(dims));
  if (dtype == DType::Float) {
    Tensor y(dtype, dims);
    for (size_t i = 0; i < n; ++i) y.data<float>()[i] = static_cast<float>(draw());
    return give(call, 0, std::move(y));
  }
  std::vector<double> numbers(n);
  for (double& number : numbers) number = draw();
  give(call, 0, make_tensor(dtype, dims, numbers));
}

void normal(HostCall& call, DType dtype, const Dims& dims) {
  Draws draws(call);
  const double mean = attribute<double>(call.node, "mean", 0);
  const double scale = attribute<double>(call.node, "scale", 1);
  fill(call, dtype, dims, [&] { return mean + scale * draws.normal(); });
}

void uniform(HostCall& call, DType dtype, const Dims& dims) {
  Draws draws(call);
  const double low = attribute<double>(call.node, "low", 0);
  const double high = attribute<double>(call.node, "high", 1);
  fill(call, dtype, dims, [&] { return low + (high - low) * draws.uniform(); });
}

Dims shape_of_node(const HostCall& call) {
  return attribute<std::vector<int64_t>>(call.node, "shape", {});
}

void random_normal(HostCall& call) {
  normal(call, dtype_or(call, DType::Float), shape_of_node(call));
}

void random_uniform(HostCall& call) {
  uniform(call, dtype_or(call, DType::Float), shape_of_node(call));
}

void random_normal_like(HostCall& call) {
  const Tensor& x = tensor(call, 0);
  normal(call, dtype_or(call, x.dtype()), x.dims());
}

void random_uniform_like(HostCall& call) {
  const Tensor& x = tensor(call, 0);
  uniform(call, dtype_or(call, x.dtype()), x.dims());
}

double probability(const HostCall& call, const Tensor& x, int64_t i) {
  const auto value = element(x, i);
  if (!value) host_fail(call, "the input holds no real numbers");
  return *value;
}

template <class T>
Tensor coins(const std::vector<bool>& heads, DType dtype, const Dims& dims) {
  Tensor y(dtype, dims);
  for (size_t i = 0; i < heads.size(); ++i) y.data<T>()[i] = static_cast<T>(heads[i] ? 1 : 0);
  return y;
}

void bernoulli(HostCall& call) {
  Draws draws(call);
  const Tensor& x = tensor(call, 0);
  const DType dtype = dtype_or(call, x.dtype());
  std::vector<bool> heads(static_cast<size_t>(x.size()));
  for (size_t i = 0; i < heads.size(); ++i) {
    heads[i] = draws.uniform() < probability(call, x, static_cast<int64_t>(i));
  }
  if (dtype_is_float(dtype)) {
    const std::vector<double> numbers(heads.begin(), heads.end());
    return give(call, 0, make_tensor(dtype, x.dims(), numbers));
  }
  switch (dtype_bits(dtype)) {
    case 8:
      return give(call, 0, coins<uint8_t>(heads, dtype, x.dims()));
    case 16:
      return give(call, 0, coins<uint16_t>(heads, dtype, x.dims()));
    case 32:
      return give(call, 0, coins<uint32_t>(heads, dtype, x.dims()));
    case 64:
      return give(call, 0, coins<uint64_t>(heads, dtype, x.dims()));
    default:
      host_fail(call, "dtype is not a number or bool");
  }
}

// Every row holds logarithms of unnormalised probabilities.
void multinomial(HostCall& call) {
  Draws draws(call);
  const Tensor& x = tensor(call, 0);
  if (x.rank() != 2 || x.dims()[1] < 1) {
    host_fail(call, concat("input has shape ", dims_text(x.dims()), "; expected [batch, classes]"));
  }
  const int64_t rows = x.dims()[0], classes = x.dims()[1];
  const auto samples = attribute<int64_t>(call.node, "sample_size", 1);
  const DType dtype = dtype_or(call, DType::Int32);
  Tensor y(dtype, {rows, samples});
  std::vector<double> sums(static_cast<size_t>(classes));
  for (int64_t r = 0; r < rows; ++r) {
    double top = probability(call, x, r * classes), total = 0;
    for (int64_t c = 0; c < classes; ++c)
      top = std::max(top, probability(call, x, r * classes + c));
    for (int64_t c = 0; c < classes; ++c) {
      total += std::exp(probability(call, x, r * classes + c) - top);
      sums[static_cast<size_t>(c)] = total;
    }
    for (int64_t s = 0; s < samples; ++s) {
      const auto found = std::upper_bound(sums.begin(), sums.end(), draws.uniform() * total);
      const auto at = std::min<int64_t>(found - sums.begin(), classes - 1);
      if (dtype == DType::Int32) y.data<int32_t>()[r * samples + s] = static_cast<int32_t>(at);
      if (dtype == DType::Int64) y.data<int64_t>()[r * samples + s] = at;
    }
  }
  give(call, 0, std::move(y));
}

constexpr HostOp kRandom[] = {
    {"", "RandomNormal", random_normal, "", open_stream},
    {"", "RandomUniform", random_uniform, "", open_stream},
    {"", "RandomNormalLike", random_normal_like, "", open_stream},
    {"", "RandomUniformLike", random_uniform_like, "", open_stream},
    {"", "Bernoulli", bernoulli, "", open_stream},
    {"", "Multinomial", multinomial, "", open_stream},
};

}  // namespace

void set_random_seed(int64_t seed) {
  next_seed.store(static_cast<uint64_t>(seed) * 0x9e3779b97f4a7c15U);
  seed_given.store(true);
}

std::span<const HostOp> host_random_ops() { return kRandom; }

}  // namespace tiercel
