// Decodes data that was compressed by deflate (RFC 1951), without a head or a checksum.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace tiercel {

// The `size` bytes that `data` stands for. Throws Error(Fail) where the data is damaged: it ends
// early, says what deflate does not allow, or stands for another number of bytes.
[[nodiscard]] std::string inflate(std::string_view data, size_t size);

}  // namespace tiercel
