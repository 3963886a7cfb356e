// The Python class _core.Session: loading, introspection, runs on held values.
#include "bindings/session.h"

#include <pybind11/stl.h>

#include <algorithm>

#include "bindings/errors.h"
#include "bindings/numpy_values.h"
#include "bindings/ort_value.h"
#include "runtime/provider.h"

namespace py = pybind11;

namespace tiercel::bindings {
namespace {

using Ports = std::vector<PySession::Port>;

void add_ports(Ports& ports, const std::vector<IoInfo>& infos, bool required) {
  for (const IoInfo& info : infos) {
    const auto size = static_cast<Py_ssize_t>(info.name.size());
    PyObject* name = PyUnicode_DecodeUTF8(info.name.data(), size, "surrogateescape");
    if (name == nullptr) throw py::error_already_set();
    PyUnicode_InternInPlace(&name);
    ports.push_back({name, &info, required && info.type.kind != Type::Kind::Optional});
  }
}

std::vector<std::pair<std::string, std::string>> string_pairs(const py::handle& object) {
  return object.cast<std::vector<std::pair<std::string, std::string>>>();
}

// Dim as ORT shows it: int, str, or None.
py::list shape_list(const Type& type) {
  py::list out;
  if (!type.shape) return out;
  for (const Dim& dim : *type.shape) {
    if (dim.known()) {
      out.append(dim.value());
    } else if (dim.symbolic()) {
      out.append(dim.name());
    } else {
      out.append(py::none());
    }
  }
  return out;
}

py::list port_list(const std::vector<IoInfo>& infos) {
  py::list out;
  for (const IoInfo& info : infos) {
    const Type* leaf = &info.type;
    while (leaf->element && leaf->kind != Type::Kind::Map) leaf = leaf->element.get();
    out.append(py::make_tuple(info.name, info.type.text(), shape_list(info.type),
                              static_cast<int>(leaf->dtype)));
  }
  return out;
}

// Gives outputs to memory that the caller bound, and keeps the others as values.
class ValueSink final : public OutputSink {
 public:
  ValueSink(size_t count, std::vector<Value> bound, std::vector<DeviceMemory*> memories)
      : values_(count), bound_(std::move(bound)), memories_(std::move(memories)) {}
  void* allocate(int index, DType dtype, std::span<const int64_t> dims) override {
    const Tensor* tensor = bound_[static_cast<size_t>(index)].tensor();
    if (tensor == nullptr) return nullptr;
    if (tensor->dtype() != dtype || !std::ranges::equal(tensor->dims(), dims)) {
      throw_error(ErrorKind::InvalidArgument, "bound output ", index, " is tensor(",
                  dtype_name(tensor->dtype()), ") of shape ", dims_text(tensor->dims()),
                  ", the model gives tensor(", dtype_name(dtype), ") of shape ", dims_text(dims));
    }
    if (dtype == DType::String) return nullptr;
    values_[static_cast<size_t>(index)] = *tensor;
    return tensor->raw();
  }
  void set(int index, Value value) override {
    const auto at = static_cast<size_t>(index);
    const Tensor* from = value.tensor();
    const bool bound = from != nullptr && bound_[at].tensor() != nullptr;
    if (!bound || allocate(index, from->dtype(), from->dims()) == nullptr) {
      values_[at] = std::move(value);
    } else {
      const Tensor& target = *bound_[at].tensor();
      copy_elements(target, *from);
      if (memory_of(target) != nullptr) memory_of(target)->synchronize();  // ends with the run
    }
  }
  [[nodiscard]] DeviceMemory* memory(int index) const override {
    return memories_[static_cast<size_t>(index)];
  }
  [[nodiscard]] Value take(int index) { return std::move(values_[static_cast<size_t>(index)]); }

