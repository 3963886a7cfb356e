// A loaded model, ready to run: read, upgrade, optimise, assign, compile, plan.
#include "session/session.h"

#include <algorithm>
#include <filesystem>

#include "base/blocks.h"
#include "base/cpu_info.h"
#include "base/float_mode.h"
#include "base/thread_pool.h"
#include "ir/onnx_reader.h"
#include "ops/op_def.h"
#include "ops/upgrade.h"
#include "passes/passes.h"
#include "runtime/kernel_table.h"
#include "runtime/placement.h"
#include "runtime/profile.h"
#include "session/explain.h"
#include "session/optimized_model.h"
#include "session/placed_programs.h"

namespace tiercel {
namespace {

std::vector<IoInfo> ports(const Graph& graph, const std::vector<ValueId>& ids) {
  std::vector<IoInfo> out;
  for (ValueId id : ids) out.push_back({graph.value(id).name, graph.value(id).type});
  return out;
}

void override_dims(Model& model, const SessionOptions& options) {
  for (ValueId id : model.graph.inputs) {
    ValueInfo& value = model.graph.value(id);
    if (!value.type.shape) continue;
    const auto denoted = model.denotations.find(value.name);
    for (size_t axis = 0; axis < value.type.shape->size(); ++axis) {
      Dim& dim = (*value.type.shape)[axis];
      if (dim.known()) continue;
      for (const auto& [name, size] : options.dim_overrides) {
        if (dim.symbolic() && dim.name() == name) dim = Dim(size);
      }
      if (denoted == model.denotations.end() || axis >= denoted->second.size()) continue;
      for (const auto& [name, size] : options.denotation_overrides) {
        if (denoted->second[axis] == name) dim = Dim(size);
      }
    }
  }
}

void replace_initializers(Graph& graph, const SessionOptions& options) {
  for (const auto& [name, tensor] : options.initializers) {
    const auto found = std::find_if(graph.values.begin(), graph.values.end(), [&](const auto& v) {
      return v.name == name && v.constant.has_value();
    });
    if (found == graph.values.end()) {
      throw_error(ErrorKind::InvalidArgument, "the model has no initializer \"", name, "\"");
    }
    const Tensor& old = *found->constant;
    if (old.dtype() != tensor.dtype() || old.dims() != tensor.dims()) {
      throw_error(ErrorKind::InvalidArgument, "initializer \"", name, "\": expected tensor(",
                  dtype_name(old.dtype()), ") of shape ", dims_text(old.dims()), ", got tensor(",
                  dtype_name(tensor.dtype()), ") of shape ", dims_text(tensor.dims()));
    }
    found->constant = tensor;
  }
}

std::vector<std::shared_ptr<Provider>> make_providers(const SessionOptions& options) {
  std::vector<std::shared_ptr<Provider>> out;
  for (const auto& [name, entries] : options.providers) out.push_back(make_provider(name, entries));
  if (out.empty()) {
    out.push_back(make_provider("CPUExecutionProvider", {}));
  }
  const bool host = std::any_of(out.begin(), out.end(),
                                [](const auto& provider) { return provider->device() == nullptr; });
  if (!host) out.push_back(make_provider("CPUExecutionProvider", {}));
  return out;
}

// session.winograd: 0 never, 1 where it pays, 2 and 4 wherever it is possible, in tiles of so many
// rows and columns.
int64_t winograd_of(const SessionOptions& options) {
  const std::string value = options.config_value("session.winograd", "1");
  if (value.size() != 1 || std::string_view("0124").find(value) == std::string_view::npos) {
    throw_error(ErrorKind::InvalidArgument, "session config entry \"session.winograd\" is \"",
                value, "\"; expected \"0\", \"1\", \"2\" or \"4\"");
  }
  return value[0] - '0';
}

// session.precision: float32, or bfloat16 where kernels have it.
bool bfloat16_of(const SessionOptions& options) {
  const std::string value = options.config_value("session.precision", "float32");
  if (value != "float32" && value != "bfloat16") {
    throw_error(ErrorKind::InvalidArgument, "session config entry \"session.precision\" is \"",
                value, "\"; expected \"float32\" or \"bfloat16\"");
  }
  return value == "bfloat16";
}

// session.node_providers: "name=Provider;name=Provider".
std::map<std::string, std::string> chosen_providers(
    const SessionOptions& options, const std::vector<std::shared_ptr<Provider>>& providers) {
  std::map<std::string, std::string> chosen;
  const std::string text = options.config_value("session.node_providers", "");
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(';', at), text.size());
    const std::string entry = text.substr(at, end - at);
    at = end + 1;
    if (entry.empty()) continue;
    const size_t equals = entry.rfind('=');
    const std::string provider = equals == std::string::npos ? "" : entry.substr(equals + 1);
    const auto is_it = [&](const auto& candidate) { return candidate->name() == provider; };
    if (std::none_of(providers.begin(), providers.end(), is_it)) {
      throw_error(ErrorKind::InvalidArgument, "session config entry \"session.node_providers\": \"",
                  entry, "\" is no node=provider with a provider of this session");
    }
    chosen[entry.substr(0, equals)] = provider;
  }
  return chosen;
}

