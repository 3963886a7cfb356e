// The registry: every family's list, and what was added at run time, searchable by domain and name.
#include <deque>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <utility>

#include "ops/families.h"

namespace tiercel {

namespace {

using Family = OpList (*)();

constexpr Family kFamilies[] = {
    elementwise_ops,
    logic_ops,
    reduce_ops,
    softmax_ops,
    norm_ops,
    matmul_ops,
    quantize_ops,
    attention_ops,
    optimizer_ops,
    rearrange_ops,
    resize_ops,
    gather_scatter_ops,
    sort_select_ops,
    concat_split_pad_ops,
    conv_pool_ops,
    control_flow_ops,
    rnn_ops,
    rnn_internal_ops,
    sequence_ops,
    string_ops,
    ml_ops,
    signal_ops,
    random_ops,
    image_ops,
    ml_internal_ops,
    contrib_ops,
    contrib_quantized_ops,
    internal_ops,
    blocked_ops,
    generate_ops,
};

struct Registry {
  std::vector<OpList> families;
  std::vector<const OpDef*> all;
  std::map<std::pair<std::string_view, std::string_view>, const OpDef*> by_name;

  Registry() {
    for (Family family : kFamilies) families.push_back(family());
    for (const OpList& list : families) {
      for (const OpDef& def : list) {
        all.push_back(&def);
        by_name.emplace(std::pair(def.domain, def.name), &def);
      }
    }
  }
};

const Registry& registry() {
  static const Registry made;
  return made;
}

// Operators added at run time; graphs point at them, so that none is ever freed.
struct Additions {
  std::shared_mutex mutex;
  std::deque<OpDef> all;  // the last of a name counts
};

Additions& additions() {
  static auto* made = new Additions;
  return *made;
}

const OpDef* find_added(std::string_view domain, std::string_view name) {
  Additions& added = additions();
  const std::shared_lock lock(added.mutex);
  for (auto def = added.all.rbegin(); def != added.all.rend(); ++def) {
    if (def->domain == domain && def->name == name) return &*def;
  }
  return nullptr;
}

}  // namespace

const AttrDef* OpDef::attribute(std::string_view attribute_name) const {
  for (const AttrDef& def : attributes) {
    if (def.name == attribute_name) return &def;
  }
  return nullptr;
}

const OpDef* find_op(std::string_view domain, std::string_view name) {
  if (domain == "ai.onnx") domain = "";
  const auto found = registry().by_name.find({domain, name});
  return found == registry().by_name.end() ? find_added(domain, name) : found->second;
}

const OpDef& add_op(OpDef def) {
  if (def.domain == "ai.onnx") def.domain = "";
  if (registry().by_name.contains({def.domain, def.name})) {
    throw_error(ErrorKind::InvalidArgument, "the operator ",
                def.domain.empty() ? "ai.onnx" : def.domain, ".", def.name,
                " is built in: a custom operator needs another name or domain");
  }
  Additions& added = additions();
  const std::unique_lock lock(added.mutex);
  return added.all.emplace_back(std::move(def));
}

std::span<const OpDef* const> all_ops() { return registry().all; }

}  // namespace tiercel
