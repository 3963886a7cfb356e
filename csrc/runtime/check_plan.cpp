// Runs a plan with labels in place of bytes: a step writes labels of its own, a reader looks for
// those that the graph says.
#include "runtime/check_plan.h"

#include <algorithm>
#include <map>
#include <utility>

#include "ops/op_def.h"

namespace tiercel {
namespace {

// A run of bytes: those of `value` from `from` on, as its step computed them.
struct Labelled {
  int64_t bytes;
  ValueId value;
  int64_t from;
};
using Content = std::vector<Labelled>;

void append(Content& to, Labelled next) {
  if (next.bytes == 0) return;
  if (!to.empty() && to.back().value == next.value &&
      to.back().from + to.back().bytes == next.from) {
    to.back().bytes += next.bytes;
  } else {
    to.push_back(next);
  }
}

Content cut(const Content& whole, int64_t begin, int64_t bytes) {
  Content out;
  int64_t at = 0;
  for (const Labelled& run : whole) {
    const int64_t first = std::max(at, begin), last = std::min(at + run.bytes, begin + bytes);
    if (first < last) append(out, {last - first, run.value, run.from + first - at});
    at += run.bytes;
  }
  return out;
}

bool same(const Content& a, const Content& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.bytes == y.bytes && x.value == y.value && x.from == y.from;
  });
}

// Memory whose bytes are labelled; runs by where they begin.
class LabelledMemory {
 public:
  void write(int64_t begin, const Content& content) {
    int64_t bytes = 0;
    for (const Labelled& run : content) bytes += run.bytes;
    erase(begin, begin + bytes);
    for (const Labelled& run : content) {
      runs_[begin] = run;
      begin += run.bytes;
    }
  }
  [[nodiscard]] Content read(int64_t begin, int64_t bytes) const {
    Content out;
    for (const auto& [at, run] : runs_) {
      const int64_t first = std::max(at, begin), last = std::min(at + run.bytes, begin + bytes);
      if (first < last) append(out, {last - first, run.value, run.from + first - at});
    }
    return out;
  }

 private:
  void erase(int64_t begin, int64_t end) {
    std::map<int64_t, Labelled> left;
    for (const auto& [at, run] : runs_) {
      const int64_t before = std::min(run.bytes, begin - at);
      if (before > 0) left[at] = {before, run.value, run.from};
      const int64_t after = std::min(run.bytes, at + run.bytes - end);
      if (after > 0) {
        left[at + run.bytes - after] = {after, run.value, run.from + run.bytes - after};
      }
    }
    runs_ = std::move(left);
  }
  std::map<int64_t, Labelled> runs_;
};

class Walk {
 public:
  explicit Walk(const Plan& plan) : plan_(plan), content_(plan.places.size()) {}

  std::string run() {
    for (size_t i = 0; i < plan_.places.size(); ++i) {
      const auto id = static_cast<ValueId>(i);
      const Place::Kind kind = place(id).kind;
      if (place(id).root != id || kind == Place::Kind::Arena || kind == Place::Kind::Output)
        continue;
      compute(id);
    }
    std::map<NodeId, const Step*> steps;
    for (const Step& step : plan_.steps) steps[step.node] = &step;
    for (NodeId id : plan_.graph.order) {
      const Node& node = plan_.graph.node(id);
      if (node.removed) continue;
      const auto step = steps.find(id);
      if (step == steps.end()) {
        derive(node);
      } else if (std::string fault = take(*step->second); !fault.empty()) {
        return fault;
      }
    }
    for (const Step& step : plan_.steps) {
      if (step.reads_on && !holds(step.inputs[0])) {
        return text(step.inputs[0], "is overwritten before the run is over");
      }
    }
    for (ValueId out : plan_.outputs) {
      if (!holds(out)) return text(out, "does not hold the graph output");
    }
    return "";
  }

 private:
  using Space = std::pair<int, ValueId>;

  [[nodiscard]] const Place& place(ValueId id) const {
    return plan_.places[static_cast<size_t>(id)];
  }
  [[nodiscard]] std::string text(ValueId id, const char* what) const {
    return concat("value \"", plan_.graph.value(id).name, "\" ", what);
  }
  // -1: a value without fixed bytes.
  [[nodiscard]] int64_t bytes(ValueId id) const {
    const ValueInfo& info = plan_.graph.value(id);
    if (info.constant) return info.constant->bytes();
    if (!info.type.is_tensor() || !info.type.shape || info.type.dtype == DType::String) return -1;
    const auto dims = concrete(*info.type.shape);
    return dims ? dtype_bytes(info.type.dtype, element_count(*dims)) : -1;
  }
  // The memory that a place is in: an arena, that of an output, or that of the value it shares.
  [[nodiscard]] Space space(ValueId id) const {
    const Place& at = place(id);
    if (at.kind == Place::Kind::Arena) return {-2 - at.memory, kNone};
    if (at.kind == Place::Kind::Output) return {at.index, kNone};
    return {-1, at.root};
  }

  void compute(ValueId id) {
    if (bytes(id) < 0) return;
    content_[static_cast<size_t>(id)] = {{bytes(id), id, 0}};
    if (bytes(id) == 0) content_[static_cast<size_t>(id)].clear();
    memory_[space(id)].write(place(id).offset, content_[static_cast<size_t>(id)]);
  }

  // What a node without a step makes of what its inputs are.
  void derive(const Node& node) {
    if (node.def->has(kJoins)) {
      Content& out = content_[static_cast<size_t>(node.outputs[0])];
      for (ValueId in : node.inputs) {
        for (const Labelled& run : content_[static_cast<size_t>(in)]) append(out, run);
      }
      return;
    }
    const Content whole = content_[static_cast<size_t>(node.inputs[0])];
    int64_t at = 0;
    for (ValueId out : node.outputs) {
      if (out == kNone) continue;
      content_[static_cast<size_t>(out)] = cut(whole, at, bytes(out));
      at += bytes(out);
    }
  }

  [[nodiscard]] bool holds(ValueId id) {
    if (bytes(id) < 0) return true;
    return same(memory_[space(id)].read(place(id).offset, bytes(id)),
                content_[static_cast<size_t>(id)]);
  }

  [[nodiscard]] bool overlap(ValueId a, ValueId b) const {
    if (bytes(a) <= 0 || bytes(b) <= 0 || space(a) != space(b)) return false;
    return std::max(place(a).offset, place(b).offset) <
           std::min(place(a).offset + bytes(a), place(b).offset + bytes(b));
  }

  std::string take(const Step& step) {
    for (size_t i = 0; i < step.inputs.size(); ++i) {
      const ValueId in = step.inputs[i];
      if (in == kNone) continue;
      if (!holds(in)) return text(in, "does not hold what was computed when it is read");
      for (size_t o = 0; o < step.outputs.size(); ++o) {
        const ValueId out = step.outputs[o];
        if (out == kNone || !overlap(in, out)) continue;
        const bool in_place = o == 0 && static_cast<int>(i) == step.inplace &&
                              place(in).offset == place(out).offset && bytes(in) == bytes(out);
        if (!in_place) return text(in, "is overwritten while it is read");
      }
    }
    for (ValueId out : step.outputs) {
      if (out != kNone) compute(out);
    }
    for (ValueId out : step.outputs) {
      if (out != kNone && !holds(out)) return text(out, "shares bytes with another output");
    }
    return "";
  }

  const Plan& plan_;
  std::vector<Content> content_;
  std::map<Space, LabelledMemory> memory_;
};

}  // namespace

std::string check_places(const Plan& plan) { return Walk(plan).run(); }

}  // namespace tiercel
