// Patterns over graphs that read like mathematics: x * (Erf(x / kSqrt2) + 1) * 0.5. Operand order
// comes from commutativity.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ir/graph.h"

namespace tiercel::pattern {

// What a node must be besides its operator, e.g. "reduces the last axis alone". True: it matches.
using NodeCheck = bool (*)(const Graph& graph, const Node& node);

// An expression: a variable, a number, an operator over expressions, or one of several
// alternatives. The same expression object at two places stands for one value.
class P {
 public:
  struct Expr;
  P(double number);  // NOLINT: numbers are patterns
  static P variable(std::string name, bool constant_scalar = false);
  static P op(std::string_view name, std::vector<P> operands, NodeCheck check = nullptr);
  static P either(std::vector<P> alternatives);
  // For the made node: an attribute with this value, or with the value of a scalar variable.
  [[nodiscard]] P with(std::string name, Attribute value) const;
  [[nodiscard]] P with_scalar(std::string name, const P& variable) const;
  [[nodiscard]] const Expr& expr() const { return *expr_; }

 private:
  explicit P(std::shared_ptr<Expr> expr) : expr_(std::move(expr)) {}
  std::shared_ptr<Expr> expr_;
};

struct P::Expr {
  enum class Kind { Variable, Number, Op, Either } kind;
  std::string name;  // of the variable or operator
  double number = 0;
  bool constant_scalar = false;
  std::vector<P> operands;
  NodeCheck check = nullptr;
  std::vector<std::pair<std::string, Attribute>> attributes;
  std::vector<std::pair<std::string, std::string>> scalar_attributes;  // attribute, variable
};

P operator*(const P& a, const P& b);
P operator+(const P& a, const P& b);
P operator-(const P& a, const P& b);
P operator/(const P& a, const P& b);

// One way in which a pattern fits.
struct Match {
  std::unordered_map<const P::Expr*, ValueId> values;  // of every expression met
  std::unordered_map<std::string, ValueId> variables;
  std::vector<NodeId> nodes;  // the root first

  [[nodiscard]] ValueId operator[](const std::string& variable) const {
    return variables.at(variable);
  }
};

// nullopt: the rule applies; else why not.
using Condition = std::optional<std::string> (*)(const Graph& graph, const Match& match);

struct Rule {
  std::string_view name;
  P match;
  P make;
  Condition condition = nullptr;
};

// Ways in which `pattern` ends at output 0 of `root`.
[[nodiscard]] std::vector<Match> find_matches(const Graph& graph, NodeId root, const P& pattern);
// Nothing outside the match reads what its inner nodes make, so that all of them can go.
[[nodiscard]] bool self_contained(const Graph& graph, const Match& match);
// Applies the rules at every node, last nodes first; true when one did.
bool rewrite(Graph& graph, const std::vector<Rule>& rules);

}  // namespace tiercel::pattern
