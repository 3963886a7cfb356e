// Session.run: from a feed dict to a list of arrays with as few instructions as can be.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <utility>

#include "base/blocks.h"
#include "bindings/errors.h"
#include "bindings/numpy_values.h"
#include "bindings/session.h"

namespace py = pybind11;

namespace tiercel::bindings {
namespace {

// Takes outputs as plain memory while the GIL is released; arrays are made from it afterwards.
class ArraySink final : public OutputSink {
 public:
  explicit ArraySink(size_t count) : slots_(count) {}
  ArraySink(const ArraySink&) = delete;
  ArraySink& operator=(const ArraySink&) = delete;
  ~ArraySink() override {
    for (Slot& slot : slots_) release_block(slot.memory);
  }

  void* allocate(int index, DType dtype, std::span<const int64_t> dims) override {
    if (!same_layout(dtype)) return nullptr;
    Slot& slot = slots_[static_cast<size_t>(index)];
    const auto bytes = static_cast<size_t>(dtype_bytes(dtype, element_count(dims)));
    release_block(std::exchange(slot.memory, nullptr));
    slot.memory = take_block(bytes);
    if (slot.memory == nullptr) {
      throw_error(ErrorKind::RuntimeException, "out of memory: an output needs ", bytes, " bytes");
    }
    slot.dtype = dtype;
    slot.dims.assign(dims.begin(), dims.end());
    return slot.memory;
  }

  void set(int index, Value value) override {
    slots_[static_cast<size_t>(index)].value = std::move(value);
  }

  // New reference.
  PyObject* take(int index) {
    Slot& slot = slots_[static_cast<size_t>(index)];
    if (slot.memory == nullptr) return from_value(std::move(slot.value));
    return array_over(std::exchange(slot.memory, nullptr), slot.dtype, slot.dims);
  }

 private:
  struct Slot {
    void* memory = nullptr;
    DType dtype = DType::Undefined;
    Dims dims;
    Value value;
  };
  std::vector<Slot> slots_;
};

class WithoutGil {
 public:
  WithoutGil() : state_(PyEval_SaveThread()) {}
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;
  ~WithoutGil() { PyEval_RestoreThread(state_); }

