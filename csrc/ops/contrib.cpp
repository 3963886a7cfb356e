// Reads the rows of text that define the operators of com.microsoft, and joins their families.
#include "ops/contrib.h"

#include <charconv>

#include "ops/families.h"

namespace tiercel {

namespace {

// The text up to `end`, which is taken off `rest` together with the blanks behind it.
std::string_view next_part(std::string_view& rest, char end) {
  const size_t at = std::min(rest.find(end), rest.size());
  const std::string_view part = rest.substr(0, at);
  rest.remove_prefix(std::min(at + 1, rest.size()));
  while (rest.starts_with(' ')) rest.remove_prefix(1);
  return part;
}

Param param_of(std::string_view word) {
  const std::string_view name = next_part(word, ':');
  if (word.ends_with('?')) return {name, word.substr(0, word.size() - 1), Param::Optional};
  if (word.ends_with('*')) return {name, word.substr(0, word.size() - 1), Param::Variadic};
  if (word.ends_with('+')) return {name, word.substr(0, word.size() - 1), Param::Variadic, false};
  return {name, word};
}

std::vector<Param> params_of(std::string_view words) {
  std::vector<Param> params;
  while (!words.empty()) params.push_back(param_of(next_part(words, ' ')));
  return params;
}

std::vector<TypeParam> types_of(std::string_view text) {
  std::vector<TypeParam> types;
  while (!text.empty()) {
    std::string_view entry = next_part(text, ';');
    std::string_view name = next_part(entry, '=');
    while (name.ends_with(' ')) name.remove_suffix(1);
    types.push_back({name, entry});
  }
  return types;
}

AttrDef::Kind kind_of(std::string_view word) {
  if (word == "int") return AttrDef::Int;
  if (word == "float") return AttrDef::Float;
  if (word == "ints") return AttrDef::Ints;
  if (word == "floats") return AttrDef::Floats;
  return word == "strings" ? AttrDef::Strings : AttrDef::String;
}

Attribute default_of(AttrDef::Kind kind, std::string_view text) {
  if (kind == AttrDef::String) return std::string(text);
  if (kind == AttrDef::Float) return std::stod(std::string(text));
  return static_cast<int64_t>(std::stoll(std::string(text)));
}

AttrDef attribute_of(std::string_view word) {
  AttrDef out;
  out.name = next_part(word, ':');
  const size_t equals = word.find('=');
  std::string_view kind = word.substr(0, equals);
  out.required = kind.ends_with('!');
  if (out.required) kind.remove_suffix(1);
  out.kind = kind_of(kind);
  if (equals != std::string_view::npos) out.value = default_of(out.kind, word.substr(equals + 1));
  return out;
}

// The element type of an output of this parameter.
DType type_of(InferContext& ctx, const OpDef& def, std::string_view parameter) {
  if (parameter.starts_with("tensor(")) {
    return dtype_from_name(parameter.substr(7, parameter.size() - 8)).value_or(DType::Undefined);
  }
  for (int i = 0; i < ctx.input_count() && !def.inputs.empty(); ++i) {
    const size_t at = std::min(static_cast<size_t>(i), def.inputs.size() - 1);
    if (ctx.has_input(i) && def.inputs[at].type == parameter) return ctx.dtype(i);
  }
  for (const TypeParam& type : def.types) {
    if (type.name == parameter) return dtype_from_name(type.types).value_or(DType::Undefined);
  }
  return DType::Undefined;
}

}  // namespace

void contrib_types(InferContext& ctx) {
  const OpDef& def = *ctx.node().def;
  for (int i = 0; i < ctx.output_count(); ++i) {
    const size_t at = std::min(static_cast<size_t>(i), def.outputs.size() - 1);
    if (!ctx.has_output(i)) continue;
    const DType dtype = type_of(ctx, def, def.outputs[at].type);
    if (dtype != DType::Undefined) ctx.set(i, dtype);
  }
}

OpDef contrib_row(std::string_view name, std::string_view inputs, std::string_view outputs,
                  std::string_view types, std::string_view attributes, ShapeFn shape,
                  uint32_t facts) {
  OpDef def{.domain = "com.microsoft",
            .name = name,
            .inputs = params_of(inputs),
            .outputs = params_of(outputs),
            .types = types_of(types),
            .shape = shape,
            .facts = facts};
  while (!attributes.empty()) def.attributes.push_back(attribute_of(next_part(attributes, ' ')));
  return def;
}

OpList contrib_ops() {
  OpList ops;
  for (const OpList& family : {contrib_attention_ops(), contrib_layout_ops(), contrib_matrix_ops(),
                               contrib_norm_ops(), contrib_tensor_ops()}) {
    ops.insert(ops.end(), family.begin(), family.end());
  }
  return ops;
}

}  // namespace tiercel
