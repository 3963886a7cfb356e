// Tensor bytes in files next to the model, mapped once each, never outside the model's folder.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/tensor.h"
#include "ir/wire.h"

namespace tiercel {

struct ExternalBytes {
  Bytes bytes;
  std::shared_ptr<void> owner;  // the mapping
};

// What stands for files outside the model: files in memory by location, or tensors by name.
struct ExternalSources {
  std::map<std::string, ExternalBytes> files;
  std::map<std::string, Tensor> tensors;
};

// `entries`: location, offset and length of TensorProto.external_data. `folder`: of the model ("":
// external data is refused, but for `files`, which may be nullptr). `expected`: bytes that type and
// shape need. Throws Error(InvalidGraph) naming tensor and file.
[[nodiscard]] ExternalBytes external_bytes(
    const std::vector<std::pair<std::string, std::string>>& entries, const std::string& folder,
    const std::string& tensor, int64_t expected, const ExternalSources* sources = nullptr);

}  // namespace tiercel
