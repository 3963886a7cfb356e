// C API: version, errors, element types, available providers, texts.
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "base/dtype.h"
#include "capi/guard.h"
#include "capi/handles.h"
#include "runtime/provider.h"

namespace tiercel::capi {
namespace {

struct Failure {
  TclStatus status = TCL_SUCCESS;
  std::string message;
};

thread_local Failure last_failure;

const std::vector<std::string>& provider_names() {
  static const std::vector<std::string> names = available_providers();
  return names;
}

}  // namespace

TclStatus record(TclStatus status, const char* message) noexcept {
  last_failure.status = status;
  try {
    last_failure.message = message;
  } catch (...) {
    last_failure.message.clear();  // no memory for words
  }
  return status;
}

std::shared_ptr<void> lent(TclReleaseFn release, void* context) {
  struct Loan {
    TclReleaseFn release;
    void* context;
    ~Loan() {
      if (release != nullptr) release(context);
    }
  };
  // When there is no memory to keep the loan, it is given back at once.
  Loan loan{release, context};
  auto kept = std::make_shared<Loan>(nullptr, context);
  kept->release = std::exchange(loan.release, nullptr);
  return kept;
}

char* new_text(const std::string& text) {
  auto* copy = static_cast<char*>(std::malloc(text.size() + 1));
  if (copy == nullptr) throw std::bad_alloc();
  std::memcpy(copy, text.c_str(), text.size() + 1);
  return copy;
}

}  // namespace tiercel::capi

using namespace tiercel;
using namespace tiercel::capi;

const char* tcl_version() { return TIERCEL_VERSION; }

int32_t tcl_api_version() { return TCL_API_VERSION; }

const char* tcl_error_message() { return last_failure.message.c_str(); }

TclStatus tcl_error_status() { return last_failure.status; }

const char* tcl_status_name(TclStatus status) {
  if (status == TCL_SUCCESS) return "SUCCESS";
  if (status == TCL_ERROR_OUT_OF_MEMORY) return "OUT_OF_MEMORY";
  return error_kind_name(static_cast<ErrorKind>(status));
}

int64_t tcl_dtype_bytes(TclDType dtype, int64_t count) {
  int64_t bytes = -1;
  (void)guard([&] {
    if (!dtype_is_valid(dtype) || dtype == TCL_DTYPE_STRING || count < 0) {
      throw_error(ErrorKind::InvalidArgument, "element type ", dtype, ", ", count,
                  " elements: expected a type of fixed size and a count >= 0");
    }
    bytes = dtype_bytes(static_cast<DType>(dtype), count);
  });
  return bytes;
}

size_t tcl_available_provider_count() {
  size_t count = 0;
  (void)guard([&] { count = provider_names().size(); });
  return count;
}

TclStatus tcl_available_provider(size_t index, const char** name) {
  return guard([&] {
    const char*& slot = needed(name, "name");
    const auto& names = provider_names();
    if (index >= names.size()) {
      throw_error(ErrorKind::InvalidArgument, "provider ", index, ": there are ", names.size());
    }
    slot = names[index].c_str();
  });
}

void tcl_text_release(char* text) { std::free(text); }
