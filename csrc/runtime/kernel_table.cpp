// Finds the kernel rows that fit a node: operator, element types, attributes, this machine.
#include "runtime/kernel_table.h"

#include <algorithm>
#include <unordered_map>

#include "base/cpu_info.h"
#include "ops/op_def.h"

namespace tiercel {
namespace {

struct Row {
  const TclKernel* kernel;
  int variant;  // order of first appearance among the operator's rows
  int isa;
};

using Table = std::unordered_map<std::string, std::vector<Row>>;

std::string key(std::string_view domain, std::string_view op) {
  return concat(std::string(domain), ":", std::string(op));
}

Table build_table() {
  Table table;
  std::unordered_map<std::string, std::vector<std::string>> variants;
  const TclKernelLibrary* library = tcl_builtin_kernels();
  for (int64_t i = 0; i < library->n_kernels; ++i) {
    const TclKernel& kernel = library->kernels[i];
    const int rank = isa_rank(kernel.isa);
    if (rank < 0) continue;
    const std::string name = key(kernel.domain, kernel.op);
    std::vector<std::string>& seen = variants[name];
    auto place = std::find(seen.begin(), seen.end(), kernel.variant);
    if (place == seen.end()) place = seen.insert(seen.end(), kernel.variant);
    table[name].push_back({&kernel, static_cast<int>(place - seen.begin()), rank});
  }
  for (auto& [name, rows] : table) {
    std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
      return a.variant != b.variant ? a.variant < b.variant : a.isa < b.isa;
    });
  }
  return table;
}

const Table& table() {
  static const Table made = build_table();
  return made;
}

// The element type that a node binds a type parameter to; Undefined when no value of it is there.
DType bound_type(std::string_view parameter, const Graph& graph, const Node& node) {
  const auto search = [&](const std::vector<Param>& params, const std::vector<ValueId>& values) {
    for (size_t i = 0; i < values.size() && !params.empty(); ++i) {
      const Param& param = params[std::min(i, params.size() - 1)];
      if (i >= params.size() && param.kind != Param::Variadic) break;
      if (param.type != parameter || values[i] == kNone) continue;
      const Type* type = &graph.value(values[i]).type;
      while (type->element) type = type->element.get();
      if (type->dtype != DType::Undefined) return type->dtype;
    }
    return DType::Undefined;
  };
  const DType in = search(node.def->inputs, node.inputs);
  return in != DType::Undefined ? in : search(node.def->outputs, node.outputs);
}

bool name_fits(std::string_view wanted, DType dtype) {
  if (wanted.size() > 1 && wanted[0] == 'b' && wanted[1] >= '0' && wanted[1] <= '9') {
    return dtype != DType::String && wanted.substr(1) == std::to_string(dtype_bits(dtype));
  }
  return wanted == dtype_name(dtype);
}

// Position of `choice` in "a|b|c"; nullopt when it is not there.
std::optional<int64_t> choice_index(std::string_view choices, std::string_view choice) {
  for (int64_t index = 0;; ++index) {
    const size_t bar = choices.find('|');
    if (choices.substr(0, bar) == choice) return index;
    if (bar == std::string_view::npos) return std::nullopt;
    choices.remove_prefix(bar + 1);
  }
}

const Attribute* find_attribute(const Node& node, std::string_view name) {
  if (const Attribute* own = node.attributes.find(name)) return own;
  const AttrDef* def = node.def->attribute(name);
  return def != nullptr && def->value ? &*def->value : nullptr;
}

template <class T>
void set_list(KernelAttributes& out, TclAttr& attr, const std::vector<T>& list) {
  attr.n = static_cast<int64_t>(list.size());
  out.ints.emplace_back(list.begin(), list.end());
  out.floats.emplace_back(list.begin(), list.end());
  attr.ints = out.ints.back().data();
  attr.floats = out.floats.back().data();
}

std::string no_choice(std::string_view name, const std::string& given, std::string_view choices) {
  return concat(std::string(name), " is \"", given, "\", the kernel knows ", std::string(choices));
}

// Texts of any case as their positions in "a|b|c"; nullopt and `wrong` where one is not there.
std::optional<std::vector<int64_t>> choice_list(std::string_view choices,
                                                const std::vector<std::string>& given,
                                                std::string& wrong) {
  std::vector<int64_t> out;
  for (std::string text : given) {
    for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    const std::optional<int64_t> index = choice_index(choices, text);
    if (!index) {
      wrong = text;
      return std::nullopt;
    }
    out.push_back(*index);
  }
  return out;
}

