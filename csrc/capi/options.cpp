// C API: options of sessions and of runs.
#include <algorithm>
#include <cmath>

#include "capi/guard.h"
#include "capi/handles.h"

using namespace tiercel;
using namespace tiercel::capi;

namespace {

SessionOptions& options_of(TclSessionOptions* options) {
  return needed(options, "options").options;
}

const char* text_of(const char* text, const char* name) { return &needed(text, name); }

// Replaces the entry of the same key, or appends one.
template <class Value>
void set_entry(std::vector<std::pair<std::string, Value>>& entries, const char* key, Value value) {
  for (auto& [name, old] : entries) {
    if (name == key) {
      old = std::move(value);
      return;
    }
  }
  entries.emplace_back(key, std::move(value));
}

}  // namespace

TclStatus tcl_session_options_create(TclSessionOptions** out) {
  return guard([&] { emptied(out) = new TclSessionOptions(); });
}

void tcl_session_options_release(TclSessionOptions* options) {
  (void)guard([&] { delete options; });
}

TclStatus tcl_session_options_set_threads(TclSessionOptions* options, int32_t threads) {
  return guard([&] {
    if (threads < 0) {
      throw_error(ErrorKind::InvalidArgument, "threads is ", threads, "; expected 0 or more");
    }
    options_of(options).intra_op_threads = threads;
  });
}

TclStatus tcl_session_options_set_optimization(TclSessionOptions* options, TclOptimization level) {
  return guard([&] {
    constexpr TclOptimization levels[] = {TCL_OPTIMIZE_NONE, TCL_OPTIMIZE_BASIC,
                                          TCL_OPTIMIZE_EXTENDED, TCL_OPTIMIZE_LAYOUT,
                                          TCL_OPTIMIZE_ALL};
    if (std::find(std::begin(levels), std::end(levels), level) == std::end(levels)) {
      throw_error(ErrorKind::InvalidArgument, "optimization level ", level,
                  "; expected 0, 1, 2, 3 or 99");
    }
    options_of(options).level = static_cast<OptimizationLevel>(level);
  });
}

TclStatus tcl_session_options_disable_pass(TclSessionOptions* options, const char* name) {
  return guard([&] { options_of(options).disabled_passes.emplace_back(text_of(name, "name")); });
}

TclStatus tcl_session_options_add_provider(TclSessionOptions* options, const char* name,
                                           const char* const* keys, const char* const* values,
                                           size_t count) {
  return guard([&] {
    SessionOptions& target = options_of(options);
    std::vector<std::pair<std::string, std::string>> entries;
    if (count > 0) (void)needed(keys, "keys");
    if (count > 0) (void)needed(values, "values");
    for (size_t i = 0; i < count; ++i) {
      entries.emplace_back(text_of(keys[i], "a key"), text_of(values[i], "a value"));
    }
    target.providers.emplace_back(text_of(name, "name"), std::move(entries));
  });
}

TclStatus tcl_session_options_set_config(TclSessionOptions* options, const char* key,
                                         const char* value) {
  return guard([&] {
    set_entry(options_of(options).config, text_of(key, "key"),
              std::string(text_of(value, "value")));
  });
}

TclStatus tcl_session_options_set_extent(TclSessionOptions* options, const char* symbol,
                                         int64_t extent) {
  return guard([&] {
    if (extent < 0) {
      throw_error(ErrorKind::InvalidArgument, "extent is ", extent, "; expected 0 or more");
    }
    set_entry(options_of(options).dim_overrides, text_of(symbol, "symbol"), extent);
  });
}

TclStatus tcl_session_options_set_initializer(TclSessionOptions* options, const char* name,
                                              const TclValue* tensor) {
  return guard([&] {
    set_entry(options_of(options).initializers, text_of(name, "name"),
              moved_to(nullptr, tensor_of(tensor)));
  });
}

TclStatus tcl_session_options_enable_profiling(TclSessionOptions* options, const char* prefix) {
  return guard([&] {
    SessionOptions& target = options_of(options);
    target.profile_prefix = text_of(prefix, "prefix");
    target.profiling = true;
  });
}

TclStatus tcl_run_options_create(TclRunOptions** out) {
  return guard([&] { emptied(out) = new TclRunOptions(); });
}

void tcl_run_options_release(TclRunOptions* options) {
  (void)guard([&] { delete options; });
}

TclStatus tcl_run_options_set_timeout(TclRunOptions* options, double seconds) {
  return guard([&] {
    if (!(seconds >= 0)) {
      throw_error(ErrorKind::InvalidArgument, "timeout is ", seconds,
                  "; expected seconds, 0 or more");
    }
    needed(options, "options").timeout = seconds;
  });
}

TclStatus tcl_run_options_set_terminate(TclRunOptions* options, int32_t terminate) {
  return guard([&] { needed(options, "options").terminate.store(terminate != 0); });
}
