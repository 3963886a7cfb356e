// Whether the places that a plan gives to values hold, when a step reads them, what was computed.
#pragma once
#include <string>

#include "runtime/plan.h"

namespace tiercel {

// Empty, or what is wrong. Walks the steps of a plan and follows which bytes hold what; shares no
// code with the planner.
[[nodiscard]] std::string check_places(const Plan& plan);

}  // namespace tiercel
