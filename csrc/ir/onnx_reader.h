// Reads ONNX models: from a path (memory-mapped) or from bytes. Weights stay where they are.
#pragma once
#include <memory>
#include <string>

#include "ir/external_data.h"
#include "ir/graph.h"
#include "ir/wire.h"

namespace tiercel {

// Throws Error(NoSuchFile, InvalidProtobuf or InvalidGraph) that begins with the path. `external`
// stands for files of external data; nullptr: none.
[[nodiscard]] Model read_model(const std::string& path, const ExternalSources* external = nullptr);
// `owner` keeps `bytes` alive. `folder`: where external data lies ("": none allowed).
[[nodiscard]] Model read_model(Bytes bytes, std::shared_ptr<void> owner, const std::string& folder,
                               const ExternalSources* external = nullptr);

}  // namespace tiercel