 private:
  std::vector<Value> values_;
  std::vector<Value> bound_;
  std::vector<DeviceMemory*> memories_;
};

Value value_or_empty(const py::handle& object) {
  if (object.is_none()) return {};
  return object.cast<OrtValue&>().value;
}

// Feeds by name, wanted names, bound outputs by name: the value to write, or the device to be made
// on as its name and number, or None; outputs as OrtValues. Feeds must own their memory.
py::list run_values(const PySession& self, const py::object& names, const py::dict& feeds,
                    const py::dict& bound, PyRunOptions* options) {
  const std::shared_ptr<Session> core = self.get();
  std::vector<int> storage, asked;
  const std::span<const int> wanted = self.wanted(names.ptr(), storage, asked);
  std::vector<Value> values;
  size_t found = 0;
  for (const PySession::Port& port : self.inputs()) {
    const bool given = feeds.contains(py::handle(port.name));
    if (!given && port.required) {
      throw_error(ErrorKind::InvalidArgument, "Missing Input: ", port.info->name);
    }
    found += given ? 1 : 0;
    values.push_back(given ? value_or_empty(feeds[py::handle(port.name)]) : Value());
  }
  if (found != feeds.size()) {
    throw_error(ErrorKind::InvalidArgument, "the feed names an input that the model does not have");
  }
  std::vector<Value> targets;
  std::vector<DeviceMemory*> memories;
  for (const PySession::Port& port : self.outputs()) {
    const bool given = bound.contains(py::handle(port.name));
    const py::object target = given ? bound[py::handle(port.name)] : py::object(py::none());
    const bool device = py::isinstance<py::tuple>(target);
    targets.push_back(device ? Value() : value_or_empty(target));
    if (device) {
      const auto [name, number] = target.cast<std::pair<std::string, int>>();
      memories.push_back(device_memory(name, number));
    } else {
      const Tensor* tensor = targets.back().tensor();
      memories.push_back(tensor != nullptr ? memory_of(*tensor) : nullptr);
    }
  }
  const RunOptions run_options = options != nullptr ? options->for_core() : RunOptions{};
  ValueSink sink(self.outputs().size(), std::move(targets), std::move(memories));
  {
    py::gil_scoped_release released;
    core->run(values, wanted, run_options, sink);
  }
  std::vector<OrtValue> taken(self.outputs().size());
  for (int index : wanted) taken[static_cast<size_t>(index)].value = sink.take(index);
  py::list out;
  for (int index : asked.empty() ? wanted : std::span<const int>(asked)) {
    out.append(taken[static_cast<size_t>(index)]);
  }
  return out;
}

std::unique_ptr<PySession> load_path(const std::string& path, const py::dict& options) {
  const SessionOptions parsed = session_options(options);
  std::shared_ptr<Session> session;
  {
    py::gil_scoped_release released;
    session = Session::load(path, parsed);
  }
  return std::make_unique<PySession>(std::move(session));
}

// A Python object's memory, which stays alive for as long as the core needs it.
ExternalBytes buffer_bytes(const py::handle& source) {
  auto view = std::make_unique<Py_buffer>();
  if (PyObject_GetBuffer(source.ptr(), view.get(), PyBUF_SIMPLE) != 0) {
    throw py::error_already_set();
  }
  auto release = [](void* pointer) {
    auto* held = static_cast<Py_buffer*>(pointer);
    if (Py_IsInitialized()) {
      PyGILState_STATE state = PyGILState_Ensure();
      PyBuffer_Release(held);
      PyGILState_Release(state);
    }
    delete held;
  };
  const std::span<const std::byte> bytes(static_cast<const std::byte*>(view->buf),
                                         static_cast<size_t>(view->len));
  return {bytes, std::shared_ptr<void>(view.release(), release)};
}

std::unique_ptr<PySession> load_bytes(const py::buffer& source, const std::string& base,
                                      const py::dict& options) {
  const SessionOptions parsed = session_options(options);
  auto [bytes, owner] = buffer_bytes(source);
  std::shared_ptr<Session> session;
  {
    py::gil_scoped_release released;
    session = Session::load(bytes, std::move(owner), base, parsed);
  }
  return std::make_unique<PySession>(std::move(session));
}

py::dict model_facts(const PySession& self) {
  const std::shared_ptr<Session> core = self.get();
  const Model& model = core->model();
  py::dict out;
  out["producer_name"] = model.producer_name;
  out["graph_name"] = model.graph.name;
  out["domain"] = model.domain;
  out["description"] = model.doc;
  out["graph_description"] = model.graph.doc;
  out["version"] = model.model_version;
  out["ir_version"] = model.ir_version;
  out["opset_imports"] = model.opset_imports;
  py::dict metadata;
  for (const auto& [key, value] : model.metadata) metadata[py::str(key)] = value;
  out["custom_metadata_map"] = metadata;
  return out;
}

// (name, op, domain, provider, reason) of every node of the optimised graph, in order.
py::list node_list(const PySession& self) {
  const std::shared_ptr<Session> core = self.get();
  const Graph& graph = core->model().graph;
  py::list out;
  for (NodeId id : graph.order) {
    const Node& node = graph.node(id);
    if (node.removed) continue;
    out.append(py::make_tuple(node.name, node.op_type, node.domain, node.provider, node.reason));
  }
  return out;
}

py::dict memory_facts(const PySession& self) {
  const Session::MemoryReport report = self.get()->memory();
  py::dict out;
  out["arena_bytes"] = report.arena_bytes;
  out["lower_bound_bytes"] = report.lower_bound_bytes;
  out["weights_bytes"] = report.weights_bytes;
  out["plans"] = report.plans;
  return out;
}

}  // namespace

PySession::PySession(std::shared_ptr<Session> session) : session_(std::move(session)) {
  add_ports(inputs_, session_->inputs(), true);
  add_ports(inputs_, session_->overridable_initializers(), false);
  add_ports(outputs_, session_->outputs(), false);
  for (size_t i = 0; i < outputs_.size(); ++i) all_.push_back(static_cast<int>(i));
}

PySession::~PySession() {
  for (const Port& port : inputs_) Py_DECREF(port.name);
  for (const Port& port : outputs_) Py_DECREF(port.name);
}

std::shared_ptr<Session> PySession::get() const {
  if (!session_) throw_error(ErrorKind::Fail, "the session is closed");
  return session_;
}

std::span<const int> PySession::wanted(PyObject* names, std::vector<int>& storage,
                                       std::vector<int>& asked) const {
  if (names == Py_None) return all_;
  py::object list =
      py::reinterpret_steal<py::object>(PySequence_Fast(names, "output_names: expected a list"));
  if (!list) throw py::error_already_set();
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(list.ptr());
  if (count == 0) return all_;
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* name = PySequence_Fast_GET_ITEM(list.ptr(), i);
    const auto same = [name](const Port& port) {
      return port.name == name || PyObject_RichCompareBool(port.name, name, Py_EQ) == 1;
    };
    const auto port = std::find_if(outputs_.begin(), outputs_.end(), same);
    if (port == outputs_.end()) {
      const std::string text = py::str(py::handle(name)).cast<std::string>();
      throw_error(ErrorKind::InvalidArgument, "Invalid output name:", text);
    }
    const int index = static_cast<int>(port - outputs_.begin());
    asked.push_back(index);
    if (std::find(storage.begin(), storage.end(), index) == storage.end()) storage.push_back(index);
  }
  if (asked.size() == storage.size()) asked.clear();
  return storage;
}

