// Parses types, shapes and value descriptions.
#include "base/error.h"
#include "ir/onnx_proto.h"

namespace tiercel::proto {

namespace {

Dim parse_dim(WireReader m) {
  Dim dim;
  while (m.next()) {
    if (m.field() == 1) {
      const int64_t value = m.integer();
      dim = value >= 0 ? Dim(value) : Dim();  // exporters write -1 for "unknown"
    } else if (m.field() == 2) {
      std::string name = m.text();
      dim = name.empty() ? Dim() : Dim::symbol(std::move(name));
    } else {
      m.skip();
    }
  }
  return dim;
}

Shape parse_shape(WireReader m) {
  Shape shape;
  while (m.next()) {
    if (m.field() == 1) {
      shape.push_back(parse_dim(m.message()));
    } else {
      m.skip();
    }
  }
  return shape;
}

DType parse_dtype(int64_t number) {
  if (number == 0) return DType::Undefined;
  if (!dtype_is_valid(number)) {
    throw_error(ErrorKind::InvalidGraph, "element type ", number, " is not known to this runtime");
  }
  return static_cast<DType>(number);
}

Type parse_tensor_type(WireReader m, Type::Kind kind) {
  Type type;
  type.kind = kind;
  while (m.next()) {
    if (m.field() == 1) {
      type.dtype = parse_dtype(m.integer());
    } else if (m.field() == 2) {
      type.shape = parse_shape(m.message());
    } else {
      m.skip();
    }
  }
  return type;
}

// sequence and optional: field 1 is the element type.
Type parse_element_type(WireReader m) {
  Type element;
  while (m.next()) {
    if (m.field() == 1) {
      element = parse_type(m.message());
    } else {
      m.skip();
    }
  }
  return element;
}

Type parse_map_type(WireReader m) {
  DType key = DType::Undefined;
  Type value;
  while (m.next()) {
    if (m.field() == 1) {
      key = parse_dtype(m.integer());
    } else if (m.field() == 2) {
      value = parse_type(m.message());
    } else {
      m.skip();
    }
  }
  return Type::map(key, std::move(value));
}

}  // namespace

Type parse_type(WireReader m) {
  Type type;
  while (m.next()) {
    switch (m.field()) {
      case 1:
        type = parse_tensor_type(m.message(), Type::Kind::Tensor);
        break;
      case 4:
        type = Type::sequence(parse_element_type(m.message()));
        break;
      case 5:
        type = parse_map_type(m.message());
        break;
      case 8:
        type = parse_tensor_type(m.message(), Type::Kind::SparseTensor);
        break;
      case 9:
        type = Type::optional(parse_element_type(m.message()));
        break;
      default:
        m.skip();
    }
  }
  return type;
}

namespace {

// The denotation of every dim of a tensor; empty when no dim has one.
std::vector<std::string> parse_denotations(WireReader type) {
  std::vector<std::string> out;
  const auto each = [](WireReader message, int field, const auto& visit) {
    while (message.next()) {
      if (message.field() == field) {
        visit(message.message());
      } else {
        message.skip();
      }
    }
  };
  bool any = false;
  each(type, 1, [&](WireReader tensor) {
    each(tensor, 2, [&](WireReader shape) {
      each(shape, 1, [&](WireReader dim) {
        out.emplace_back();
        while (dim.next()) {
          if (dim.field() == 3) {
            out.back() = dim.text();
            any = true;
          } else {
            dim.skip();
          }
        }
      });
    });
  });
  return any ? out : std::vector<std::string>{};
}

}  // namespace

ValueInfo parse_value_info(WireReader m) {
  ValueInfo info;
  while (m.next()) {
    if (m.field() == 1) {
      info.name = m.text();
    } else if (m.field() == 2) {
      const WireReader type = m.message();
      info.type = parse_type(type);
      info.denotations = parse_denotations(type);
    } else {
      m.skip();
    }
  }
  return info;
}

}  // namespace tiercel::proto
