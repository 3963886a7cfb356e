// Recurrent nodes with unusual activations get them by number; half types are computed in float.
#include <algorithm>
#include <array>

#include "passes/expand.h"

namespace tiercel {
namespace {

struct Activation {
  std::string_view name;
  double alpha, beta;  // defaults
};

// By the numbers that the kernels use.
constexpr Activation kActivations[] = {
    {"affine", 1, 0}, {"relu", 0, 0},       {"leakyrelu", 0.01, 0}, {"thresholdedrelu", 1, 0},
    {"tanh", 0, 0},   {"scaledtanh", 1, 1}, {"sigmoid", 0, 0},      {"hardsigmoid", 0.2, 0.5},
    {"elu", 1, 0},    {"softsign", 0, 0},   {"softplus", 0, 0},
};

int64_t number_of(const Expander& e, std::string name) {
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  for (size_t i = 0; i < std::size(kActivations); ++i) {
    if (kActivations[i].name == name) return static_cast<int64_t>(i);
  }
  e.fail(concat("unknown activation \"", name, "\""));
}

bool takes_alpha(int64_t code) {
  return code == 0 || code == 2 || code == 3 || code == 5 || code == 7 || code == 8;
}

bool takes_beta(int64_t code) { return code == 0 || code == 5 || code == 7; }

// Three codes and six parameters per direction; the lists of alpha and beta hold entries only for
// activations that take them, or one for each.
void name_by_number(const Expander& e, const std::vector<int64_t>& usual, Attributes& out) {
  const Attributes& given = e.node().attributes;
  const auto* names = given.get<std::vector<std::string>>("activations");
  const auto* alphas = given.get<std::vector<double>>("activation_alpha");
  const auto* betas = given.get<std::vector<double>>("activation_beta");
  const size_t per = usual.size();
  const size_t directions = attr_string(e.node(), "direction") == "bidirectional" ? 2 : 1;
  if (names && names->size() < per * directions) {
    e.fail(concat("activations has ", names->size(), " entries; expected ", per * directions));
  }
  const auto parameter = [&](const std::vector<double>* list, size_t& next, size_t i, bool takes,
                             double fallback) {
    if (!list || list->empty()) return fallback;
    if (list->size() >= per * directions) return (*list)[i];
    if (!takes || next >= list->size()) return fallback;
    return (*list)[next++];
  };
  std::vector<int64_t> codes(3 * directions, 4);
  std::vector<double> params(6 * directions, 0);
  size_t next_alpha = 0, next_beta = 0;
  for (size_t i = 0; i < per * directions; ++i) {
    const int64_t code = names ? number_of(e, (*names)[i]) : usual[i % per];
    const size_t at = i / per * 3 + i % per;
    const Activation& known = kActivations[static_cast<size_t>(code)];
    codes[at] = code;
    params[2 * at] = parameter(alphas, next_alpha, i, takes_alpha(code), known.alpha);
    params[2 * at + 1] = parameter(betas, next_beta, i, takes_beta(code), known.beta);
  }
  out.set("activation_codes", codes);
  out.set("activation_params", params);
}

bool is_usual(const Expander& e, const std::vector<int64_t>& usual) {
  const auto* names = e.node().attributes.get<std::vector<std::string>>("activations");
  if (!names) return true;
  for (size_t i = 0; i < names->size(); ++i) {
    if (number_of(e, (*names)[i]) != usual[i % usual.size()]) return false;
  }
  return true;
}

bool recurrent(Graph& graph, NodeId id, const std::vector<int64_t>& usual) {
  Expander e(graph, id);
  const DType dtype = e.dtype(e.input(0));
  const bool half = dtype_is_half(dtype);
  const bool known = is_usual(e, usual);
  if (!half && known) return false;
  Attributes attributes = e.node().attributes;
  if (!known) name_by_number(e, usual, attributes);
  std::vector<ValueId> inputs = e.node().inputs;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] != kNone && i != 4) inputs[i] = e.cast(inputs[i], DType::Float);
  }
  const std::string op = e.node().op_type;
  std::vector<ValueId> made = e.ops(op, std::move(inputs), e.node().outputs.size(),
                                    std::move(attributes), known ? "" : "tiercel");
  for (ValueId& out : made) out = e.cast(out, dtype);
  return e.finish(made);
}

bool lstm(Graph& graph, NodeId id) { return recurrent(graph, id, {6, 4, 4}); }
bool gru(Graph& graph, NodeId id) { return recurrent(graph, id, {6, 4}); }
bool rnn(Graph& graph, NodeId id) { return recurrent(graph, id, {4}); }

constexpr Expansion kRecurrent[] = {{"", "LSTM", lstm}, {"", "GRU", gru}, {"", "RNN", rnn}};

}  // namespace

std::span<const Expansion> recurrent_expansions() { return kRecurrent; }

}  // namespace tiercel
