// Sequences and maps as Python objects.
#pragma once
#include <pybind11/pybind11.h>

#include "base/tensor.h"

namespace tiercel::bindings {

// New references.
PyObject* map_object(const Map& map);
PyObject* list_object(const Sequence& sequence);

}  // namespace tiercel::bindings
