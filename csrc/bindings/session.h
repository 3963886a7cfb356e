// The Python class _core.Session and its run fast path.
#pragma once
#include <pybind11/pybind11.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "session/session.h"

namespace tiercel::bindings {

// One loaded model with what a run needs to read its feeds: names as interned Python strings.
class PySession {
 public:
  explicit PySession(std::shared_ptr<Session> session);
  ~PySession();
  PySession(const PySession&) = delete;
  PySession& operator=(const PySession&) = delete;

  struct Port {
    PyObject* name;  // interned
    const IoInfo* info;
    bool required;
  };
  [[nodiscard]] const std::vector<Port>& inputs() const { return inputs_; }
  [[nodiscard]] const std::vector<Port>& outputs() const { return outputs_; }
  [[nodiscard]] const std::vector<int>& all() const { return all_; }
  // Throws Error(Fail) after close().
  [[nodiscard]] std::shared_ptr<Session> get() const;
  void close() { session_.reset(); }
  // Output indices for a Python list of names, each once; None and [] mean all. `storage` holds
  // them when they are not all, `asked` those of every name when one is given twice.
  [[nodiscard]] std::span<const int> wanted(PyObject* names, std::vector<int>& storage,
                                            std::vector<int>& asked) const;

 private:
  std::shared_ptr<Session> session_;
  std::vector<Port> inputs_;  // then overridable initialisers
  std::vector<Port> outputs_;
  std::vector<int> all_;
};

// The part of RunOptions that the core reads; `terminate` may be set while a run goes on.
struct PyRunOptions {
  std::atomic<bool> terminate{false};
  double timeout = 0;  // seconds; 0: none

  // What the core is told; the deadline counts from now.
  [[nodiscard]] RunOptions for_core() const;
};

// Session options from the dict that python/tiercel/options.py makes.
[[nodiscard]] SessionOptions session_options(const pybind11::dict& options);

void bind_session(pybind11::module_& module);
// Adds `run(output_names, feeds, run_options=None, timeout=None)` to the class as a METH_FASTCALL
// method.
void add_fast_run(pybind11::handle session_class);

}  // namespace tiercel::bindings
