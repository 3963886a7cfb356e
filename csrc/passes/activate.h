// The activation that a fused operator names by attribute.
#pragma once
#include <string>
#include <vector>

#include "passes/compose.h"

namespace tiercel {

// `params`: alpha, beta or min, max, as far as they are given.
ValueId activated(Composer& e, ValueId x, const std::string& name,
                  const std::vector<double>& params);
// As attributes activation_alpha and activation_beta say.
ValueId activated_by_name(Composer& e, ValueId x);
// As attributes activation and activation_params say.
ValueId activated_by_params(Composer& e, ValueId x);

}  // namespace tiercel
