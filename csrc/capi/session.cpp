// C API: loading models, and what can be asked of them.
#include <cstring>

#include "base/buffer.h"
#include "capi/guard.h"
#include "capi/handles.h"

using namespace tiercel;
using namespace tiercel::capi;

namespace {

const Session& core(const TclSession* session) { return *needed(session, "session").session; }

const IoInfo& info_of(const TclPort* port) { return *needed(port, "port").info; }

const std::vector<TclPort>& ports_of(const TclSession* session, TclRole role) {
  const auto& ports = needed(session, "session").ports;
  if (role < 0 || static_cast<size_t>(role) >= ports.size()) {
    throw_error(ErrorKind::InvalidArgument, "role ", role,
                "; expected TCL_INPUT, TCL_OUTPUT or TCL_OVERRIDABLE");
  }
  return ports[static_cast<size_t>(role)];
}

template <class List>
const auto& entry(const List& list, size_t index, const char* what) {
  if (index >= list.size()) {
    throw_error(ErrorKind::InvalidArgument, what, " ", index, ": there are ", list.size());
  }
  return list[index];
}

const Type& leaf(const Type& type) {
  const Type* found = &type;
  while (found->element && found->kind != Type::Kind::Map) found = found->element.get();
  return *found;
}

TclSession* new_session(std::shared_ptr<Session> loaded) {
  auto made = std::make_unique<TclSession>();
  const std::vector<IoInfo>* lists[] = {&loaded->inputs(), &loaded->outputs(),
                                        &loaded->overridable_initializers()};
  for (size_t role = 0; role < made->ports.size(); ++role) {
    for (const IoInfo& info : *lists[role]) {
      made->ports[role].push_back({&info, info.type.text()});
    }
  }
  made->providers = loaded->providers();
  made->session = std::move(loaded);
  return made.release();
}

SessionOptions options_or_default(const TclSessionOptions* options) {
  return options != nullptr ? options->options : SessionOptions();
}

}  // namespace

TclStatus tcl_session_load(const char* path, const TclSessionOptions* options, TclSession** out) {
  return guard([&] {
    TclSession*& slot = emptied(out);
    slot = new_session(Session::load(&needed(path, "path"), options_or_default(options)));
  });
}

TclStatus tcl_session_load_memory(const void* data, size_t bytes, const char* folder,
                                  TclReleaseFn release, void* context,
                                  const TclSessionOptions* options, TclSession** out) {
  return guard([&] {
    std::shared_ptr<void> owner = lent(release, context);
    TclSession*& slot = emptied(out);
    const void* at = data;
    if (bytes > 0) (void)needed(static_cast<const char*>(data), "data");
    if (release == nullptr) {
      auto copy = Buffer::allocate(static_cast<int64_t>(bytes));
      if (bytes > 0) std::memcpy(copy->data(), data, bytes);
      at = copy->data();
      owner = std::move(copy);
    }
    const std::span<const std::byte> source(static_cast<const std::byte*>(at), bytes);
    slot = new_session(Session::load(source, std::move(owner), folder != nullptr ? folder : "",
                                     options_or_default(options)));
  });
}

void tcl_session_release(TclSession* session) {
  (void)guard([&] { delete session; });
}

TclStatus tcl_session_port_count(const TclSession* session, TclRole role, size_t* count) {
  return guard([&] { needed(count, "count") = ports_of(session, role).size(); });
}

TclStatus tcl_session_port(const TclSession* session, TclRole role, size_t index,
                           const TclPort** port) {
  return guard([&] { needed(port, "port") = &entry(ports_of(session, role), index, "port"); });
}

TclStatus tcl_port_name(const TclPort* port, const char** name) {
  return guard([&] { needed(name, "name") = info_of(port).name.c_str(); });
}

TclStatus tcl_port_kind(const TclPort* port, TclKind* kind) {
  return guard([&] { needed(kind, "kind") = static_cast<TclKind>(info_of(port).type.kind); });
}

TclStatus tcl_port_type(const TclPort* port, const char** text) {
  return guard([&] { needed(text, "text") = needed(port, "port").type.c_str(); });
}

