// The execution providers of this library, most preferred first.
#include "base/error.h"
#include "providers/cpu/provider.h"
#include "runtime/provider.h"

namespace tiercel {

std::vector<std::string> available_providers() { return {"CPUExecutionProvider"}; }

std::shared_ptr<Provider> make_provider(std::string_view name,
                                        const std::vector<std::pair<std::string, std::string>>&) {
  if (name == "CPUExecutionProvider") return make_cpu_provider();
  throw_error(ErrorKind::EPFail, "provider ", std::string(name),
              " is not compiled into this library; available: CPUExecutionProvider");
}

}  // namespace tiercel
