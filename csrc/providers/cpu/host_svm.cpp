// Support vector machines: kernels over support vectors, pairwise votes, pairwise probabilities.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "providers/cpu/host_call.h"
#include "providers/cpu/post_transform.h"

namespace tiercel {
namespace {

struct Machine {
  enum class Kernel { Linear, Poly, Rbf, Sigmoid } kernel = Kernel::Linear;
  float gamma = 0, coef0 = 0, degree = 0;
  std::vector<float> vectors, coefficients, rho, prob_a, prob_b;
  std::vector<int64_t> per_class, first;  // support vectors of each class and where they begin
  int64_t vector_count = 0, features = 0, classes = 0;
  PostTransform post = PostTransform::None;
  bool one_class = false;
  std::vector<int64_t> numbers;
  std::vector<std::string> names;
  bool positive = true;  // no coefficient is negative
};

[[noreturn]] void fail(const Node& node, const std::string& what) {
  throw_error(ErrorKind::InvalidGraph, where(node), ": ", what);
}

std::vector<float> floats(const Node& node, std::string_view name) {
  const auto* found = list<double>(node, name);
  return found ? std::vector<float>(found->begin(), found->end()) : std::vector<float>{};
}

void read_kernel(const Node& node, Machine& m) {
  static constexpr std::string_view kNames[] = {"LINEAR", "POLY", "RBF", "SIGMOID"};
  const auto name = attribute<std::string>(node, "kernel_type", "LINEAR");
  const auto* found = std::find(std::begin(kNames), std::end(kNames), name);
  if (found == std::end(kNames)) fail(node, concat("unknown kernel_type ", name));
  m.kernel = static_cast<Machine::Kernel>(found - std::begin(kNames));
  const auto params = floats(node, "kernel_params");
  if (!params.empty() && params.size() != 3) fail(node, "kernel_params has not 3 entries");
  if (!params.empty()) m.gamma = params[0], m.coef0 = params[1], m.degree = params[2];
  m.coefficients = floats(node, "coefficients");
  m.vectors = floats(node, "support_vectors");
  m.rho = floats(node, "rho");
  m.post = post_transform_of(attribute<std::string>(node, "post_transform", "NONE"));
  if (m.post == PostTransform::Unknown) fail(node, "unknown post_transform");
  for (float c : m.coefficients) m.positive = m.positive && c >= 0;
}

std::shared_ptr<const void> prepare_regressor(const Graph&, const Node& node) {
  auto m = std::make_shared<Machine>();
  read_kernel(node, *m);
  m->one_class = attribute<int64_t>(node, "one_class", 0) != 0;
  m->vector_count = attribute<int64_t>(node, "n_supports", 0);
  if (m->rho.empty()) fail(node, "rho is empty");
  if (m->vector_count > 0) {
    const auto n = static_cast<int64_t>(m->vectors.size());
    if (n % m->vector_count != 0) fail(node, "support_vectors do not divide into n_supports");
    m->features = n / m->vector_count;
    if (static_cast<int64_t>(m->coefficients.size()) < m->vector_count) {
      fail(node, "has fewer coefficients than support vectors");
    }
  } else {
    m->vector_count = 0;
    m->kernel = Machine::Kernel::Linear;
    m->features = static_cast<int64_t>(m->coefficients.size());
  }
  return m;
}

void read_vectors(const Node& node, Machine& m) {
  for (int64_t n : m.per_class) {
    if (n < 0 || n > static_cast<int64_t>(m.vectors.size())) fail(node, "bad vectors_per_class");
    m.first.push_back(m.vector_count);
    m.vector_count += n;
  }
  const int64_t pairs = m.classes * (m.classes - 1) / 2;
  if (static_cast<int64_t>(m.per_class.size()) != m.classes || m.vector_count == 0 ||
      static_cast<int64_t>(m.vectors.size()) % m.vector_count != 0) {
    fail(node, "vectors_per_class does not fit the class labels and support vectors");
  }
  m.features = static_cast<int64_t>(m.vectors.size()) / m.vector_count;
  if (static_cast<int64_t>(m.coefficients.size()) < (m.classes - 1) * m.vector_count) {
    fail(node, "has too few coefficients");
  }
  if (static_cast<int64_t>(m.rho.size()) < pairs) fail(node, "has too few entries in rho");
  const bool probabilities = !m.prob_a.empty();
  if (probabilities && (static_cast<int64_t>(m.prob_a.size()) < pairs ||
                        static_cast<int64_t>(m.prob_b.size()) < pairs)) {
    fail(node, "has too few entries in prob_a or prob_b");
  }
}

std::shared_ptr<const void> prepare_classifier(const Graph&, const Node& node) {
  auto m = std::make_shared<Machine>();
  read_kernel(node, *m);
  m->prob_a = floats(node, "prob_a");
  m->prob_b = floats(node, "prob_b");
  if (const auto* names = list<std::string>(node, "classlabels_strings")) m->names = *names;
  if (const auto* numbers = list<int64_t>(node, "classlabels_ints")) m->numbers = *numbers;
  m->classes = static_cast<int64_t>(m->names.empty() ? m->numbers.size() : m->names.size());
  if (m->classes < 1) fail(node, "has no class labels");
  if (const auto* counts = list<int64_t>(node, "vectors_per_class")) m->per_class = *counts;
  if (!m->per_class.empty()) {
    read_vectors(node, *m);
    return m;
  }
  m->kernel = Machine::Kernel::Linear;
  m->features = static_cast<int64_t>(m->coefficients.size()) / m->classes;
  if (m->features * m->classes != static_cast<int64_t>(m->coefficients.size()) || m->rho.empty()) {
    fail(node, "coefficients do not divide by the class labels, or rho is empty");
  }
  return m;
}

// The sum of products, or of squared distances, of two rows: sixteen sums side by side.
template <bool kSquares>
float sum_over(const float* a, const float* b, int64_t n) {
  using Four [[gnu::vector_size(16)]] = float;
  constexpr int64_t kLanes = 4, kVectors = 4;
  Four sums[kVectors] = {};
  const auto term = [](auto x, auto y) {
    if constexpr (kSquares) return (x - y) * (x - y);
    return x * y;
  };
  int64_t i = 0;
  for (; i + kVectors * kLanes <= n; i += kVectors * kLanes) {
    for (int64_t v = 0; v < kVectors; ++v) {
      Four x, y;
      std::memcpy(&x, a + i + v * kLanes, sizeof x);
      std::memcpy(&y, b + i + v * kLanes, sizeof y);
      sums[v] += term(x, y);
    }
  }
  double total = 0;
  for (; i < n; ++i) total += static_cast<double>(term(a[i], b[i]));
  for (const Four& sum : sums) {
    for (int64_t lane = 0; lane < kLanes; ++lane) total += static_cast<double>(sum[lane]);
  }
  return static_cast<float>(total);
}

float apply_kernel(const Machine& m, const float* a, const float* b) {
  const float value = m.kernel == Machine::Kernel::Rbf ? sum_over<true>(a, b, m.features)
                                                       : sum_over<false>(a, b, m.features);
  switch (m.kernel) {
    case Machine::Kernel::Linear:
      return value;
    case Machine::Kernel::Poly:
      return std::pow(m.gamma * value + m.coef0, m.degree);
    case Machine::Kernel::Rbf:
      return std::exp(-m.gamma * value);
    case Machine::Kernel::Sigmoid:
      break;
  }
  return std::tanh(m.gamma * value + m.coef0);
}

// X as float rows of the machine's features: itself, or converted into `made`.
const float* features_of(const HostCall& call, const Machine& m, int64_t& rows,
                         std::vector<float>& made) {
  const Tensor& x = tensor(call, 0);
  if (x.rank() < 1 || x.rank() > 2 || x.dims().back() != m.features) {
    host_fail(call,
              concat("X has shape ", dims_text(x.dims()), "; expected [N, ", m.features, "]"));
  }
  rows = x.rank() == 1 ? 1 : x.dims()[0];
  if (x.dtype() == DType::Float) return x.data<float>();
  made.resize(static_cast<size_t>(x.size()));
  const auto copy = [&](const auto* from) {
    std::transform(from, from + x.size(), made.begin(),
                   [](auto v) { return static_cast<float>(v); });
  };
  if (x.dtype() == DType::Double) copy(x.data<double>());
  if (x.dtype() == DType::Int32) copy(x.data<int32_t>());
  if (x.dtype() == DType::Int64) copy(x.data<int64_t>());
  return made.data();
}

void svm_regressor(HostCall& call) {
  const auto& m = *static_cast<const Machine*>(call.state);
  int64_t rows = 0;
  std::vector<float> made;
  const float* x = features_of(call, m, rows, made);
  Tensor y(DType::Float, {rows, 1});
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = x + r * m.features;
    double sum = m.rho[0];
    for (int64_t j = 0; j < m.vector_count; ++j) {
      sum += static_cast<double>(m.coefficients[static_cast<size_t>(j)]) *
             apply_kernel(m, row, m.vectors.data() + j * m.features);
    }
    if (m.vector_count == 0) sum += apply_kernel(m, row, m.coefficients.data());
    float& out = y.data<float>()[r];
    out = static_cast<float>(sum);
    if (m.one_class) out = sum > 0 ? 1.0F : -1.0F;
    transform_row({&out, 1}, m.post);
  }
  give(call, 0, std::move(y));
}

// One score per pair of classes; every pair votes.
void pair_scores(const Machine& m, const float* row, std::vector<float>& scores,
                 std::vector<int>& votes) {
  std::vector<float> kernels(static_cast<size_t>(m.vector_count));
  for (int64_t j = 0; j < m.vector_count; ++j) {
    kernels[static_cast<size_t>(j)] = apply_kernel(m, row, m.vectors.data() + j * m.features);
  }
  const auto part = [&](int64_t line, int64_t of) {
    const auto at = static_cast<size_t>(of);
    const float* c = m.coefficients.data() + line * m.vector_count + m.first[at];
    const float* k = kernels.data() + m.first[at];
    return std::inner_product(c, c + m.per_class[at], k, 0.0);
  };
  votes.assign(static_cast<size_t>(m.classes), 0);
  for (int64_t i = 0; i < m.classes; ++i) {
    for (int64_t j = i + 1; j < m.classes; ++j) {
      const double sum = part(j - 1, i) + part(i, j) + m.rho[scores.size()];
      scores.push_back(static_cast<float>(sum));
      ++votes[static_cast<size_t>(sum > 0 ? i : j)];
    }
  }
}

// Wu, Lin and Weng's coupling of pairwise probabilities r[i·k + j] (2004, second method).
std::vector<float> couple(const std::vector<double>& r, size_t k) {
  std::vector<double> q(k * k), p(k, 1.0 / static_cast<double>(k)), qp(k);
  for (size_t t = 0; t < k; ++t) {
    for (size_t j = 0; j < k; ++j) {
      if (j == t) continue;
      q[t * k + t] += r[j * k + t] * r[j * k + t];
      q[t * k + j] = -r[j * k + t] * r[t * k + j];
    }
  }
  for (int iteration = 0; iteration < 100; ++iteration) {
    double total = 0, error = 0;
    for (size_t t = 0; t < k; ++t) {
      qp[t] = std::inner_product(p.begin(), p.end(), q.begin() + static_cast<int64_t>(t * k), 0.0);
      total += p[t] * qp[t];
    }
    for (double v : qp) error = std::max(error, std::fabs(v - total));
    if (error < 0.005 / static_cast<double>(k)) break;
    for (size_t t = 0; t < k; ++t) {
      const double step = (total - qp[t]) / q[t * k + t];
      p[t] += step;
      total = (total + step * (step * q[t * k + t] + 2 * qp[t])) / (1 + step) / (1 + step);
      for (size_t j = 0; j < k; ++j) {
        qp[j] = (qp[j] + step * q[t * k + j]) / (1 + step);
        p[j] /= 1 + step;
      }
    }
  }
  return {p.begin(), p.end()};
}

std::vector<float> probabilities(const Machine& m, const std::vector<float>& scores) {
  const auto k = static_cast<size_t>(m.classes);
  std::vector<double> r(k * k);
  size_t pair = 0;
  for (size_t i = 0; i < k; ++i) {
    for (size_t j = i + 1; j < k; ++j, ++pair) {
      const float p = logistic(-(scores[pair] * m.prob_a[pair] + m.prob_b[pair]));
      r[i * k + j] = std::clamp(static_cast<double>(p), 1e-7, 1 - 1e-7);
      r[j * k + i] = 1 - r[i * k + j];
    }
  }
  return couple(r, k);
}

size_t top(const auto& values) {
  return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

// The index of the label, from votes or scores.
size_t decide(const Machine& m, const std::vector<float>& scores, const std::vector<int>& votes) {
  const size_t best = votes.empty() ? top(scores) : top(votes);
  if (m.rho.size() != 1 || m.classes != 2 || !m.prob_a.empty()) return best;
  const float weight = votes.empty() ? scores[best] : static_cast<float>(votes[best]);
  if (m.positive ? weight >= 0.5F : weight > 0) return 1;
  return best;
}

void show_scores(const Machine& m, std::vector<float>& scores) {
  if (scores.size() > 1) return transform_row(scores, m.post);
  const float s = scores[0];
  if (m.post == PostTransform::Probit) {
    scores = {probit(s), 0};
  } else if (m.post == PostTransform::None) {
    scores = {-s, s};
  } else {
    scores = {1 - s, s};
  }
}

void svm_classifier(HostCall& call) {
  const auto& m = *static_cast<const Machine*>(call.state);
  int64_t rows = 0;
  std::vector<float> made;
  const float* x = features_of(call, m, rows, made);
  const bool by_vectors = !m.per_class.empty(),
             with_probabilities = by_vectors && !m.prob_a.empty();
  const int64_t pairs = m.classes > 2 ? m.classes * (m.classes - 1) / 2 : 2;
  const int64_t columns = by_vectors && !with_probabilities ? pairs : m.classes;
  Tensor y(m.names.empty() ? DType::Int64 : DType::String, {rows});
  Tensor z(DType::Float, {rows, columns});
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = x + r * m.features;
    std::vector<float> scores;
    std::vector<int> votes;
    if (by_vectors) pair_scores(m, row, scores, votes);
    for (int64_t c = 0; !by_vectors && c < m.classes; ++c) {
      const float dot = apply_kernel(m, row, m.coefficients.data() + c * m.features);
      scores.push_back(dot + m.rho[0]);
    }
    if (with_probabilities) {
      scores = probabilities(m, scores);
      votes.clear();
    }
    const size_t label = decide(m, scores, votes);
    if (m.names.empty()) y.data<int64_t>()[r] = m.numbers[label];
    if (!m.names.empty()) y.data<std::string>()[r] = m.names[label];
    if (columns > 1 || scores.size() > 1) show_scores(m, scores);
    std::copy_n(scores.begin(), columns, z.data<float>() + r * columns);
  }
  give(call, 0, std::move(y));
  give(call, 1, std::move(z));
}

constexpr HostOp kSvm[] = {
    {"ai.onnx.ml", "SVMRegressor", svm_regressor, "", prepare_regressor},
    {"ai.onnx.ml", "SVMClassifier", svm_classifier, "", prepare_classifier},
};

}  // namespace

std::span<const HostOp> host_svm_ops() { return kSvm; }

}  // namespace tiercel
