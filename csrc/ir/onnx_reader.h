// Reads ONNX models: from a path (memory-mapped) or from bytes. Weights stay where they are.
#pragma once
#include <memory>
#include <string>

#include "ir/graph.h"
#include "ir/wire.h"

namespace tiercel {

// Throws Error(NoSuchFile, InvalidProtobuf or InvalidGraph) that begins with the path.
[[nodiscard]] Model read_model(const std::string& path);
// `owner` keeps `bytes` alive. `folder`: where external data lies ("": none allowed).
[[nodiscard]] Model read_model(Bytes bytes, std::shared_ptr<void> owner, const std::string& folder);

}  // namespace tiercel
