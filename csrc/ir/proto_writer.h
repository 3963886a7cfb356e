// Messages of the parts of a graph: types, tensors and attributes.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "ir/graph.h"
#include "ir/wire_writer.h"

namespace tiercel {

[[nodiscard]] std::string type_message(const Type& type);
[[nodiscard]] std::string value_info_message(std::string_view name, const Type& type);
// Dims, element type and name of a TensorProto.
void tensor_head(WireWriter& to, const Tensor& tensor, std::string_view name);
// Where a tensor's bytes lie outside the model file.
void external_place(WireWriter& to, std::string_view file, int64_t offset, int64_t bytes);
[[nodiscard]] std::string tensor_message(const Tensor& tensor, std::string_view name);
[[nodiscard]] std::string sparse_message(const SparseTensor& sparse, std::string_view name);
// `body` makes the message of a subgraph.
using BodyMessage = std::function<std::string(const Graph&)>;
[[nodiscard]] std::string attribute_message(std::string_view name, const Attribute& value,
                                            const BodyMessage& body);

}  // namespace tiercel
