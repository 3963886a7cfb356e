// Numpy's C API for every file of the extension: one table, filled by numpy_api.cpp.
#pragma once
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_1_23_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL tiercel_numpy_api
#ifndef TIERCEL_FILLS_NUMPY_API
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

namespace tiercel::bindings {

// False with a Python error when numpy cannot be imported; before anything else of this header.
[[nodiscard]] bool fill_numpy_api();

}  // namespace tiercel::bindings