SessionOptions session_options(const py::dict& options) {
  SessionOptions out;
  out.level = static_cast<OptimizationLevel>(options["level"].cast<int>());
  out.intra_op_threads = options["intra_op_threads"].cast<int>();
  out.profiling = options["profiling"].cast<bool>();
  out.profile_prefix = options["profile_prefix"].cast<std::string>();
  out.optimized_model_path = options["optimized_model_path"].cast<std::string>();
  out.config = string_pairs(options["config"]);
  out.dim_overrides = options["dim_overrides"].cast<std::vector<std::pair<std::string, int64_t>>>();
  out.denotation_overrides =
      options["denotation_overrides"].cast<std::vector<std::pair<std::string, int64_t>>>();
  for (const py::handle& entry : options["files"]) {
    const auto pair = entry.cast<py::tuple>();
    out.files[pair[0].cast<std::string>()] = buffer_bytes(pair[1]);
  }
  for (const py::handle& entry : options["initializers"]) {
    const auto pair = entry.cast<py::tuple>();
    const Tensor* tensor = pair[1].cast<OrtValue&>().value.tensor();
    if (tensor == nullptr) throw_error(ErrorKind::InvalidArgument, "an initializer is a tensor");
    out.initializers.emplace_back(pair[0].cast<std::string>(), on_host(*tensor));
  }
  out.disabled_passes = options["disabled_passes"].cast<std::vector<std::string>>();
  out.verify = options["verify"].cast<bool>();
  for (const py::handle& entry : options["providers"]) {
    const auto pair = entry.cast<py::tuple>();
    out.providers.emplace_back(pair[0].cast<std::string>(), string_pairs(pair[1]));
  }
  return out;
}

void bind_session(py::module_& module) {
  py::class_<PyRunOptions>(module, "RunOptions")
      .def(py::init<>())
      .def_property(
          "terminate", [](const PyRunOptions& self) { return self.terminate.load(); },
          [](PyRunOptions& self, bool value) { self.terminate.store(value); })
      .def_property(
          "timeout", [](const PyRunOptions& self) { return self.timeout; },
          [](PyRunOptions& self, double seconds) {
            if (!(seconds >= 0)) throw py::value_error("timeout: expected seconds >= 0");
            self.timeout = seconds;
          });
  py::class_<PySession> session(module, "Session");
  session.def_static("from_path", &load_path, py::arg("path"), py::arg("options"))
      .def_static("from_bytes", &load_bytes, py::arg("data"), py::arg("base"), py::arg("options"))
      .def("run_values", &run_values, py::arg("output_names"), py::arg("feeds"), py::arg("bound"),
           py::arg("run_options") = static_cast<PyRunOptions*>(nullptr))
      .def("close", &PySession::close)
      .def("explain", [](const PySession& self) { return self.get()->explain(); })
      .def("end_profiling", [](const PySession& self) { return self.get()->end_profiling(); })
      .def("profiling_start_ns",
           [](const PySession& self) { return self.get()->profiling_start_ns(); })
      .def("inputs", [](const PySession& self) { return port_list(self.get()->inputs()); })
      .def("outputs", [](const PySession& self) { return port_list(self.get()->outputs()); })
      .def("overridable_initializers",
           [](const PySession& self) { return port_list(self.get()->overridable_initializers()); })
      .def("providers", [](const PySession& self) { return self.get()->providers(); })
      .def("model", &model_facts)
      .def("nodes", &node_list)
      .def("memory", &memory_facts)
      .def("release_memory", [](const PySession& self) {
        const std::shared_ptr<Session> core = self.get();
        py::gil_scoped_release released;
        core->release_memory();
      });
  add_fast_run(session);
}

}  // namespace tiercel::bindings
