// Turns the core's Error into the Python exception of the same name.
#pragma once
#include <pybind11/pybind11.h>

#include "base/error.h"

namespace tiercel::bindings {

// Sets the Python error for the exception being handled; call inside a catch block, with the GIL.
void set_python_error() noexcept;

// Runs `body` and turns every C++ exception into a Python one.
template <class Body>
PyObject* guarded(Body&& body) noexcept {
  try {
    return body();
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}

void bind_errors(pybind11::module_& module);

}  // namespace tiercel::bindings