// Of the graph or of a body in it.
bool has_node(const Graph& graph, const std::string& name) {
  return std::any_of(graph.nodes.begin(), graph.nodes.end(), [&](const Node& node) {
    if (node.removed) return false;
    return node.name == name || std::ranges::any_of(subgraphs(node), [&](const auto& body) {
             return has_node(*body, name);
           });
  });
}

void check_chosen(const Graph& graph, const CompileOptions& options) {
  for (const auto& [name, provider] : options.chosen) {
    if (has_node(graph, name)) continue;
    throw_error(ErrorKind::InvalidArgument, "session config entry \"session.node_providers\": the ",
                "optimised model has no node \"", name, "\"; explain() shows its nodes");
  }
}

CompileOptions make_compile_options(const SessionOptions& options) {
  CompileOptions out;
  out.providers = make_providers(options);
  out.chosen = chosen_providers(options, out.providers);
  out.islands = options.config_value("session.islands_on_host", "1") == "1" &&
                options.config_value("session.disable_cpu_ep_fallback", "0") != "1";
  out.passes.level = options.level;
  out.passes.disabled = options.disabled_passes;
  out.passes.verify = options.verify;
  out.passes.block = vector_block("tiercel", "ConvBlocked");
  out.passes.winograd = winograd_of(options);
  out.passes.bfloat16 = bfloat16_of(options);
  out.passes.bytes =
      isa_rank("vnni") >= 0 || std::ranges::any_of(out.providers, [](const auto& provider) {
        return provider->device() != nullptr;  // a GPU's tensor cores
      });
  CompileOptions plain;  // constants are folded in the host's memory
  for (const auto& provider : out.providers) {
    if (provider->device() == nullptr) plain.providers.push_back(provider);
  }
  out.passes.evaluate = [plain](const Graph& graph, const Node& node) {
    return evaluate_node(graph, node, plain);
  };
  out.passes.refuses = [providers = out.providers](const Graph& graph, const Node& node) {
    for (const auto& provider : providers) {
      if (provider->name() == node.provider) return provider->refuses(graph, node);
    }
    return std::optional<std::string>();
  };
  return out;
}

std::string kind_text(const Value& value) {
  if (const Tensor* tensor = value.tensor()) {
    return concat("tensor(", dtype_name(tensor->dtype()), ")");
  }
  if (value.sequence() != nullptr) return "a sequence";
  if (value.map() != nullptr) return "a map";
  return value.sparse() != nullptr ? "a sparse tensor" : "nothing";
}

bool extent_fits(const Dim& dim, int64_t extent) {
  return !dim.known() || dim.value() < 0 || dim.value() == extent;
}

// In ONNX Runtime's words.
void check_extents(const std::string& name, const Shape& shape, const Dims& dims) {
  if (shape.size() != dims.size()) {
    throw_error(ErrorKind::InvalidArgument, "Invalid rank for input: ", name, " Got: ", dims.size(),
                " Expected: ", shape.size(), " Please fix either the inputs/outputs or the model.");
  }
  std::string wrong;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (extent_fits(shape[i], dims[i])) continue;
    wrong += concat(" index: ", i, " Got: ", dims[i], " Expected: ", shape[i].value(), "\n");
  }
  if (wrong.empty()) return;
  throw_error(ErrorKind::InvalidArgument, "Got invalid dimensions for input: ", name,
              " for the following indices\n", wrong,
              " Please fix either the inputs/outputs or the model.");
}

