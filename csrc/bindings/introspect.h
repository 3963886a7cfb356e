// Registry introspection for docs, tests and people: operators, kernels, providers.
#pragma once
#include <pybind11/pybind11.h>

namespace tiercel::bindings {

void bind_introspection(pybind11::module_& module);

}  // namespace tiercel::bindings
