// Messages of the parts of a graph: types, tensors and attributes.
#include "ir/proto_writer.h"

namespace tiercel {

namespace {

std::string shape_message(const Shape& shape) {
  WireWriter out;
  for (const Dim& dim : shape) {
    WireWriter one;
    if (dim.known()) {
      one.integer(1, dim.value());
    } else if (dim.symbolic()) {
      one.text(2, dim.name());
    }
    out.bytes(1, one.out());
  }
  return out.out();
}

std::string tensor_type_message(const Type& type) {
  WireWriter out;
  out.integer(1, static_cast<int64_t>(type.dtype));
  if (type.shape) out.bytes(2, shape_message(*type.shape));
  return out.out();
}

// AttributeProto's field of each kind, and its number in the enum AttributeType.
struct AttributeWriter {
  WireWriter& out;
  const BodyMessage& body;

  void kind(int64_t number) const { out.integer(20, number); }
  void operator()(int64_t value) const {
    out.integer(3, value);
    kind(2);
  }
  void operator()(double value) const {
    out.float32(2, static_cast<float>(value));
    kind(1);
  }
  void operator()(const std::string& value) const {
    out.bytes(4, value);
    kind(3);
  }
  void operator()(const Tensor& value) const {
    out.bytes(5, tensor_message(value, ""));
    kind(4);
  }
  void operator()(const std::shared_ptr<SparseTensor>& value) const {
    out.bytes(22, sparse_message(*value, ""));
    kind(11);
  }
  void operator()(const Type& value) const {
    out.bytes(14, type_message(value));
    kind(13);
  }
  void operator()(const std::shared_ptr<Graph>& value) const {
    out.bytes(6, body(*value));
    kind(5);
  }
  void operator()(const std::vector<int64_t>& values) const {
    for (int64_t value : values) out.integer(8, value);
    kind(7);
  }
  void operator()(const std::vector<double>& values) const {
    for (double value : values) out.float32(7, static_cast<float>(value));
    kind(6);
  }
  void operator()(const std::vector<std::string>& values) const {
    for (const std::string& value : values) out.bytes(9, value);
    kind(8);
  }
  void operator()(const std::vector<Tensor>& values) const {
    for (const Tensor& value : values) out.bytes(10, tensor_message(value, ""));
    kind(9);
  }
  void operator()(const std::vector<Type>& values) const {
    for (const Type& value : values) out.bytes(15, type_message(value));
    kind(14);
  }
  void operator()(const std::vector<std::shared_ptr<Graph>>& values) const {
    for (const auto& value : values) out.bytes(11, body(*value));
    kind(10);
  }
};

}  // namespace

std::string type_message(const Type& type) {
  WireWriter inner;
  WireWriter out;
  switch (type.kind) {
    case Type::Kind::Unknown:
      break;
    case Type::Kind::Tensor:
      out.bytes(1, tensor_type_message(type));
      break;
    case Type::Kind::SparseTensor:
      out.bytes(8, tensor_type_message(type));
      break;
    case Type::Kind::Sequence:
    case Type::Kind::Optional:
      if (type.element) inner.bytes(1, type_message(*type.element));
      out.bytes(type.kind == Type::Kind::Sequence ? 4 : 9, inner.out());
      break;
    case Type::Kind::Map:
      inner.integer(1, static_cast<int64_t>(type.dtype));
      if (type.element) inner.bytes(2, type_message(*type.element));
      out.bytes(5, inner.out());
      break;
  }
  return out.out();
}

std::string value_info_message(std::string_view name, const Type& type) {
  WireWriter out;
  out.bytes(1, name);
  if (type.kind != Type::Kind::Unknown) out.bytes(2, type_message(type));
  return out.out();
}

void tensor_head(WireWriter& to, const Tensor& tensor, std::string_view name) {
  for (int64_t extent : tensor.dims()) to.integer(1, extent);
  to.integer(2, static_cast<int64_t>(tensor.dtype()));
  to.text(8, name);
}

void external_place(WireWriter& to, std::string_view file, int64_t offset, int64_t bytes) {
  const auto entry = [&](std::string_view key, std::string_view value) {
    WireWriter pair;
    pair.text(1, key);
    pair.text(2, value);
    to.bytes(13, pair.out());
  };
  entry("location", file);
  entry("offset", std::to_string(offset));
  entry("length", std::to_string(bytes));
  to.integer(14, 1);
}

std::string tensor_message(const Tensor& tensor, std::string_view name) {
  WireWriter out;
  tensor_head(out, tensor, name);
  if (tensor.dtype() == DType::String) {
    for (int64_t i = 0; i < tensor.size(); ++i) out.bytes(6, tensor.data<std::string>()[i]);
  } else {
    out.bytes(9, {static_cast<const char*>(tensor.raw()), static_cast<size_t>(tensor.bytes())});
  }
  return out.out();
}

std::string sparse_message(const SparseTensor& sparse, std::string_view name) {
  WireWriter out;
  out.bytes(1, tensor_message(sparse.values, name));
  out.bytes(2, tensor_message(sparse.indices, ""));
  for (int64_t extent : sparse.dims) out.integer(3, extent);
  return out.out();
}

std::string attribute_message(std::string_view name, const Attribute& value,
                              const BodyMessage& body) {
  WireWriter out;
  out.bytes(1, name);
  std::visit(AttributeWriter{out, body}, value);
  return out.out();
}

}  // namespace tiercel