void check_feed(const IoInfo& info, const Value& value, bool required) {
  const Type* type = &info.type;
  if (type->kind == Type::Kind::Optional) {
    if (value.empty() || !type->element) return;
    type = type->element.get();
  }
  if (value.empty()) {
    if (!required) return;
    throw_error(ErrorKind::InvalidArgument, "Missing Input: ", info.name);
  }
  const Tensor* tensor = value.tensor();
  const bool sequence_fits = type->kind == Type::Kind::Sequence && value.sequence() != nullptr;
  const bool map_fits = type->kind == Type::Kind::Map && value.map() != nullptr;
  const bool sparse_fits = type->kind == Type::Kind::SparseTensor && value.sparse() != nullptr;
  if (sequence_fits || map_fits || sparse_fits || type->kind == Type::Kind::Unknown) return;
  if (tensor == nullptr || !type->is_tensor() || tensor->dtype() != type->dtype) {
    throw_error(ErrorKind::InvalidArgument, "Unexpected input data type. Actual: (",
                kind_text(value), ") , expected: (", type->text(), ") for input: ", info.name);
  }
  if (type->shape) check_extents(info.name, *type->shape, tensor->dims());
}

// What the model declares as something else than a tensor is read on the host, whatever it holds.
void move_optionals(const std::vector<IoInfo>& infos, std::span<const Value>& feeds,
                    std::vector<Value>& moved) {
  for (size_t i = 0; i < infos.size(); ++i) {
    const Tensor* tensor = feeds[i].tensor();
    if (infos[i].type.is_tensor() || tensor == nullptr || memory_of(*tensor) == nullptr) continue;
    if (moved.empty()) moved.assign(feeds.begin(), feeds.end());
    moved[i] = moved_to(nullptr, *tensor);
    feeds = moved;
  }
}

// Nodes that compute nothing, or shapes alone, are no fall-backs; nodes of bodies run where they
// may.
bool belongs_to_host(const Node& node) {
  return node.def->has(kAlias) || node.def->has(kReadsDims) || node.def->has(kControlFlow) ||
         node.reason == kMakesShapes;
}

// session.disable_cpu_ep_fallback: nobody wants the CPU but as a provider asked for by name, which
// then contradicts.
void check_fallback(const Graph& graph, const SessionOptions& options) {
  constexpr std::string_view kCpu = "CPUExecutionProvider";
  if (options.config_value("session.disable_cpu_ep_fallback", "0") != "1") return;
  for (const auto& [name, entries] : options.providers) {
    if (name != kCpu) continue;
    throw_error(ErrorKind::InvalidArgument,
                "Conflicting session configuration: explicitly added the CPU EP to the session, "
                "but also disabled fallback to the CPU EP via session configuration options.");
  }
  std::string nodes;
  for (NodeId id : graph.order) {
    const Node& node = graph.node(id);
    if (node.removed || node.provider != kCpu || belongs_to_host(node)) continue;
    nodes += concat("\n", where(node), node.reason.empty() ? "" : ": ", node.reason);
  }
  if (nodes.empty()) return;
  throw_error(ErrorKind::Fail,
              "This session contains graph nodes that are assigned to the default CPU EP, but "
              "fallback to CPU EP has been explicitly disabled by the user.",
              nodes);
}

class LoadedSession final : public Session {
 public:
  LoadedSession(Model model, const SessionOptions& options)
      : options_(options), model_(std::move(model)) {
    if (options.profiling) profiler_ = std::make_unique<Profiler>(options.profile_prefix);
    flush_denormals_ = options.config_value("session.set_denormal_as_zero", "0") == "1";
    threads_ = options.intra_op_threads > 0 ? options.intra_op_threads : usable_threads();
    // Before IR 4 every initializer had to be listed as an input, and none could be replaced.
    if (model_.ir_version < 4) model_.graph.overridable.clear();
    override_dims(model_, options);
    replace_initializers(model_.graph, options);
    upgrade(model_);
    inputs_ = ports(model_.graph, model_.graph.inputs);
    overridable_ = ports(model_.graph, model_.graph.overridable);
    outputs_ = ports(model_.graph, model_.graph.outputs);
    CompileOptions compile = make_compile_options(options);
    reports_ = run_passes(generic_passes(), model_.graph, compile.passes);
    if (!options.optimized_model_path.empty()) write_optimized_model(model_, outputs_, options);
    check_chosen(model_.graph, compile);
    assign(model_.graph, compile);
    const auto later = run_passes(provider_passes(), model_.graph, compile.passes);
    reports_.insert(reports_.end(), later.begin(), later.end());
    assign(model_.graph, compile);
    for (const auto& provider : compile.providers) {
      provider_names_.emplace_back(provider->name());
    }
    check_fallback(model_.graph, options);
    programs_ = std::make_unique<PlacedPrograms>(model_.graph, compile);
    programs_->host().prepare();
    if (profiler_) {
      profiler_->add({"Session", "session_initialization", 0, profiler_->now_us(), {}});
    }
  }

