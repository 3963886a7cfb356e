// Turns the core's Error into the Python exception of the same name, which tiercel.errors defines.
#include "bindings/errors.h"

#include <new>

namespace py = pybind11;

namespace tiercel::bindings {
namespace {

// tiercel.errors.make(kind, name, message) gives the exception object.
void set_from(const Error& error) {
  // Names from damaged files may be no UTF-8.
  const std::string text = error.what();
  const auto message = py::reinterpret_steal<py::object>(
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
  py::object made =
      py::module_::import("tiercel.errors")
          .attr("make")(static_cast<int>(error.kind()), error_kind_name(error.kind()), message);
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(made.ptr())), made.ptr());
}

}  // namespace

void set_python_error() noexcept {
  try {
    try {
      throw;
    } catch (const Error& error) {
      set_from(error);
    } catch (py::error_already_set& error) {
      error.restore();
    } catch (const py::builtin_exception& error) {
      error.set_error();
    } catch (const std::bad_alloc&) {
      PyErr_NoMemory();
    } catch (const std::exception& error) {
      PyErr_SetString(PyExc_RuntimeError, error.what());
    }
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (...) {
    PyErr_SetString(PyExc_RuntimeError, "unknown C++ exception");
  }
}

void bind_errors(py::module_&) {
  py::register_exception_translator([](std::exception_ptr pending) {
    try {
      if (pending) std::rethrow_exception(pending);
    } catch (const Error& error) {
      set_from(error);
    }
  });
}

}  // namespace tiercel::bindings
