// The text of a type, as ONNX Runtime writes it.
#include "ir/type.h"

namespace tiercel {

std::string Type::text() const {
  switch (kind) {
    case Kind::Tensor:
      return "tensor(" + std::string(dtype_name(dtype)) + ")";
    case Kind::SparseTensor:
      return "sparse_tensor(" + std::string(dtype_name(dtype)) + ")";
    case Kind::Sequence:
      return "seq(" + (element ? element->text() : "unknown") + ")";
    case Kind::Optional:
      return "optional(" + (element ? element->text() : "unknown") + ")";
    case Kind::Map:
      return "map(" + std::string(dtype_name(dtype)) + "," +
             (element ? element->text() : "unknown") + ")";
    case Kind::Unknown:
      break;
  }
  return "unknown";
}

}  // namespace tiercel