 private:
  PyThreadState* state_;
};

[[noreturn]] void report_missing(const PySession& session, PyObject* feeds) {
  py::list missing;
  for (const PySession::Port& port : session.inputs()) {
    if (port.required && PyDict_Contains(feeds, port.name) == 0)
      missing.append(py::handle(port.name));
  }
  py::list given(py::reinterpret_steal<py::object>(PyDict_Keys(feeds)));
  const std::string text =
      concat("Required inputs (", py::repr(missing).cast<std::string>(),
             ") are missing from input feed (", py::repr(given).cast<std::string>(), ").");
  throw py::value_error(text);
}

[[noreturn]] void report_unknown(const PySession& session, PyObject* feeds) {
  PyObject *key, *value;
  Py_ssize_t position = 0;
  while (PyDict_Next(feeds, &position, &key, &value)) {
    bool known = false;
    for (const PySession::Port& port : session.inputs()) {
      known = known || PyObject_RichCompareBool(port.name, key, Py_EQ) == 1;
    }
    if (!known) {
      throw_error(ErrorKind::InvalidArgument,
                  "Invalid input name: ", py::str(py::handle(key)).cast<std::string>());
    }
  }
  throw_error(ErrorKind::InvalidArgument, "the input feed changed while it was read");
}

std::vector<Value> read_feeds(const PySession& session, PyObject* feeds, Held& held) {
  std::vector<Value> values;
  values.reserve(session.inputs().size());
  Py_ssize_t found = 0;
  for (const PySession::Port& port : session.inputs()) {
    PyObject* object = PyDict_GetItemWithError(feeds, port.name);
    if (object == nullptr) {
      if (PyErr_Occurred() != nullptr) throw py::error_already_set();
      if (port.required) report_missing(session, feeds);
      values.emplace_back();
      continue;
    }
    ++found;
    values.push_back(to_value(object, port.info->type, port.info->name, held));
  }
  if (found != PyDict_GET_SIZE(feeds)) report_unknown(session, feeds);
  return values;
}

std::optional<std::chrono::steady_clock::time_point> deadline_in(double seconds) {
  using Clock = std::chrono::steady_clock;
  if (seconds >= 1e9) return std::nullopt;
  return Clock::now() +
         std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

RunOptions read_options(PyObject* options, PyObject* timeout) {
  RunOptions out;
  if (options != nullptr && options != Py_None) {
    py::handle handle(options);
    if (!py::isinstance<PyRunOptions>(handle)) {
      throw py::type_error(
          concat("run_options: expected RunOptions, got ", Py_TYPE(options)->tp_name));
    }
    out = py::cast<PyRunOptions&>(handle).for_core();
  }
  if (timeout != nullptr && timeout != Py_None) {
    const double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred() != nullptr) throw py::error_already_set();
    if (!(seconds >= 0)) throw py::value_error("timeout: expected seconds >= 0");
    out.deadline = deadline_in(seconds);
  }
  return out;
}

PySession& session_in(PyObject* self) {
  auto* instance = reinterpret_cast<py::detail::instance*>(self);
  void* pointer = instance->get_value_and_holder().value_ptr();
  if (pointer == nullptr) throw py::value_error("Session.__init__ was not called");
  return *static_cast<PySession*>(pointer);
}

template <class Take>
py::object list_of(std::span<const int> wanted, const Take& take) {
  py::object out =
      py::reinterpret_steal<py::object>(PyList_New(static_cast<Py_ssize_t>(wanted.size())));
  if (!out) throw py::error_already_set();
  for (size_t i = 0; i < wanted.size(); ++i) {
    PyList_SET_ITEM(out.ptr(), static_cast<Py_ssize_t>(i), take(wanted[i]));
  }
  return out;
}

// Results in the order asked for, where some name was given twice: each is a copy of its own.
py::object repeated(const py::object& results, std::span<const int> wanted,
                    const std::vector<int>& asked) {
  const py::object copy = py::module_::import("copy").attr("deepcopy");
  std::vector<bool> given(wanted.size(), false);
  py::list out;
  for (int index : asked) {
    const auto at = static_cast<size_t>(std::ranges::find(wanted, index) - wanted.begin());
    const py::object result = results[py::int_(at)];
    out.append(given[at] ? copy(result) : result);
    given[at] = true;
  }
  return out;
}

PyObject* run(PyObject* self, PyObject* names, PyObject* feeds, PyObject* run_options,
              PyObject* timeout) {
  PySession& session = session_in(self);
  const std::shared_ptr<Session> core = session.get();
  py::object as_dict;
  if (!PyDict_Check(feeds)) {
    as_dict = py::dict(py::reinterpret_borrow<py::object>(feeds));
    feeds = as_dict.ptr();
  }
  std::vector<int> storage;
  std::vector<int> asked;
  const std::span<const int> wanted = session.wanted(names, storage, asked);
  Held held;
  const std::vector<Value> values = read_feeds(session, feeds, held);
  const RunOptions options = read_options(run_options, timeout);
  ArraySink sink(session.outputs().size());
  {
    const WithoutGil released;
    core->run(values, wanted, options, sink);
  }
  py::object out = list_of(wanted, [&](int index) { return sink.take(index); });
  return asked.empty() ? out.release().ptr() : repeated(out, wanted, asked).release().ptr();
}

PyObject* fast_run(PyObject* self, PyObject* const* args, Py_ssize_t count) {
  if (count < 2 || count > 4) {
    PyErr_SetString(PyExc_TypeError, "run(output_names, feeds, run_options=None, timeout=None)");
    return nullptr;
  }
  return guarded([&] {
    return run(self, args[0], args[1], count > 2 ? args[2] : nullptr,
               count > 3 ? args[3] : nullptr);
  });
}

PyMethodDef fast_run_method = {
    "run", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(fast_run)), METH_FASTCALL,
    "run(output_names, feeds, run_options=None, timeout=None, /) -> list of outputs"};

}  // namespace

RunOptions PyRunOptions::for_core() const {
  RunOptions out;
  out.terminate = &terminate;
  if (timeout > 0) out.deadline = deadline_in(timeout);
  return out;
}

void add_fast_run(py::handle session_class) {
  PyObject* method =
      PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(session_class.ptr()), &fast_run_method);
  if (method == nullptr) throw py::error_already_set();
  session_class.attr("run") = py::reinterpret_steal<py::object>(method);
}

}  // namespace tiercel::bindings
