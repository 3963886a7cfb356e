// The CPU provider.
#pragma once
#include <memory>

#include "runtime/provider.h"

namespace tiercel {

[[nodiscard]] std::shared_ptr<Provider> make_cpu_provider();

// The seed of random operators that have none of their own, in sessions made afterwards.
void set_random_seed(int64_t seed);

}  // namespace tiercel
