// Finds tile kernels by operator and element types, for the best instruction set of this machine.
#pragma once
#include <string>
#include <string_view>

#include "base/dtype.h"
#include "tiercel/kernel.h"

namespace tiercel {

// `types` as in TclTile: "float,float->float". nullptr: there is none.
[[nodiscard]] const TclTile* find_tile(std::string_view domain, std::string_view op,
                                       const std::string& types);
// The type that a type without tiles of its own computes in: float for small floats, whole bytes
// for packed integers, else the type itself.
[[nodiscard]] DType widened(DType dtype);

}  // namespace tiercel
