// Matches patterns with backtracking over operand order and over the association of products and
// sums.
#include "passes/pattern.h"

#include <algorithm>
#include <cmath>

#include "passes/edit.h"

namespace tiercel::pattern {

P::P(double number) : expr_(std::make_shared<Expr>()) {
  expr_->kind = Expr::Kind::Number;
  expr_->number = number;
}

P P::variable(std::string name, bool constant_scalar) {
  auto made = std::make_shared<Expr>();
  made->kind = Expr::Kind::Variable;
  made->name = std::move(name);
  made->constant_scalar = constant_scalar;
  return P(std::move(made));
}

P P::op(std::string_view name, std::vector<P> operands, NodeCheck check) {
  auto made = std::make_shared<Expr>();
  made->kind = Expr::Kind::Op;
  made->name = name;
  made->operands = std::move(operands);
  made->check = check;
  return P(std::move(made));
}

P P::either(std::vector<P> alternatives) {
  auto made = std::make_shared<Expr>();
  made->kind = Expr::Kind::Either;
  made->operands = std::move(alternatives);
  return P(std::move(made));
}

P P::with(std::string name, Attribute value) const {
  auto made = std::make_shared<Expr>(*expr_);
  made->attributes.emplace_back(std::move(name), std::move(value));
  return P(std::move(made));
}

P P::with_scalar(std::string name, const P& variable) const {
  auto made = std::make_shared<Expr>(*expr_);
  made->scalar_attributes.emplace_back(std::move(name), variable.expr().name);
  return P(std::move(made));
}

P operator*(const P& a, const P& b) { return P::op("Mul", {a, b}); }
P operator+(const P& a, const P& b) { return P::op("Add", {a, b}); }
P operator-(const P& a, const P& b) { return P::op("Sub", {a, b}); }
P operator/(const P& a, const P& b) { return P::op("Div", {a, b}); }

namespace {

using Matches = std::vector<Match>;
using Expr = P::Expr;

bool associative(std::string_view op) { return op == "Mul" || op == "Add"; }

class Matcher {
 public:
  explicit Matcher(const Graph& graph) : graph_(graph) {}

  Matches match(const P& pattern, ValueId id, const Match& so_far) const {
    const Expr& expr = pattern.expr();
    if (id == kNone) return {};
    if (const auto it = so_far.values.find(&expr); it != so_far.values.end()) {
      return it->second == id ? Matches{so_far} : Matches{};
    }
    Matches found;
    switch (expr.kind) {
      case Expr::Kind::Variable:
        found = match_variable(expr, id, so_far);
        break;
      case Expr::Kind::Number:
        if (is_number(id, expr.number)) found = {so_far};
        return found;  // equal numbers may be different constants
      case Expr::Kind::Either:
        for (const P& alternative : expr.operands) {
          for (Match& m : match(alternative, id, so_far)) found.push_back(std::move(m));
        }
        break;
      case Expr::Kind::Op:
        found = match_op(expr, id, so_far);
        break;
    }
    for (Match& m : found) m.values[&expr] = id;
    return found;
  }

 private:
  Matches match_variable(const Expr& expr, ValueId id, const Match& so_far) const {
    if (expr.constant_scalar && !scalar(graph_, id)) return {};
    const auto it = so_far.variables.find(expr.name);
    if (it != so_far.variables.end()) return it->second == id ? Matches{so_far} : Matches{};
    Match m = so_far;
    m.variables[expr.name] = id;
    return {m};
  }

  // Constants are rounded to their type, so that "equal" means to a few units in the last place of
  // it.
  [[nodiscard]] bool is_number(ValueId id, double number) const {
    const std::optional<double> value = scalar(graph_, id);
    if (!value) return false;
    const bool narrow = dtype_bits(graph_.value(id).type.dtype) < 32;
    const double tolerance = narrow ? 2e-3 : 1e-6;
    return std::fabs(*value - number) <= tolerance * std::fabs(number);
  }

