// Text for people on what was made of a model.
#pragma once
#include <span>
#include <string>

#include "ir/graph.h"
#include "passes/pass.h"
#include "runtime/plan.h"

namespace tiercel {

// Passes with times, the last plan's steps with kernels and places, memory. `plan` may be nullptr.
[[nodiscard]] std::string explain_session(const Model& model, std::span<const PassReport> passes,
                                          const Plan* plan, int threads);

}  // namespace tiercel
