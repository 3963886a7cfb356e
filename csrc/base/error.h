// The one error type: a kind (which decides the Python exception) and a message that says where,
// what, expected, got, what to do.
#pragma once
#include <stdexcept>
#include <string>

namespace tiercel {

enum class ErrorKind {
  Fail = 1,
  InvalidArgument = 2,
  NoSuchFile = 3,
  NoModel = 4,
  EngineError = 5,
  RuntimeException = 6,
  InvalidProtobuf = 7,
  ModelLoaded = 8,
  NotImplemented = 9,
  InvalidGraph = 10,
  EPFail = 11,
  ModelLoadCanceled = 12,
  NotFound = 14,
  Timeout = 15,
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  [[nodiscard]] ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

// "NOT_IMPLEMENTED" for ErrorKind::NotImplemented: ONNX Runtime's status names.
[[nodiscard]] const char* error_kind_name(ErrorKind kind);

template <class... Parts>
[[nodiscard]] std::string concat(const Parts&... parts) {
  std::string out;
  auto add = [&out](const auto& part) {
    if constexpr (std::is_arithmetic_v<std::decay_t<decltype(part)>>) {
      out += std::to_string(part);
    } else {
      out += part;
    }
  };
  (add(parts), ...);
  return out;
}

// throw_error(ErrorKind::InvalidGraph, "node \"", name, "\": expected ", 2, " inputs")
template <class... Parts>
[[noreturn]] void throw_error(ErrorKind kind, const Parts&... parts) {
  throw Error(kind, concat(parts...));
}

}  // namespace tiercel