  Matches match_op(const Expr& expr, ValueId id, const Match& so_far) const {
    const NodeId made_by = graph_.value(id).producer;
    if (made_by == kNone) return {};
    const Node& node = graph_.node(made_by);
    if (!is_op(node, expr.name) || node.outputs[0] != id) return {};
    if (expr.check && !expr.check(graph_, node)) return {};
    Match with = so_far;
    with.nodes.push_back(made_by);
    if (!associative(expr.name)) return match_in_order(expr.operands, node, with);
    std::vector<P> terms;
    flatten(expr, terms);
    Matches found;
    expand(expr.name, node.inputs, terms.size(), with,
           [&](const std::vector<ValueId>& values, const Match& reached) {
             std::vector<bool> used(values.size(), false);
             assign(terms, 0, values, used, reached, found);
           });
    return found;
  }

  Matches match_in_order(const std::vector<P>& operands, const Node& node,
                         const Match& with) const {
    if (node.inputs.size() < operands.size()) return {};
    Matches found = match_operands(operands, node.inputs, with);
    const bool swaps = node.def && node.def->has(kCommutative) && operands.size() == 2;
    if (swaps) {
      const std::vector<ValueId> swapped{node.inputs[1], node.inputs[0]};
      for (Match& m : match_operands(operands, swapped, with)) found.push_back(std::move(m));
    }
    return found;
  }

  Matches match_operands(const std::vector<P>& operands, const std::vector<ValueId>& values,
                         const Match& with) const {
    Matches reached{with};
    for (size_t i = 0; i < operands.size(); ++i) {
      Matches next;
      for (const Match& m : reached) {
        for (Match& n : match(operands[i], values[i], m)) next.push_back(std::move(n));
      }
      reached = std::move(next);
    }
    return reached;
  }

  // a * b * c as [a, b, c].
  static void flatten(const Expr& expr, std::vector<P>& terms) {
    for (const P& operand : expr.operands) {
      const Expr& inner = operand.expr();
      const bool same = inner.kind == Expr::Kind::Op && inner.name == expr.name && !inner.check;
      if (same) {
        flatten(inner, terms);
      } else {
        terms.push_back(operand);
      }
    }
  }

  // Every way to write the product of `values` with `n` factors by opening factors that are
  // products.
  template <class Visit>
  void expand(std::string_view op, const std::vector<ValueId>& values, size_t n, const Match& with,
              const Visit& visit) const {
    if (values.size() == n) visit(values, with);
    if (values.size() >= n) return;
    for (size_t i = 0; i < values.size(); ++i) {
      const NodeId made_by = values[i] == kNone ? kNone : graph_.value(values[i]).producer;
      if (made_by == kNone || !is_op(graph_.node(made_by), op)) continue;
      std::vector<ValueId> opened = values;
      opened.erase(opened.begin() + static_cast<std::ptrdiff_t>(i));
      const std::vector<ValueId>& inner = graph_.node(made_by).inputs;
      opened.insert(opened.end(), inner.begin(), inner.end());
      Match reached = with;
      reached.nodes.push_back(made_by);
      expand(op, opened, n, reached, visit);
    }
  }

  // Terms to values in every order.
  void assign(const std::vector<P>& terms, size_t at, const std::vector<ValueId>& values,
              std::vector<bool>& used, const Match& with, Matches& found) const {
    if (at == terms.size()) {
      found.push_back(with);
      return;
    }
    for (size_t i = 0; i < values.size(); ++i) {
      if (used[i]) continue;
      used[i] = true;
      for (const Match& m : match(terms[at], values[i], with)) {
        assign(terms, at + 1, values, used, m, found);
      }
      used[i] = false;
    }
  }

