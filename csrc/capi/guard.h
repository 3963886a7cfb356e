// The border of the C API: every function's body runs inside guard(), which no exception leaves.
#pragma once
#include <exception>
#include <new>
#include <utility>

#include "base/error.h"
#include "tiercel/tiercel.h"

namespace tiercel::capi {

// Keeps the failure for tcl_error_message() of this thread, and gives `status` back.
TclStatus record(TclStatus status, const char* message) noexcept;

template <class Body>
TclStatus guard(Body&& body) noexcept {
  try {
    std::forward<Body>(body)();
    return TCL_SUCCESS;
  } catch (const Error& error) {
    return record(static_cast<TclStatus>(error.kind()), error.what());
  } catch (const std::bad_alloc&) {
    return record(TCL_ERROR_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& error) {
    return record(TCL_ERROR_FAIL, error.what());
  } catch (...) {
    return record(TCL_ERROR_FAIL, "unknown failure");
  }
}

// The thing behind a pointer argument; throws Error(InvalidArgument) for NULL.
template <class T>
[[nodiscard]] T& needed(T* pointer, const char* name) {
  if (pointer == nullptr) {
    throw_error(ErrorKind::InvalidArgument, name, " is NULL; expected a pointer");
  }
  return *pointer;
}

// A parameter called `out`, emptied before anything else can fail.
template <class T>
[[nodiscard]] T*& emptied(T** out) {
  T*& slot = needed(out, "out");
  slot = nullptr;
  return slot;
}

}  // namespace tiercel::capi
