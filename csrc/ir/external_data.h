// Tensor bytes in files next to the model, mapped once each, never outside the model's folder.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ir/wire.h"

namespace tiercel {

struct ExternalBytes {
  Bytes bytes;
  std::shared_ptr<void> owner;  // the mapping
};

// `entries`: location, offset and length of TensorProto.external_data. `folder`: of the model ("":
// external data is refused). `expected`: bytes that type and shape need. Throws Error(InvalidGraph)
// naming tensor and file.
[[nodiscard]] ExternalBytes external_bytes(
    const std::vector<std::pair<std::string, std::string>>& entries, const std::string& folder,
    const std::string& tensor, int64_t expected);

}  // namespace tiercel
