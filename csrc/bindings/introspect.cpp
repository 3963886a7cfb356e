// Registry introspection for docs, tests and people: operators, kernels, providers.
#include "bindings/introspect.h"

#include <pybind11/stl.h>

#include <map>

#include "base/cpu_info.h"
#include "base/inflate.h"
#include "bindings/numpy_values.h"
#include "ir/onnx_reader.h"
#include "ops/op_def.h"
#include "ops/upgrade.h"
#include "passes/pass.h"
#include "passes/passes.h"
#include "providers/cpu/host_op.h"
#include "providers/cpu/provider.h"
#include "providers/cuda/texts.h"
#include "runtime/provider.h"
#include "tiercel/kernel.h"

namespace py = pybind11;

namespace tiercel::bindings {
namespace {

const char* kind_name(Param::Kind kind) {
  switch (kind) {
    case Param::Single:
      return "single";
    case Param::Optional:
      return "optional";
    case Param::Variadic:
      return "variadic";
  }
  return "single";
}

const char* kind_name(AttrDef::Kind kind) {
  constexpr const char* names[] = {"int",           "float",      "string", "tensor", "graph",
                                   "sparse_tensor", "type_proto", "ints",   "floats", "strings",
                                   "tensors",       "graphs",     "types"};
  return names[kind];
}

py::list param_list(const std::vector<Param>& params) {
  py::list out;
  for (const Param& param : params) {
    out.append(py::make_tuple(param.name, param.type, kind_name(param.kind), param.homogeneous,
                              param.min_arity));
  }
  return out;
}

py::list fact_list(const OpDef& def) {
  constexpr std::pair<OpFact, const char*> names[] = {{kCommutative, "commutative"},
                                                      {kElementwise, "elementwise"},
                                                      {kAlias, "alias"},
                                                      {kNondeterministic, "nondeterministic"},
                                                      {kControlFlow, "control_flow"},
                                                      {kDataDependent, "data_dependent"},
                                                      {kIdempotent, "idempotent"},
                                                      {kJoins, "joins"},
                                                      {kCuts, "cuts"}};
  py::list out;
  for (const auto& [fact, name] : names) {
    if (def.has(fact)) out.append(name);
  }
  return out;
}

py::dict op_dict(const OpDef& def) {
  py::dict types;
  for (const TypeParam& type : def.types) types[py::str(std::string(type.name))] = type.types;
  py::list attributes;
  for (const AttrDef& a : def.attributes) {
    attributes.append(py::make_tuple(a.name, kind_name(a.kind), a.required,
                                     a.value ? from_attribute(*a.value) : py::none()));
  }
  py::dict out;
  out["domain"] = def.domain;
  out["name"] = def.name;
  out["since"] = def.since;
  out["inputs"] = param_list(def.inputs);
  out["outputs"] = param_list(def.outputs);
  out["types"] = types;
  out["attributes"] = attributes;
  out["facts"] = fact_list(def);
  out["value_inputs"] = def.value_inputs;
  return out;
}

py::list op_defs() {
  py::list out;
  for (const OpDef* def : all_ops()) out.append(op_dict(*def));
  return out;
}

py::object dim_object(const Dim& dim) {
  if (dim.known()) return py::int_(dim.value());
  return dim.symbolic() ? py::object(py::str(dim.name())) : py::none();
}

// What the shape functions say of the outputs of a model that is only read and upgraded.
py::list infer_outputs(const py::bytes& model) {
  const std::string_view bytes = model;
  Model read = read_model(std::as_bytes(std::span(bytes)), nullptr, "");
  upgrade(read);
  py::list out;
  for (ValueId id : read.graph.outputs) {
    const ValueInfo& value = read.graph.value(id);
    py::object shape = py::none();
    if (value.type.shape) {
      py::list dims;
      for (const Dim& dim : *value.type.shape) dims.append(dim_object(dim));
      shape = std::move(dims);
    }
    out.append(py::make_tuple(value.name, value.type.text(), shape));
  }
  return out;
}

py::dict row(const char* kind, const char* domain, const char* op, const char* variant,
             const char* isa, const char* types) {
  py::dict out;
  out["kind"] = kind;
  out["domain"] = domain;
  out["op"] = op;
  out["variant"] = variant;
  out["isa"] = isa;
  out["types"] = types;
  out["provider"] = "CPUExecutionProvider";
  return out;
}

// Compiled kernels, tile kernels and host operators, in the order in which they are tried.
py::list kernel_table() {
  py::list out;
  const TclKernelLibrary* library = tcl_builtin_kernels();
  for (int64_t i = 0; i < library->n_kernels; ++i) {
    const TclKernel& k = library->kernels[i];
    out.append(row("kernel", k.domain, k.op, k.variant, k.isa, k.types));
  }
  for (int64_t i = 0; i < library->n_tiles; ++i) {
    const TclTile& t = library->tiles[i];
    out.append(row("tile", t.domain, t.op, "tile", t.isa, t.types));
  }
  for (const HostOp& host : host_ops()) {
    out.append(row("host", std::string(host.domain).c_str(), std::string(host.name).c_str(), "host",
                   "", std::string(host.types).c_str()));
  }
  return out;
}

// Every text of PTX: kind, name, text.
py::list texts_of_device() {
  py::list out;
  for (const cuda::NamedText& one : cuda::device_texts()) {
    out.append(py::make_tuple(one.kind, one.name, one.text));
  }
  return out;
}

// A type parameter's choice, or a fixed type's own: "tensor(float)" is float.
DType param_dtype(const Param& param, const std::map<std::string, std::string>& types) {
  const auto chosen = types.find(std::string(param.type));
  std::string_view name = chosen == types.end() ? param.type : std::string_view(chosen->second);
  if (name.starts_with("tensor(")) name = name.substr(7, name.size() - 8);
  return dtype_from_name(name).value_or(DType::Undefined);
}

// Why the CPU provider does not run the first node that it refuses.
std::optional<std::string> refused(const Graph& graph) {
  const std::shared_ptr<Provider> cpu = make_provider("CPUExecutionProvider", {});
  for (NodeId id : graph.order) {
    const Node& node = graph.node(id);
    if (node.removed || node.def->has(kAlias)) continue;
    if (std::optional<std::string> why = cpu->refuses(graph, node)) return why;
  }
  return std::nullopt;
}

// Why the CPU provider runs neither one node of an operator nor what it is made of, with tensors of
// these element types and unknown shapes; None when it does.
py::object refusal(const std::string& domain, const std::string& op,
                   const std::map<std::string, std::string>& types) {
  Graph graph;
  Node node;
  node.domain = domain;
  node.op_type = op;
  node.def = find_op(domain, op);
  if (node.def == nullptr) throw_error(ErrorKind::InvalidArgument, "no operator ", domain, ".", op);
  const auto add = [&](const std::vector<Param>& params, std::vector<ValueId>& values) {
    for (const Param& param : params) {
      for (int i = 0; i < (param.kind == Param::Variadic ? std::max(param.min_arity, 1) : 1); ++i) {
        const DType dtype = param_dtype(param, types);
        if (dtype == DType::Undefined) return false;
        values.push_back(graph.add_value(concat("v", graph.values.size()), Type::tensor(dtype)));
      }
    }
    return true;
  };
  if (!add(node.def->inputs, node.inputs) || !add(node.def->outputs, node.outputs)) {
    return py::str("it takes or gives other values than tensors");
  }
  for (const AttrDef& attribute : node.def->attributes) {  // any value: inference needs one
    if (!attribute.required) continue;
    if (attribute.kind == AttrDef::Int) node.attributes.set(attribute.name, int64_t{1});
    if (attribute.kind == AttrDef::Ints) {
      node.attributes.set(attribute.name, std::vector<int64_t>{1, 1});
    }
  }
  const NodeId id = graph.add_node(std::move(node));
  graph.outputs = graph.node(id).outputs;
  std::optional<std::string> why = refused(graph);
  if (why) {
    try {  // other operators may stand for this one
      PassContext context;
      if (passes::expand(graph, context)) why = refused(graph);
    } catch (const Error&) {
      return py::str(*why);
    }
  }
  return why ? py::object(py::str(*why)) : py::none();
}

std::vector<std::string> pass_names() {
  std::vector<std::string> out;
  for (const auto passes : {generic_passes(), provider_passes(), specialise_passes()}) {
    for (const Pass& pass : passes) out.emplace_back(pass.name);
  }
  return out;
}

}  // namespace

void bind_introspection(py::module_& module) {
  module.def("pass_names", &pass_names, "Names of all passes, in the order of the pipeline.");
  module.def("set_seed", &set_random_seed, py::arg("seed"),
             "The seed of random operators without one, in sessions made afterwards.");
  module.def("op_defs", &op_defs, "Every operator that the runtime knows, as a list of dicts.");
  module.def("infer_outputs", &infer_outputs, py::arg("model"),
             "Name, type and shape of each output as far as the model says without being run.");
  module.def("kernel_table", &kernel_table, "Every kernel row, as a list of dicts.");
  module.def("device_texts", &texts_of_device,
             "Kind, name and PTX of everything that GPUs run, as a list of tuples.");
  module.def(
      "inflate",
      [](const py::bytes& data, size_t size) {
        return py::bytes(inflate(std::string_view(data), size));
      },
      py::arg("data"), py::arg("size"), "The bytes that raw deflate data of that size stands for.");
  module.def(
      "supported_isas",
      [] {
        const auto isas = supported_isas();
        return std::vector<std::string>(isas.begin(), isas.end());
      },
      "Instruction sets that this process may use, best first.");
  module.def("refusal", &refusal, py::arg("domain"), py::arg("op"), py::arg("types"),
             "Why the CPU provider does not run an operator in these element types, or None.");
  module.def("provider_missing", &provider_missing, py::arg("name"),
             "What keeps a provider from starting on this machine; empty: nothing.");
  module.def("available_providers", &available_providers,
             "Names of the execution providers that sessions can use here, most preferred first.");
}

}  // namespace tiercel::bindings
