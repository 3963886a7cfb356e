// Finds tile kernels by operator and element types, for the best instruction set of this machine.
#pragma once
#include <string>
#include <string_view>

#include "tiercel/kernel.h"

namespace tiercel {

// `types` as in TclTile: "float,float->float". nullptr: there is none.
[[nodiscard]] const TclTile* find_tile(std::string_view domain, std::string_view op,
                                       const std::string& types);

}  // namespace tiercel
