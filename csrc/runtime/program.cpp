// A graph with its plans: one per set of input shapes, made when first needed; safe for many
// threads.
#include "runtime/program.h"

#include <algorithm>

namespace tiercel {
namespace {

// Element type, rank and extents of every feed, without making a list of them.
bool same_signature(const std::vector<int64_t>& signature, std::span<const Value> feeds) {
  size_t at = 0;
  for (const Value& value : feeds) {
    const Tensor* tensor = value.tensor();
    const size_t needed = tensor == nullptr ? 1 : 2 + tensor->dims().size();
    if (at + needed > signature.size()) return false;
    const int64_t* next = &signature[at];
    at += needed;
    if (tensor == nullptr) {
      if (*next != -1) return false;
      continue;
    }
    if (next[0] != static_cast<int64_t>(tensor->dtype()) || next[1] != tensor->rank() ||
        !std::equal(tensor->dims().begin(), tensor->dims().end(), next + 2)) {
      return false;
    }
  }
  return at == signature.size();
}

void add_signature(std::vector<int64_t>& signature, DType dtype, const Dims& dims) {
  signature.push_back(static_cast<int64_t>(dtype));
  signature.push_back(static_cast<int64_t>(dims.size()));
  signature.insert(signature.end(), dims.begin(), dims.end());
}

}  // namespace

Program::Entry::~Entry() { drain(); }

std::unique_ptr<RunContext> Program::Entry::take() {
  for (auto& slot : idle) {
    if (slot.load(std::memory_order_relaxed) == nullptr) continue;
    if (RunContext* found = slot.exchange(nullptr)) return std::unique_ptr<RunContext>(found);
  }
  return nullptr;
}

void Program::Entry::give(std::unique_ptr<RunContext> context) {
  for (auto& slot : idle) {
    RunContext* empty = nullptr;
    if (!slot.compare_exchange_strong(empty, context.get())) continue;
    static_cast<void>(context.release());
    if (!live.load()) drain();  // the plan went while the context was away
    return;
  }
}

void Program::Entry::drain() {
  while (take()) {
  }
}

Program::Program(Graph graph, CompileOptions options, bool body)
    : graph_(std::move(graph)),
      options_(std::move(options)),
      inputs_(run_inputs(graph_)),
      body_(body) {
  for (ValueId id : inputs_) {
    const auto& constant = graph_.value(id).constant;
    defaults_.push_back(constant ? Value(*constant) : Value());
  }
}

std::shared_ptr<const Plan> Program::last_plan() const {
  std::lock_guard lock(mutex_);
  return last_;
}

size_t Program::plan_count() const {
  std::lock_guard lock(mutex_);
  size_t count = general_.load() != nullptr ? 1 : 0;
  for (size_t i = 0; i < n_entries_.load(); ++i) count += entries_[i]->plan ? 1 : 0;
  return count;
}

void Program::release_memory() {
  const std::lock_guard making(making_);
  for (size_t i = 0; i < n_entries_.load(); ++i) entries_[i]->drain();
  if (Entry* general = general_.load()) general->drain();
}

Program::Entry* Program::published(std::span<const Value> feeds) {
  const size_t count = n_entries_.load(std::memory_order_acquire);
  for (size_t i = 0; i < count; ++i) {
    Entry& entry = *entries_[i];
    if (!entry.live.load() || !same_signature(entry.signature, feeds)) continue;
    if (count > 1) entry.used.store(clock_.fetch_add(1) + 1, std::memory_order_relaxed);
    return &entry;
  }
  return count == kMaxMade || keeps_changing_.load() ? general_.load() : nullptr;
}

Program::Entry& Program::find(std::span<const Value> feeds) {
  if (Entry* entry = published(feeds)) return *entry;
  std::lock_guard making(making_);
  if (Entry* entry = published(feeds)) return *entry;
  return make(feeds);
}

// Whether the last runs of a body all came with shapes not seen before: then those to come will
// too, as where a loop appends to what it carries. Called with making_ held.
bool Program::changes_again() {
  if (!body_ || keeps_changing_.load()) return body_;
  const uint64_t now = runs_.load(std::memory_order_relaxed);
  const bool again = made_at_[0] != 0 && now - made_at_[0] == made_at_.size();
  std::rotate(made_at_.begin(), made_at_.begin() + 1, made_at_.end());
  made_at_.back() = now;
  if (again) keeps_changing_.store(true);
  return again;
}

Program::Entry& Program::make(std::span<const Value> feeds) {
  auto entry = std::make_unique<Entry>();
  const bool general = n_entries_.load() == kMaxMade || changes_again();
  std::vector<Type> types;
  for (const Value& value : feeds) {
    const Tensor* tensor = value.tensor();
    if (tensor == nullptr) {
      entry->signature.push_back(-1);
      types.emplace_back();
      continue;
    }
    add_signature(entry->signature, tensor->dtype(), tensor->dims());
    types.push_back(Type::tensor(tensor->dtype(), to_shape(tensor->dims())));
  }
  if (general) types.clear();
  entry->plan = make_plan(graph_, types, options_);
  if (!general) return publish(std::move(entry));
  std::lock_guard lock(mutex_);
  last_ = entry->plan;
  general_owner_ = std::move(entry);
  general_.store(general_owner_.get());
  return *general_owner_;
}

// Called with making_ held, or before the first run.
Program::Entry& Program::publish(std::unique_ptr<Entry> entry) {
  const size_t count = n_entries_.load();
  Entry* oldest = nullptr;
  size_t live = 0;
  for (size_t i = 0; i < count; ++i) {
    if (!entries_[i]->live.load()) continue;
    ++live;
    if (oldest == nullptr || entries_[i]->used.load() < oldest->used.load()) {
      oldest = entries_[i].get();
    }
  }
  Entry& made = *entry;
  made.used.store(clock_.fetch_add(1) + 1);
  {
    std::lock_guard lock(mutex_);
    last_ = made.plan;
    entries_[count] = std::move(entry);
    if (live >= kMaxPlans) {
      oldest->live.store(false);
      oldest->plan.reset();
    }
  }
  if (live >= kMaxPlans) oldest->drain();
  n_entries_.store(count + 1, std::memory_order_release);
  return made;
}

std::unique_ptr<RunContext> Program::context(std::span<const Value> feeds, Entry*& entry) {
  for (;;) {
    entry = &find(feeds);
    if (auto idle = entry->take()) return idle;
    std::shared_ptr<const Plan> plan;
    {
      std::lock_guard lock(mutex_);
      plan = entry->plan;
    }
    if (plan) return std::make_unique<RunContext>(std::move(plan));
  }
}

void Program::run(std::span<const Value> feeds, std::span<const int> wanted,
                  const RunEnvironment& environment, OutputSink& sink) {
  if (body_) runs_.fetch_add(1, std::memory_order_relaxed);
  std::vector<Value> completed;
  const auto absent = [](const Value& value) { return value.empty(); };
  if (std::any_of(feeds.begin(), feeds.end(), absent)) {
    completed.assign(feeds.begin(), feeds.end());
    for (size_t i = 0; i < completed.size(); ++i) {
      if (completed[i].empty()) completed[i] = defaults_[i];
    }
    feeds = completed;
  }
  Entry* entry = nullptr;
  std::unique_ptr<RunContext> used = context(feeds, entry);
  used->run(feeds, wanted, environment, sink);
  entry->give(std::move(used));
}

void Program::prepare() {
  auto entry = std::make_unique<Entry>();
  std::vector<Type> types;
  for (ValueId input : inputs_) {
    const Type& type = graph_.value(input).type;
    const std::optional<Dims> dims =
        type.is_tensor() && type.shape ? concrete(*type.shape) : std::nullopt;
    if (!dims || std::any_of(dims->begin(), dims->end(), [](int64_t d) { return d < 0; })) return;
    types.push_back(Type::tensor(type.dtype, to_shape(*dims)));
    add_signature(entry->signature, type.dtype, *dims);
  }
  entry->plan = make_plan(graph_, types, options_);
  entry->idle[0].store(std::make_unique<RunContext>(entry->plan).release());
  publish(std::move(entry));
}

}  // namespace tiercel
