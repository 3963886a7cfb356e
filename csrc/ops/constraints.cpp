// Checks a node against what its operator declares: element types of inputs, kinds of attributes.
// Kernels read memory by these, so that nothing may contradict them.
#include <algorithm>

#include "ops/op_def.h"

namespace tiercel {

namespace {

// AttrDef::Kind to the alternative of Attribute that holds it.
constexpr size_t kAlternative[] = {0, 1, 2, 3, 6, 4, 5, 7, 8, 9, 10, 12, 11};

bool lists(std::string_view types, std::string_view wanted) {
  while (!types.empty()) {
    const size_t space = types.find(' ');
    if (types.substr(0, space) == wanted) return true;
    if (space == std::string_view::npos) return false;
    types.remove_prefix(space + 1);
  }
  return false;
}

bool lists_kind(std::string_view types, std::string_view opening) {
  return types.starts_with(opening) ||
         types.find(concat(" ", std::string(opening))) != std::string_view::npos;
}

// Whether a value of `type` may stand where `types` are allowed, as far as the type is known.
bool allowed(std::string_view types, const Type& type) {
  switch (type.kind) {
    case Type::Kind::Tensor:
      return type.dtype == DType::Undefined || lists(types, dtype_name(type.dtype));
    case Type::Kind::Sequence:
      return lists_kind(types, "seq(");
    case Type::Kind::Map:
      return lists_kind(types, "map(");
    case Type::Kind::Optional:
      return lists_kind(types, "optional(");
    default:
      return true;
  }
}

class InputTypes {
 public:
  InputTypes(const Graph& graph, const Node& node) : graph_(graph), node_(node) {}

  void check() const {
    const std::vector<Param>& params = node_.def->inputs;
    for (size_t i = 0; i < node_.inputs.size() && !params.empty(); ++i) {
      const Param& param = params[std::min(i, params.size() - 1)];
      if (node_.inputs[i] == kNone) continue;
      const Type& type = graph_.value(node_.inputs[i]).type;
      if (param.type.starts_with("tensor(")) {
        const std::string_view name = param.type.substr(7, param.type.size() - 8);
        if (!allowed(name, type)) refuse(i, type, concat("tensor(", std::string(name), ")"));
        continue;
      }
      check_parameter(i, param, type);
    }
  }

 private:
  void check_parameter(size_t i, const Param& param, const Type& type) const {
    for (const TypeParam& parameter : node_.def->types) {
      if (parameter.name != param.type) continue;
      if (!allowed(parameter.types, type)) {
        refuse(i, type, concat("one of ", std::string(parameter.types)));
      }
    }
    if (!param.homogeneous || !type.is_tensor() || type.dtype == DType::Undefined) return;
    // The first input of the same type parameter binds it.
    const std::vector<Param>& params = node_.def->inputs;
    for (size_t j = 0; j < i; ++j) {
      if (params[std::min(j, params.size() - 1)].type != param.type) continue;
      if (node_.inputs[j] == kNone) continue;
      const Type& other = graph_.value(node_.inputs[j]).type;
      if (!other.is_tensor() || other.dtype == DType::Undefined) continue;
      if (other.dtype != type.dtype) refuse(i, type, concat(other.text(), " like input ", j));
      return;
    }
  }

  [[noreturn]] void refuse(size_t i, const Type& type, const std::string& expected) const {
    throw_error(ErrorKind::InvalidGraph, where(node_), ": input ", i, " is ", type.text(),
                "; expected ", expected);
  }

  const Graph& graph_;
  const Node& node_;
};

}  // namespace

void check_constraints(const Graph& graph, const Node& node) {
  InputTypes(graph, node).check();
  for (const AttrDef& def : node.def->attributes) {
    const Attributes::Entry* given = node.attributes.entry(def.name);
    if (given != nullptr && given->kind() != kAlternative[def.kind]) {
      throw_error(ErrorKind::InvalidGraph, where(node), ": attribute ", std::string(def.name),
                  " is of another kind than the operator expects");
    }
  }
}

}  // namespace tiercel