// The attributes that `kernel` names; nullptr when a choice is not among those it knows.
std::shared_ptr<const KernelAttributes> read_attributes(const TclKernel& kernel, const Node& node,
                                                        std::string& reason) {
  auto out = std::make_shared<KernelAttributes>();
  for (const char* const* spec = kernel.attributes; spec != nullptr && *spec != nullptr; ++spec) {
    const std::string_view text(*spec);
    const size_t colon = std::min(text.find(':'), text.size());
    const std::string_view name = text.substr(0, colon);
    const std::string_view choices = text.substr(std::min(colon + 1, text.size()));
    TclAttr attr{-1, 0, 0, nullptr, nullptr};
    if (const Attribute* found = find_attribute(node, name)) {
      if (const auto* i = std::get_if<int64_t>(found)) {
        attr = {1, *i, static_cast<double>(*i), nullptr, nullptr};
      } else if (const auto* f = std::get_if<double>(found)) {
        attr = {1, static_cast<int64_t>(*f), *f, nullptr, nullptr};
      } else if (const auto* is = std::get_if<std::vector<int64_t>>(found)) {
        set_list(*out, attr, *is);
      } else if (const auto* fs = std::get_if<std::vector<double>>(found)) {
        set_list(*out, attr, *fs);
      } else if (const auto* s = std::get_if<std::string>(found)) {
        const std::optional<int64_t> index =
            choices.empty() ? std::nullopt : choice_index(choices, *s);
        if (!index) {
          reason = no_choice(name, *s, choices);
          return nullptr;
        }
        attr = {1, *index, static_cast<double>(*index), nullptr, nullptr};
      } else if (const auto* ss = std::get_if<std::vector<std::string>>(found);
                 ss != nullptr && !choices.empty()) {
        std::string wrong;
        const auto list = choice_list(choices, *ss, wrong);
        if (!list) {
          reason = no_choice(name, wrong, choices);
          return nullptr;
        }
        set_list(*out, attr, *list);
      }
    }
    out->values.push_back(attr);
  }
  return out;
}

}  // namespace

int64_t vector_block(std::string_view domain, std::string_view op) {
  const auto rows = table().find(key(domain, op));
  if (rows == table().end()) return 0;
  const auto best = std::min_element(rows->second.begin(), rows->second.end(),
                                     [](const Row& a, const Row& b) { return a.isa < b.isa; });
  const std::string_view isa = best->kernel->isa;
  return isa == "neon" ? 4 : isa == "v3" ? 8 : 16;
}

std::string node_types(const Graph& graph, const Node& node) {
  std::string out;
  for (const TypeParam& parameter : node.def->types) {
    const DType dtype = bound_type(parameter.name, graph, node);
    if (dtype == DType::Undefined) continue;
    out += concat(out.empty() ? "" : ";", std::string(parameter.name), "=",
                  std::string(dtype_name(dtype)));
  }
  return out;
}

bool types_match(std::string_view wanted, const Graph& graph, const Node& node) {
  while (!wanted.empty()) {
    const size_t end = wanted.find(';');
    const std::string_view entry = wanted.substr(0, end);
    wanted = end == std::string_view::npos ? std::string_view() : wanted.substr(end + 1);
    const size_t equals = entry.find('=');
    if (equals == std::string_view::npos) continue;
    const DType dtype = bound_type(entry.substr(0, equals), graph, node);
    if (dtype != DType::Undefined && !name_fits(entry.substr(equals + 1), dtype)) return false;
  }
  return true;
}

std::vector<KernelMatch> find_kernels(const Graph& graph, const Node& node, std::string& reason) {
  const auto rows = table().find(key(node.domain == "ai.onnx" ? "" : node.domain, node.op_type));
  if (rows == table().end()) {
    reason = "no kernel";
    return {};
  }
  std::vector<KernelMatch> found;
  reason = concat("no kernel for ", node_types(graph, node));
  for (const Row& row : rows->second) {
    if (!types_match(row.kernel->types, graph, node)) continue;
    const bool listed = std::any_of(found.begin(), found.end(), [&](const KernelMatch& match) {
      return std::string_view(match.kernel->variant) == row.kernel->variant &&
             std::string_view(match.kernel->types) == row.kernel->types;
    });
    if (listed) continue;
    auto attributes = read_attributes(*row.kernel, node, reason);
    if (attributes) found.push_back({row.kernel, std::move(attributes)});
  }
  return found;
}

}  // namespace tiercel
