// Fills the table of numpy's C API; numpy wants one file alone to define it.
#define TIERCEL_FILLS_NUMPY_API
#include "bindings/numpy_api.h"

namespace tiercel::bindings {

bool fill_numpy_api() { return _import_array() >= 0; }

}  // namespace tiercel::bindings
