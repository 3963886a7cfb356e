// Operators written in Python: registration with the core, native code or a call of the function.
// The Python half, tiercel.custom_op.CustomOp, knows annotations and numba; here it is `handler`.
#include "bindings/custom_op.h"

#include <pybind11/stl.h>

#include <map>
#include <mutex>
#include <shared_mutex>

#include "bindings/numpy_values.h"
#include "ops/op_def.h"
#include "providers/cpu/host_call.h"
#include "providers/cuda/custom.h"

namespace py = pybind11;

namespace tiercel::bindings {
namespace {

// Native code of one operator for inputs of certain element types and ranks: data and dims (of all
// inputs, one after the other); `give(context, output, dims, rank)` returns memory for an output.
// Returns 0, or 1 when the function raised.
using Give = void* (*)(void* context, int64_t output, const int64_t* dims, int64_t rank);
using NativeFn = int32_t (*)(void* const* data, const int64_t* dims, void* context, Give give);

struct CustomOutput {
  DType dtype;  // Undefined: that of `input`
  int input;
};

// Graphs point at the OpDef, so that none is ever freed.
struct CustomOp {
  std::string domain, name;
  std::deque<std::string> texts;  // what the OpDef's views look at
  std::vector<CustomOutput> outputs;
  py::object handler;
};

struct CustomOps {
  std::shared_mutex mutex;
  std::map<const OpDef*, const CustomOp*> by_def;
};

CustomOps& custom_ops() {
  static auto* made = new CustomOps;
  return *made;
}

const CustomOp& custom_op_of(const Node& node) {
  CustomOps& ops = custom_ops();
  const std::shared_lock lock(ops.mutex);
  return *ops.by_def.at(node.def);
}

// Calls into Python with the GIL; what Python raises becomes an Error of the node.
template <class Body>
auto in_python(const Node& node, ErrorKind kind, Body&& body) {
  const py::gil_scoped_acquire gil;
  try {
    return body();
  } catch (py::error_already_set& raised) {
    const py::object text =
        py::module_::import("tiercel.custom_op").attr("describe")(raised.value());
    throw_error(kind, where(node), ": ", text.cast<std::string>());
  }
}

// Attributes by name, complete with defaults.
py::object attribute_dict(const CustomOp& op, const Node& node) {
  py::dict given;
  for (const Attributes::Entry& entry : node.attributes) {
    given[py::str(entry.name)] = from_attribute(entry.read());
  }
  return op.handler.attr("complete_attributes")(given);
}

using Shapes = std::vector<std::optional<Shape>>;

py::object shape_object(const std::optional<Shape>& shape) {
  if (!shape) return py::none();
  py::tuple out(shape->size());
  for (size_t i = 0; i < shape->size(); ++i) {
    const Dim& dim = (*shape)[i];
    out[i] = dim.known()      ? py::object(py::int_(dim.value()))
             : dim.symbolic() ? py::object(py::str(dim.name()))
                              : py::object(py::none());
  }
  return out;
}

std::optional<Shape> shape_from(const py::handle& object) {
  if (object.is_none()) return std::nullopt;
  Shape out;
  for (const py::handle dim : object) {
    if (dim.is_none()) {
      out.emplace_back();
    } else if (py::isinstance<py::str>(dim)) {
      out.push_back(Dim::symbol(dim.cast<std::string>()));
    } else {
      out.emplace_back(dim.cast<int64_t>());
    }
  }
  return out;
}

// What the user's shape function says; needs the GIL.
Shapes call_shape_function(const CustomOp& op, const py::object& attributes, const Shapes& inputs) {
  py::list given;
  for (const auto& shape : inputs) given.append(shape_object(shape));
  Shapes out;
  for (const py::handle shape : op.handler.attr("infer_shapes")(attributes, given)) {
    out.push_back(shape_from(shape));
  }
  return out;
}

void infer_custom(InferContext& ctx) {
  const CustomOp& op = custom_op_of(ctx.node());
  Shapes inputs;
  for (int i = 0; i < ctx.input_count(); ++i) {
    inputs.push_back(ctx.has_input(i) ? ctx.shape(i) : std::nullopt);
  }
  const Shapes shapes = in_python(ctx.node(), ErrorKind::InvalidGraph, [&] {
    return call_shape_function(op, attribute_dict(op, ctx.node()), inputs);
  });
  for (int i = 0; i < ctx.output_count(); ++i) {
    const CustomOutput& output = op.outputs[static_cast<size_t>(i)];
    const DType dtype = output.dtype != DType::Undefined ? output.dtype : ctx.dtype(output.input);
    ctx.set(i, dtype, shapes[static_cast<size_t>(i)]);
  }
}

// Element types and ranks of the inputs, (Undefined, -1) for absent ones.
using Signature = std::vector<std::pair<DType, int64_t>>;

Signature signature_of(const HostCall& call) {
  Signature out;
  for (size_t i = 0; i < call.node.def->inputs.size(); ++i) {
    if (has_input(call, i)) {
      out.emplace_back(tensor(call, i).dtype(), tensor(call, i).rank());
    } else {
      out.emplace_back(DType::Undefined, -1);
    }
  }
  return out;
}

// An object that goes where the GIL may not be held.
struct OwnedObject {
  explicit OwnedObject(py::object owned) : object(std::move(owned)) {}
  OwnedObject(const OwnedObject&) = delete;
  OwnedObject& operator=(const OwnedObject&) = delete;
  ~OwnedObject() {
    if (!Py_IsInitialized()) {
      object.release();
      return;
    }
    const py::gil_scoped_acquire gil;
    object = py::object();
  }
  py::object object;
};

// One node: its attributes, and what was found out for the inputs that came.
class CustomNode {
 public:
  CustomNode(const Graph& graph, const Node& node)
      : op_(custom_op_of(node)),
        attributes_(
            in_python(node, ErrorKind::InvalidGraph, [&] { return attribute_dict(op_, node); })) {
    Signature signature;
    for (size_t i = 0; i < node.def->inputs.size(); ++i) {
      const ValueId id = i < node.inputs.size() ? node.inputs[i] : kNone;
      if (id == kNone) {
        signature.emplace_back(DType::Undefined, -1);
        continue;
      }
      const Type& type = graph.value(id).type;
      if (!type.is_tensor() || !type.shape) return;  // known when it runs
      signature.emplace_back(type.dtype, static_cast<int64_t>(type.shape->size()));
    }
    (void)native(node, signature);
  }

