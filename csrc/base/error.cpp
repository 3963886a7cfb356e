// Names of error kinds.
#include "base/error.h"

namespace tiercel {

const char* error_kind_name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::Fail:
      return "FAIL";
    case ErrorKind::InvalidArgument:
      return "INVALID_ARGUMENT";
    case ErrorKind::NoSuchFile:
      return "NO_SUCHFILE";
    case ErrorKind::NoModel:
      return "NO_MODEL";
    case ErrorKind::EngineError:
      return "ENGINE_ERROR";
    case ErrorKind::RuntimeException:
      return "RUNTIME_EXCEPTION";
    case ErrorKind::InvalidProtobuf:
      return "INVALID_PROTOBUF";
    case ErrorKind::ModelLoaded:
      return "MODEL_LOADED";
    case ErrorKind::NotImplemented:
      return "NOT_IMPLEMENTED";
    case ErrorKind::InvalidGraph:
      return "INVALID_GRAPH";
    case ErrorKind::EPFail:
      return "EP_FAIL";
    case ErrorKind::ModelLoadCanceled:
      return "MODEL_LOAD_CANCELED";
    case ErrorKind::NotFound:
      return "NOT_FOUND";
    case ErrorKind::Timeout:
      return "TIMEOUT";
  }
  return "FAIL";
}

}  // namespace tiercel
