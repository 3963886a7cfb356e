// Image files are read by a Python function.
#pragma once
#include <pybind11/pybind11.h>

namespace tiercel::bindings {

void bind_images(pybind11::module_& module);

}  // namespace tiercel::bindings