  [[nodiscard]] const std::vector<IoInfo>& inputs() const override { return inputs_; }
  [[nodiscard]] const std::vector<IoInfo>& outputs() const override { return outputs_; }
  [[nodiscard]] const std::vector<IoInfo>& overridable_initializers() const override {
    return overridable_;
  }
  [[nodiscard]] const Model& model() const override { return model_; }
  [[nodiscard]] std::vector<std::string> providers() const override { return provider_names_; }

  void run(std::span<const Value> feeds, std::span<const int> wanted, const RunOptions& options,
           OutputSink& sink) override {
    const size_t expected = inputs_.size() + overridable_.size();
    if (feeds.size() != expected) {
      throw_error(ErrorKind::InvalidArgument, "expected ", expected, " feeds, got ", feeds.size());
    }
    for (size_t i = 0; i < inputs_.size(); ++i) check_feed(inputs_[i], feeds[i], true);
    for (size_t i = 0; i < overridable_.size(); ++i) {
      check_feed(overridable_[i], feeds[inputs_.size() + i], false);
    }
    std::vector<Value> moved;
    move_optionals(inputs_, feeds, moved);
    const FloatMode float_mode(flush_denormals_);
    const RunEnvironment environment{threads_, &options, profiler_.get()};
    const int64_t start = profiler_ ? profiler_->now_us() : 0;
    programs_->find(feeds, wanted, sink).run(feeds, wanted, environment, sink);
    if (profiler_) {
      const int64_t took = profiler_->now_us() - start;
      profiler_->add({"Session", "SequentialExecutor::Execute", start, took, {}});
      profiler_->add({"Session", "model_run", start, profiler_->now_us() - start, {}});
    }
  }

  [[nodiscard]] std::string explain() const override {
    return explain_session(model_, reports_, programs_->last().last_plan().get(), threads_);
  }
  std::string end_profiling() override { return profiler_ ? profiler_->write() : ""; }
  [[nodiscard]] int64_t profiling_start_ns() const override {
    return profiler_ ? profiler_->start_ns() : 0;
  }
  [[nodiscard]] MemoryReport memory() const override {
    MemoryReport report{0, 0, 0, static_cast<int64_t>(programs_->last().plan_count())};
    for (const ValueInfo& value : model_.graph.values) {
      if (value.constant) report.weights_bytes += value.constant->bytes();
    }
    if (const auto plan = programs_->last().last_plan()) {
      for (const Memory& memory : plan->memories) {
        report.arena_bytes += memory.arena_bytes;
        report.lower_bound_bytes += memory.lower_bound;
      }
    }
    return report;
  }
  void release_memory() override {
    programs_->release_memory();
    release_kept_blocks();
  }

 private:
  SessionOptions options_;
  Model model_;
  std::vector<IoInfo> inputs_, outputs_, overridable_;
  std::vector<PassReport> reports_;
  std::vector<std::string> provider_names_;
  std::unique_ptr<Profiler> profiler_;
  std::unique_ptr<PlacedPrograms> programs_;
  int threads_ = 1;
  bool flush_denormals_ = false;
};

}  // namespace

namespace {

ExternalSources external_sources(const SessionOptions& options) {
  ExternalSources sources{options.files, {}};
  for (const auto& [name, tensor] : options.initializers) sources.tensors[name] = tensor;
  return sources;
}

}  // namespace

std::shared_ptr<Session> Session::load(const std::string& path, const SessionOptions& options) {
  const ExternalSources sources = external_sources(options);
  return std::make_shared<LoadedSession>(read_model(path, &sources), options);
}

std::shared_ptr<Session> Session::load(std::span<const std::byte> bytes,
                                       std::shared_ptr<void> owner, const std::string& base,
                                       const SessionOptions& options) {
  const ExternalSources sources = external_sources(options);
  return std::make_shared<LoadedSession>(read_model(bytes, std::move(owner), base, &sources),
                                         options);
}

}  // namespace tiercel
