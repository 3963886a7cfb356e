// The extension module tiercel._core: the only place where the core meets Python.
#include <pybind11/pybind11.h>

#include "bindings/custom_op.h"
#include "bindings/device_values.h"
#include "bindings/errors.h"
#include "bindings/images.h"
#include "bindings/introspect.h"
#include "bindings/numpy_api.h"
#include "bindings/ort_value.h"
#include "bindings/session.h"

namespace py = pybind11;

PYBIND11_MODULE(_core, module) {
  if (!tiercel::bindings::fill_numpy_api()) throw py::error_already_set();
  module.doc() = "Bindings of libtiercel; use the tiercel package, which wraps them.";
  tiercel::bindings::bind_errors(module);
  tiercel::bindings::bind_ort_value(module);
  tiercel::bindings::bind_device_memory(module);
  tiercel::bindings::bind_session(module);
  tiercel::bindings::bind_custom_op(module);
  tiercel::bindings::bind_images(module);
  tiercel::bindings::bind_introspection(module);
}
