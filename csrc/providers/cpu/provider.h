// The CPU provider.
#pragma once
#include <memory>

#include "runtime/provider.h"

namespace tiercel {

[[nodiscard]] std::shared_ptr<Provider> make_cpu_provider();

}  // namespace tiercel