  [[nodiscard]] const CustomOp& op() const { return op_; }
  [[nodiscard]] const py::object& attributes() const { return attributes_.object; }

  // nullptr: the function runs in Python.
  [[nodiscard]] NativeFn native(const Node& node, const Signature& signature) const {
    {
      const std::shared_lock lock(mutex_);
      for (const auto& [known, run] : natives_) {
        if (known == signature) return run;
      }
    }
    const auto run = in_python(node, ErrorKind::NotImplemented, [&] {
      py::list types;
      for (const auto& [dtype, rank] : signature) {
        if (dtype == DType::Undefined) {
          types.append(py::none());
          continue;
        }
        auto* descr = reinterpret_cast<PyObject*>(descr_of(dtype));
        types.append(py::make_tuple(py::reinterpret_steal<py::object>(descr), rank));
      }
      const auto address = op_.handler.attr("native")(attributes(), types).cast<uintptr_t>();
      return reinterpret_cast<NativeFn>(address);
    });
    const std::unique_lock lock(mutex_);
    natives_.emplace_back(signature, run);
    return run;
  }

  // What the shape function says for these dims, asked once for each.
  [[nodiscard]] Shapes expected(const HostCall& call) const {
    Shapes inputs;
    std::vector<int64_t> key;
    for (size_t i = 0; i < call.node.def->inputs.size(); ++i) {
      inputs.emplace_back();
      key.push_back(-1);
      if (!has_input(call, i)) continue;
      const Dims& dims = tensor(call, i).dims();
      inputs.back() = Shape(dims.begin(), dims.end());
      key.back() = static_cast<int64_t>(dims.size());
      key.insert(key.end(), dims.begin(), dims.end());
    }
    {
      const std::shared_lock lock(mutex_);
      const auto known = shapes_.find(key);
      if (known != shapes_.end()) return known->second;
    }
    const Shapes found = in_python(call.node, ErrorKind::RuntimeException,
                                   [&] { return call_shape_function(op_, attributes(), inputs); });
    const std::unique_lock lock(mutex_);
    if (shapes_.size() >= kKeptShapes) shapes_.clear();
    shapes_[key] = found;
    return found;
  }