  const Graph& graph_;
};

// The node of the pattern's root operator; alternatives at the root have no single one.
bool root_may_match(const Node& node, const Expr& expr) {
  if (expr.kind == Expr::Kind::Op) return is_op(node, expr.name);
  return expr.kind == Expr::Kind::Either &&
         std::any_of(expr.operands.begin(), expr.operands.end(),
                     [&](const P& p) { return root_may_match(node, p.expr()); });
}

// Makes the nodes of `make` before `root`; nullopt when an operator is unknown to this build.
std::optional<ValueId> build(Graph& graph, NodeId root, const P& make, const Match& match) {
  const Expr& expr = make.expr();
  if (expr.kind == Expr::Kind::Variable) return match[expr.name];
  if (expr.kind != Expr::Kind::Op || !find_op("", expr.name)) return std::nullopt;
  NewNode made{expr.name, {}};
  for (const P& operand : expr.operands) {
    const std::optional<ValueId> input = build(graph, root, operand, match);
    if (!input) return std::nullopt;
    made.inputs.push_back(*input);
  }
  for (const auto& [name, value] : expr.attributes) made.attributes.set(name, value);
  for (const auto& [name, variable] : expr.scalar_attributes) {
    made.attributes.set(name, *scalar(graph, match[variable]));
  }
  const ValueId out = insert_node(graph, root, std::move(made), {}, graph.node(root).name);
  infer_node(graph, graph.node(graph.value(out).producer));
  return out;
}

bool apply(Graph& graph, NodeId root, const Rule& rule) {
  if (!root_may_match(graph.node(root), rule.match.expr())) return false;
  for (const Match& match : find_matches(graph, root, rule.match)) {
    if (!self_contained(graph, match)) continue;
    if (rule.condition && rule.condition(graph, match)) continue;
    const ValueId old = graph.node(root).outputs[0];
    const std::optional<ValueId> made = build(graph, root, rule.make, match);
    if (!made) return false;
    if (!same_shape(graph, old, *made) ||
        graph.value(old).type.dtype != graph.value(*made).type.dtype) {
      continue;  // broadcasting inside the pattern: what was made stays unused
    }
    redirect(graph, old, *made);
    for (NodeId id : match.nodes) {
      if (!graph.node(id).removed) graph.remove_node(id);
    }
    return true;
  }
  return false;
}

}  // namespace

std::vector<Match> find_matches(const Graph& graph, NodeId root, const P& pattern) {
  return Matcher(graph).match(pattern, graph.node(root).outputs[0], {});
}

bool self_contained(const Graph& graph, const Match& match) {
  const auto inside = [&](NodeId id) {
    return std::find(match.nodes.begin(), match.nodes.end(), id) != match.nodes.end();
  };
  const NodeId root = match.nodes.front();
  for (const Node& user : graph.nodes) {
    if (user.removed) continue;
    const auto id = static_cast<NodeId>(&user - graph.nodes.data());
    const auto reads_inner = [&](ValueId in) {
      const NodeId made_by = in == kNone ? kNone : graph.value(in).producer;
      return made_by != kNone && made_by != root && inside(made_by);
    };
    if (!inside(id) && std::any_of(user.inputs.begin(), user.inputs.end(), reads_inner))
      return false;
    for (const std::shared_ptr<Graph>& body : subgraphs(user)) {
      for (const Capture& capture : body->captures) {
        if (reads_inner(capture.outer)) return false;
      }
    }
  }
  return std::none_of(match.nodes.begin() + 1, match.nodes.end(),
                      [&](NodeId id) { return graph.is_output(graph.node(id).outputs[0]); });
}

bool rewrite(Graph& graph, const std::vector<Rule>& rules) {
  bool changed = false;
  const std::vector<NodeId> order = graph.order;
  for (auto it = order.rbegin(); it != order.rend(); ++it) {
    for (const Rule& rule : rules) {
      if (!graph.node(*it).removed) changed = apply(graph, *it, rule) || changed;
    }
  }
  return changed;
}

}  // namespace tiercel::pattern
