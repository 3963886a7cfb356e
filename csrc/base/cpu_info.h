// The instruction sets of the kernel tables that this machine runs.
#pragma once
#include <span>
#include <string_view>

namespace tiercel {

// Best first: "amx", "bf16", "vnni", "v4", "v3" on x86-64, "neon" on aarch64. TIERCEL_ISA=v3 leaves
// that one and those below it.
[[nodiscard]] std::span<const std::string_view> supported_isas();
// Position in supported_isas(), 0 is best; -1: this machine does not run it.
[[nodiscard]] int isa_rank(std::string_view isa);

}  // namespace tiercel