 private:
  static constexpr size_t kKeptShapes = 256;
  const CustomOp& op_;
  OwnedObject attributes_;
  mutable std::shared_mutex mutex_;  // never held while waiting for the GIL
  mutable std::vector<std::pair<Signature, NativeFn>> natives_;
  mutable std::map<std::vector<int64_t>, Shapes> shapes_;
};

// Why the function cannot run this node, as far as its inputs are known.
std::optional<std::string> refuse_custom(const Graph& graph, const Node& node) {
  try {
    const CustomNode made(graph, node);
    return std::nullopt;
  } catch (const Error& error) {
    const std::string text = error.what(), place = concat(where(node), ": ");
    return text.starts_with(place) ? text.substr(place.size()) : text;
  }
}

std::shared_ptr<const void> prepare_custom(const Graph& graph, const Node& node) {
  return std::make_shared<const CustomNode>(graph, node);
}

DType output_dtype(const HostCall& call, const CustomOutput& output) {
  if (output.dtype != DType::Undefined) return output.dtype;
  return tensor(call, static_cast<size_t>(output.input)).dtype();
}

struct GiveContext {
  const CustomOp* op;
  const HostCall* call;
  std::vector<Tensor> outputs;
};

void* give_memory(void* context, int64_t output, const int64_t* dims, int64_t rank) {
  auto& to = *static_cast<GiveContext*>(context);
  const auto at = static_cast<size_t>(output);
  to.outputs[at] = Tensor(output_dtype(*to.call, to.op->outputs[at]), Dims(dims, dims + rank));
  return to.outputs[at].raw();
}

// False when the function raised.
bool run_native(NativeFn native, const CustomOp& op, HostCall& call, std::vector<Tensor>& outputs) {
  std::vector<void*> data;
  std::vector<int64_t> dims;
  for (size_t i = 0; i < call.node.def->inputs.size(); ++i) {
    data.push_back(has_input(call, i) ? tensor(call, i).raw() : nullptr);
    if (!has_input(call, i)) continue;
    const Dims& own = tensor(call, i).dims();
    dims.insert(dims.end(), own.begin(), own.end());
  }
  GiveContext context{&op, &call, std::vector<Tensor>(op.outputs.size())};
  if (native(data.data(), dims.data(), &context, give_memory) != 0) return false;
  outputs = std::move(context.outputs);
  return true;
}

void run_python(const CustomNode& custom, HostCall& call, std::vector<Tensor>& outputs) {
  in_python(call.node, ErrorKind::RuntimeException, [&] {
    py::list inputs;
    for (size_t i = 0; i < call.node.def->inputs.size(); ++i) {
      inputs.append(has_input(call, i) ? py::reinterpret_steal<py::object>(
                                             from_value(Value(tensor(call, i)), true))
                                       : py::object(py::none()));
    }
    py::list dtypes;
    for (const CustomOutput& output : custom.op().outputs) {
      auto* descr = reinterpret_cast<PyObject*>(descr_of(output_dtype(call, output)));
      dtypes.append(py::reinterpret_steal<py::object>(descr));
    }
    const py::list arrays = custom.op().handler.attr("call")(custom.attributes(), inputs, dtypes);
    for (size_t i = 0; i < arrays.size(); ++i) {
      const DType dtype = output_dtype(call, custom.op().outputs[i]);
      const Value value =
          to_owning_value(py::object(arrays[i]).ptr(), Type::tensor(dtype), concat("output ", i));
      outputs[i] = *value.tensor();
    }
  });
}

bool fits(const Dims& dims, const std::optional<Shape>& expected) {
  if (!expected) return true;
  if (expected->size() != dims.size()) return false;
  for (size_t i = 0; i < dims.size(); ++i) {
    if ((*expected)[i].known() && (*expected)[i].value() != dims[i]) return false;
  }
  return true;
}

void run_custom(HostCall& call) {
  const auto& custom = *static_cast<const CustomNode*>(call.state);
  std::vector<Tensor> outputs(custom.op().outputs.size());
  const NativeFn native = custom.native(call.node, signature_of(call));
  if (native == nullptr) {
    run_python(custom, call, outputs);
  } else if (!run_native(native, custom.op(), call, outputs)) {
    run_python(custom, call, outputs);  // raises again, with its message
    host_fail(call,
              "the compiled function raised an exception, the same function run by Python "
              "does not: its result depends on more than its inputs, or numba differs");
  }
  const Shapes expected = custom.expected(call);
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!fits(outputs[i].dims(), expected[i])) {
      host_fail(call, concat("output ", i, " has shape ", dims_text(outputs[i].dims()),
                             "; its shape function says ", shape_text(*expected[i])));
    }
    give(call, i, std::move(outputs[i]));
  }
}

// (name, type parameter, optional)
using PortRow = std::tuple<std::string, std::string, bool>;
// (name, kind, required), the kind being an index of AttrDef::Kind
using AttributeRow = std::tuple<std::string, std::string, bool>;
using Number = std::variant<int64_t, double>;

