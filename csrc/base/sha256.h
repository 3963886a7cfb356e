// The hash that names content: SHA-256 (FIPS 180-4).
#pragma once
#include <string>
#include <string_view>

namespace tiercel {

// 64 hexadecimal digits.
[[nodiscard]] std::string sha256(std::string_view bytes);

}  // namespace tiercel