TclStatus tcl_port_dtype(const TclPort* port, TclDType* dtype) {
  return guard(
      [&] { needed(dtype, "dtype") = static_cast<TclDType>(leaf(info_of(port).type).dtype); });
}

TclStatus tcl_port_rank(const TclPort* port, int64_t* rank) {
  return guard([&] {
    const auto& shape = info_of(port).type.shape;
    needed(rank, "rank") = shape ? static_cast<int64_t>(shape->size()) : -1;
  });
}

TclStatus tcl_port_extent(const TclPort* port, int64_t axis, int64_t* extent, const char** symbol) {
  return guard([&] {
    const auto& shape = info_of(port).type.shape;
    const auto rank = shape ? static_cast<int64_t>(shape->size()) : 0;
    if (axis < 0 || axis >= rank) {
      throw_error(ErrorKind::InvalidArgument, "axis ", axis, " of a port of rank ", rank);
    }
    const Dim& dim = (*shape)[static_cast<size_t>(axis)];
    needed(extent, "extent") = dim.known() ? dim.value() : -1;
    if (symbol != nullptr) *symbol = dim.known() ? "" : dim.name().c_str();
  });
}

TclStatus tcl_session_model_text(const TclSession* session, TclModelText which, const char** text) {
  return guard([&] {
    const Model& model = core(session).model();
    const std::vector<const std::string*> texts{&model.producer_name, &model.producer_version,
                                                &model.domain,        &model.doc,
                                                &model.graph.name,    &model.graph.doc};
    needed(text, "text") = entry(texts, static_cast<size_t>(which), "text")->c_str();
  });
}

TclStatus tcl_session_model_version(const TclSession* session, int64_t* model_version,
                                    int64_t* ir_version) {
  return guard([&] {
    const Model& model = core(session).model();
    if (model_version != nullptr) *model_version = model.model_version;
    if (ir_version != nullptr) *ir_version = model.ir_version;
  });
}

TclStatus tcl_session_opset(const TclSession* session, const char* domain, int64_t* version) {
  return guard([&] {
    const auto& imports = core(session).model().opset_imports;
    const std::string name = &needed(domain, "domain");
    const auto found = imports.find(name == "ai.onnx" ? "" : name);
    if (found == imports.end()) {
      throw_error(ErrorKind::NotFound, "the model imports no operator set \"", name, "\"");
    }
    needed(version, "version") = found->second;
  });
}

TclStatus tcl_session_metadata_count(const TclSession* session, size_t* count) {
  return guard([&] { needed(count, "count") = core(session).model().metadata.size(); });
}

TclStatus tcl_session_metadata(const TclSession* session, size_t index, const char** key,
                               const char** value) {
  return guard([&] {
    const auto& found = entry(core(session).model().metadata, index, "metadata entry");
    needed(key, "key") = found.first.c_str();
    needed(value, "value") = found.second.c_str();
  });
}

TclStatus tcl_session_provider_count(const TclSession* session, size_t* count) {
  return guard([&] { needed(count, "count") = needed(session, "session").providers.size(); });
}

TclStatus tcl_session_provider(const TclSession* session, size_t index, const char** name) {
  return guard([&] {
    needed(name, "name") = entry(needed(session, "session").providers, index, "provider").c_str();
  });
}

TclStatus tcl_session_explain(const TclSession* session, char** out) {
  return guard([&] {
    char*& slot = emptied(out);
    slot = new_text(core(session).explain());
  });
}

TclStatus tcl_session_memory(const TclSession* session, int64_t* arena, int64_t* lower_bound,
                             int64_t* weights) {
  return guard([&] {
    const Session::MemoryReport report = core(session).memory();
    if (arena != nullptr) *arena = report.arena_bytes;
    if (lower_bound != nullptr) *lower_bound = report.lower_bound_bytes;
    if (weights != nullptr) *weights = report.weights_bytes;
  });
}

TclStatus tcl_session_release_memory(TclSession* session) {
  return guard([&] { needed(session, "session").session->release_memory(); });
}

TclStatus tcl_session_end_profiling(TclSession* session, char** out) {
  return guard([&] {
    char*& slot = emptied(out);
    slot = new_text(needed(session, "session").session->end_profiling());
  });
}
