// Operators written in Python: registration with the core, native code or a call of the function.
#pragma once
#include <pybind11/pybind11.h>

namespace tiercel::bindings {

void bind_custom_op(pybind11::module_& module);

}  // namespace tiercel::bindings