AttrDef::Kind attribute_kind(const std::string& name) {
  static const std::map<std::string, AttrDef::Kind> kinds = {
      {"int", AttrDef::Int},   {"float", AttrDef::Float},   {"string", AttrDef::String},
      {"ints", AttrDef::Ints}, {"floats", AttrDef::Floats}, {"strings", AttrDef::Strings}};
  return kinds.at(name);
}

std::string type_list(const py::handle& dtypes) {
  std::string out;
  for (const py::handle dtype : dtypes) {
    const DType found = dtype_of(reinterpret_cast<PyArray_Descr*>(dtype.ptr()));
    if (found == DType::Undefined) {
      throw_error(ErrorKind::InvalidArgument, "numpy dtype ", py::str(dtype).cast<std::string>(),
                  " has no ONNX element type");
    }
    out += concat(out.empty() ? "" : " ", std::string(dtype_name(found)));
  }
  return out;
}

std::vector<Param> params_of(CustomOp& op, const std::vector<PortRow>& rows) {
  const auto keep = [&](const std::string& text) {
    return std::string_view(op.texts.emplace_back(text));
  };
  std::vector<Param> out;
  for (const auto& [name, type, is_optional] : rows) {
    out.push_back({keep(name), keep(type), is_optional ? Param::Optional : Param::Single});
  }
  return out;
}

// Where an output's element type comes from.
CustomOutput output_of(const OpDef& def, const Param& output) {
  for (size_t i = 0; i < def.inputs.size(); ++i) {
    if (def.inputs[i].type == output.type) return {DType::Undefined, static_cast<int>(i)};
  }
  for (const TypeParam& type : def.types) {
    if (type.name == output.type) return {*dtype_from_name(type.types), -1};
  }
  throw_error(ErrorKind::InvalidArgument, "no input has the type of output ",
              std::string(output.name));
}

void add_custom_op(const py::object& handler, const std::string& domain, const std::string& name,
                   const std::vector<PortRow>& inputs, const std::vector<PortRow>& outputs,
                   const py::dict& types, const std::vector<AttributeRow>& attributes,
                   bool deterministic) {
  auto op = std::make_unique<CustomOp>();
  op->domain = domain;
  op->name = name;
  op->handler = handler;
  OpDef def{.domain = op->domain, .name = op->name, .shape = infer_custom};
  def.inputs = params_of(*op, inputs);
  def.outputs = params_of(*op, outputs);
  for (const auto& [type, dtypes] : types) {
    const std::string_view type_name = op->texts.emplace_back(type.cast<std::string>());
    def.types.push_back({type_name, op->texts.emplace_back(type_list(dtypes))});
  }
  for (const auto& [attribute, kind, required] : attributes) {
    def.attributes.push_back(
        {op->texts.emplace_back(attribute), attribute_kind(kind), required, std::nullopt});
  }
  if (!deterministic) def.facts |= kNondeterministic;
  for (const Param& output : def.outputs) op->outputs.push_back(output_of(def, output));
  const OpDef& added = add_op(std::move(def));
  add_host_op({added.domain, added.name, run_custom, "", prepare_custom, refuse_custom});
  CustomOps& ops = custom_ops();
  const std::unique_lock lock(ops.mutex);
  ops.by_def[&added] = op.release();
}

void add_kernel(const std::string& domain, const std::string& name, const std::string& ptx,
                const std::string& entry, const std::vector<std::pair<std::string, Number>>& given,
                size_t inputs, size_t outputs) {
  CustomKernel kernel{ptx, entry, {}};
  for (const auto& [attribute, otherwise] : given)
    kernel.attributes.push_back({attribute, otherwise});
  add_custom_kernel(domain, name, std::move(kernel), inputs, outputs);
}

}  // namespace

void bind_custom_op(py::module_& module) {
  module.def("add_custom_op", &add_custom_op, py::arg("handler"), py::arg("domain"),
             py::arg("name"), py::arg("inputs"), py::arg("outputs"), py::arg("types"),
             py::arg("attributes"), py::arg("deterministic"),
             "Adds an operator that `handler`, a tiercel.custom_op.CustomOp, computes.");
  module.def("add_custom_kernel", &add_kernel, py::arg("domain"), py::arg("name"), py::arg("ptx"),
             py::arg("entry"), py::arg("attributes"), py::arg("inputs"), py::arg("outputs"),
             "Adds the GPU's kernel of such an operator; attributes are (name, default or None).");
}

}  // namespace tiercel::bindings
