// A graph with its plans: one per set of input shapes, made when first needed; safe for many
// threads.
#include "runtime/program.h"

#include <algorithm>

namespace tiercel {
namespace {

constexpr size_t kMaxPlans = 16;  // kept, the least recently used goes first
constexpr int kMaxMade = 64;      // after that many, new shapes run on the general plan
constexpr size_t kMaxIdle = 8;    // contexts kept per plan

}  // namespace

Program::Program(Graph graph, CompileOptions options)
    : graph_(std::move(graph)), options_(std::move(options)), inputs_(run_inputs(graph_)) {
  for (ValueId id : inputs_) {
    const auto& constant = graph_.value(id).constant;
    defaults_.push_back(constant ? Value(*constant) : Value());
  }
}

std::shared_ptr<const Plan> Program::last_plan() const {
  std::lock_guard lock(mutex_);
  return last_;
}

std::shared_ptr<Program::Entry> Program::find(const Signature& signature,
                                              std::span<const Value> feeds) {
  {
    std::lock_guard lock(mutex_);
    for (const auto& entry : entries_) {
      if (entry->signature == signature) {
        entry->used = ++clock_;
        return entry;
      }
    }
  }
  std::lock_guard making(making_);
  {
    std::lock_guard lock(mutex_);
    for (const auto& entry : entries_) {
      if (entry->signature == signature) return entry;
    }
    if (made_ >= kMaxMade && general_) return general_;
  }
  return make(signature, feeds);
}

std::shared_ptr<Program::Entry> Program::make(const Signature& signature,
                                              std::span<const Value> feeds) {
  auto entry = std::make_shared<Entry>();
  const bool general = made_ >= kMaxMade;
  std::vector<Type> types;
  for (size_t i = 0; i < feeds.size() && !general; ++i) {
    const Tensor* tensor = feeds[i].tensor();
    types.push_back(tensor != nullptr ? Type::tensor(tensor->dtype(), to_shape(tensor->dims()))
                                      : Type{});
  }
  entry->signature = signature;
  entry->plan = make_plan(graph_, types, options_);
  std::lock_guard lock(mutex_);
  last_ = entry->plan;
  entry->used = ++clock_;
  if (general) {
    general_ = entry;
    return entry;
  }
  ++made_;
  if (entries_.size() >= kMaxPlans) {
    const auto older = [](const auto& a, const auto& b) { return a->used < b->used; };
    entries_.erase(std::min_element(entries_.begin(), entries_.end(), older));
  }
  entries_.insert(entries_.begin(), entry);
  return entry;
}

void Program::run(std::span<const Value> feeds, std::span<const int> wanted,
                  const RunEnvironment& environment, OutputSink& sink) {
  std::vector<Value> completed;
  const auto absent = [](const Value& value) { return value.empty(); };
  if (std::any_of(feeds.begin(), feeds.end(), absent)) {
    completed.assign(feeds.begin(), feeds.end());
    for (size_t i = 0; i < completed.size(); ++i) {
      if (completed[i].empty()) completed[i] = defaults_[i];
    }
    feeds = completed;
  }
  thread_local Signature signature;
  signature.clear();
  for (const Value& value : feeds) {
    const Tensor* tensor = value.tensor();
    signature.push_back(tensor != nullptr ? static_cast<int64_t>(tensor->dtype()) : -1);
    if (tensor == nullptr) continue;
    signature.push_back(tensor->rank());
    signature.insert(signature.end(), tensor->dims().begin(), tensor->dims().end());
  }
  const std::shared_ptr<Entry> entry = find(Signature(signature), feeds);
  std::unique_ptr<RunContext> context;
  {
    std::lock_guard lock(mutex_);
    if (!entry->idle.empty()) {
      context = std::move(entry->idle.back());
      entry->idle.pop_back();
    }
  }
  if (!context) context = std::make_unique<RunContext>(entry->plan);
  context->run(feeds, wanted, environment, sink);
  std::lock_guard lock(mutex_);
  if (entry->idle.size() < kMaxIdle) entry->idle.push_back(std::move(context));
}

void Program::prepare() {
  std::vector<Value> feeds;
  Signature signature;
  std::vector<Type> types;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const Type& type = graph_.value(inputs_[i]).type;
    const std::optional<Dims> dims =
        type.is_tensor() && type.shape ? concrete(*type.shape) : std::nullopt;
    if (!dims || std::any_of(dims->begin(), dims->end(), [](int64_t d) { return d < 0; })) return;
    types.push_back(Type::tensor(type.dtype, to_shape(*dims)));
    signature.push_back(static_cast<int64_t>(type.dtype));
    signature.push_back(static_cast<int64_t>(dims->size()));
    signature.insert(signature.end(), dims->begin(), dims->end());
  }
  auto entry = std::make_shared<Entry>();
  entry->signature = signature;
  entry->plan = make_plan(graph_, types, options_);
  entry->idle.push_back(std::make_unique<RunContext>(entry->plan));
  std::lock_guard lock(mutex_);
  last_ = entry->plan;
  ++made_;
  entries_.push_back(std::move(entry));
}

}  // namespace tiercel
