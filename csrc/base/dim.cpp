// Arithmetic on extents: integers fold, symbols become a canonical sum of products ("batch*12",
// "past + length").
#include "base/dim.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace tiercel {

namespace {

[[noreturn]] void overflow() {
  throw_error(ErrorKind::InvalidArgument, "an extent of a shape does not fit in 64 bits");
}

int64_t add_checked(int64_t a, int64_t b) {
  int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) overflow();
  return sum;
}

int64_t multiply_checked(int64_t a, int64_t b) {
  int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) overflow();
  return product;
}

int64_t floor_divide(int64_t a, int64_t b) {
  if (b == -1) return multiply_checked(a, -1);
  const int64_t quotient = a / b;
  return a % b != 0 && (a % b < 0) != (b < 0) ? quotient - 1 : quotient;
}

// Sorted factors of a product to its coefficient; no factors: the constant.
using Atoms = std::vector<std::string>;
using Sum = std::map<Atoms, int64_t>;

constexpr size_t kMaxText = 256;  // longer expressions help nobody: they become unknown

void accumulate(Sum& sum, const Atoms& atoms, int64_t coefficient) {
  int64_t& slot = sum[atoms];
  slot = add_checked(slot, coefficient);
  if (slot == 0) sum.erase(atoms);
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// Cuts at `separators` outside parentheses; each piece with the character before it.
std::vector<std::pair<char, std::string_view>> cut(std::string_view text,
                                                   std::string_view separators) {
  std::vector<std::pair<char, std::string_view>> pieces;
  int depth = 0;
  size_t start = 0;
  char before = separators.front();
  for (size_t i = 0; i <= text.size(); ++i) {
    const bool end = i == text.size();
    if (!end && text[i] == '(') ++depth;
    if (!end && text[i] == ')') --depth;
    if (!end && (depth > 0 || separators.find(text[i]) == std::string_view::npos)) continue;
    pieces.emplace_back(before, trim(text.substr(start, i - start)));
    if (!end) before = text[i];
    start = i + 1;
  }
  return pieces;
}

bool is_number(std::string_view text) {
  return !text.empty() && text.size() < 18 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

Sum parse(const Dim& dim) {
  Sum sum;
  if (dim.known()) {
    accumulate(sum, {}, dim.value());
    return sum;
  }
  for (const auto& [sign, term] : cut(dim.name(), "+-")) {
    Atoms atoms;
    int64_t coefficient = sign == '-' ? -1 : 1;
    for (const auto& [star, factor] : cut(term, "*")) {
      if (factor.empty()) return Sum{{{dim.name()}, 1}};  // a name that is no expression
      if (is_number(factor)) {
        coefficient = multiply_checked(coefficient, std::stoll(std::string(factor)));
      } else {
        atoms.emplace_back(factor);
      }
    }
    std::sort(atoms.begin(), atoms.end());
    accumulate(sum, atoms, coefficient);
  }
  return sum;
}

std::string term_text(const Atoms& atoms, int64_t coefficient) {
  std::string text;
  for (const std::string& atom : atoms) {
    if (!text.empty()) text += '*';
    text += atom;
  }
  if (atoms.empty()) return std::to_string(coefficient);
  return coefficient == 1 ? text : text + "*" + std::to_string(coefficient);
}

std::string sum_text(const Sum& sum) {
  std::string text;
  // Products first, the constant last; a leading minus is avoided where a positive term exists.
  std::vector<std::pair<Atoms, int64_t>> terms(sum.begin(), sum.end());
  std::stable_partition(terms.begin(), terms.end(), [](const auto& t) { return !t.first.empty(); });
  std::stable_partition(terms.begin(), terms.end(),
                        [](const auto& t) { return t.second > 0 && !t.first.empty(); });
  for (const auto& [atoms, coefficient] : terms) {
    if (text.empty()) {
      text =
          coefficient < 0 ? "0 - " + term_text(atoms, -coefficient) : term_text(atoms, coefficient);
    } else {
      text += coefficient < 0 ? " - " : " + ";
      text += term_text(atoms, coefficient < 0 ? multiply_checked(coefficient, -1) : coefficient);
    }
  }
  return text;
}

Dim make(const Sum& sum) {
  if (sum.empty()) return {0};
  if (sum.size() == 1 && sum.begin()->first.empty()) return {sum.begin()->second};
  std::string text = sum_text(sum);
  return text.size() > kMaxText ? Dim() : Dim::symbol(std::move(text));
}

// Divides a term by a product with coefficient; false when it does not go.
bool divide_term(Atoms& atoms, int64_t& coefficient, const Atoms& by, int64_t divisor) {
  if (coefficient % divisor != 0) return false;
  for (const std::string& atom : by) {
    const auto it = std::find(atoms.begin(), atoms.end(), atom);
    if (it == atoms.end()) return false;
    atoms.erase(it);
  }
  coefficient /= divisor;
  return true;
}

}  // namespace

std::string Dim::text() const {
  if (known()) return std::to_string(value_);
  return symbolic() ? symbol_ : "?";
}

Dim operator+(const Dim& a, const Dim& b) {
  if (a.unknown() || b.unknown()) return {};
  if (a.known() && b.known()) return {add_checked(a.value(), b.value())};
  if (a.known() && a.value() == 0) return b;
  if (b.known() && b.value() == 0) return a;
  Sum sum = parse(a);
  for (const auto& [atoms, coefficient] : parse(b)) accumulate(sum, atoms, coefficient);
  return make(sum);
}

Dim operator-(const Dim& a, const Dim& b) {
  if (a.unknown() || b.unknown()) return {};
  if (a.same(b)) return {0};
  return a + b * Dim(-1);
}

Dim operator*(const Dim& a, const Dim& b) {
  if ((a.known() && a.value() == 0) || (b.known() && b.value() == 0)) return {0};
  if (a.unknown() || b.unknown()) {
    if (a.known() && a.value() == 1) return b;
    return b.known() && b.value() == 1 ? a : Dim();
  }
  if (a.known() && b.known()) return {multiply_checked(a.value(), b.value())};
  if (a.known() && a.value() == 1) return b;
  if (b.known() && b.value() == 1) return a;
  Sum product;
  for (const auto& [p, x] : parse(a)) {
    for (const auto& [q, y] : parse(b)) {
      Atoms atoms = p;
      atoms.insert(atoms.end(), q.begin(), q.end());
      std::sort(atoms.begin(), atoms.end());
      accumulate(product, atoms, multiply_checked(x, y));
    }
  }
  return make(product);
}

Dim floor_div(const Dim& a, const Dim& b) {
  if (b.known() && b.value() == 0) {
    throw_error(ErrorKind::InvalidArgument, "an extent of a shape is divided by zero");
  }
  if (b.known() && b.value() == 1) return a;
  if (a.unknown() || b.unknown()) return {};
  if (a.known() && b.known()) return {floor_divide(a.value(), b.value())};
  if (a.same(b)) return {1};
  const Sum divisor = parse(b);
  Sum exact;
  Sum rest = parse(a);
  if (divisor.size() == 1) {
    const auto& [by, factor] = *divisor.begin();
    for (auto it = rest.begin(); it != rest.end();) {
      Atoms atoms = it->first;
      int64_t coefficient = it->second;
      const bool divides = divide_term(atoms, coefficient, by, factor);
      if (divides) accumulate(exact, atoms, coefficient);
      it = divides ? rest.erase(it) : std::next(it);
    }
  }
  const Dim remainder = make(rest);
  if (remainder.unknown()) return {};
  if (remainder.known() && b.known()) {
    return make(exact) + Dim(floor_divide(remainder.value(), b.value()));
  }
  const std::string by = b.known() ? b.text() : "(" + b.text() + ")";
  return make(exact) + Dim::symbol("(" + remainder.text() + ")//" + by);
}

Dim ceil_div(const Dim& a, const Dim& b) {
  if (b.known() && b.value() == 1) return a;
  return floor_div(a + (b - Dim(1)), b);
}

}  // namespace tiercel
