// Which nodes a device is not worth asking for: islands whose copies cost more than they save.
#include "runtime/islands.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "ops/op_def.h"
#include "runtime/body_memories.h"

namespace tiercel {
namespace {

// The model: microseconds, bytes and operations per microsecond. Round numbers of machines with one
// GPU on PCIe; what matters is that copies and launches cost much more than small nodes do.
constexpr double kLaunch = 4, kCopy = 12, kHostNode = 1;
constexpr double kBus = 12e3, kDeviceBytes = 800e3, kHostBytes = 10e3;
constexpr double kDeviceFlops = 10e6, kHostFlops = 50e3;

class Islands {
 public:
  Islands(Graph& graph, const CompileOptions& options)
      : graph_(graph),
        options_(options),
        consumers_(graph.consumers()),
        group_(graph.nodes.size()) {
    std::iota(group_.begin(), group_.end(), 0);
    for (const auto& provider : options.providers) {
      if (provider->device() == nullptr && host_ == nullptr) host_ = provider.get();
    }
  }

  void run() {
    find_groups();
    std::map<size_t, std::vector<NodeId>> islands;
    for (NodeId id : graph_.order) {
      if (on_device(id)) islands[group(id)].push_back(id);
    }
    for (const auto& [first, nodes] : islands) decide(nodes);
  }

 private:
  bool on_device(NodeId id) const {
    const Node& node = graph_.node(id);
    return !node.removed && node.def != nullptr && !node.def->has(kControlFlow) &&
           device_of(node) != nullptr;
  }
  const Provider* device_of(const Node& node) const {
    for (const auto& provider : options_.providers) {
      if (provider->name() == node.provider && provider->device()) return provider.get();
    }
    return nullptr;
  }

  size_t group(NodeId id) {
    auto at = static_cast<size_t>(id);
    while (group_[at] != at) at = group_[at] = group_[group_[at]];
    return at;
  }
  void find_groups() {
    for (NodeId id : graph_.order) {
      if (!on_device(id)) continue;
      for (ValueId in : moving_inputs(graph_.node(id))) {
        const NodeId maker = graph_.value(in).producer;
        if (maker != kNone && on_device(maker)) group_[group(id)] = group(maker);
      }
    }
  }

  // Inputs that are read in the node's memory.
  static std::vector<ValueId> moving_inputs(const Node& node) {
    std::vector<ValueId> out;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.inputs[i] != kNone && !node.def->reads_value(i)) out.push_back(node.inputs[i]);
    }
    return out;
  }

  // -1: not known.
  double bytes(ValueId id) const {
    const Type& type = graph_.value(id).type;
    const auto dims = type.is_tensor() && type.shape ? concrete(*type.shape) : std::nullopt;
    return dims ? static_cast<double>(dtype_bytes(type.dtype, element_count(*dims))) : -1;
  }
  double elements(ValueId id) const {
    return bytes(id) * 8 / static_cast<double>(dtype_bits(graph_.value(id).type.dtype));
  }

  struct Cost {
    double device = 0, host = 0;
    bool known = true;
  };

  // Of a product [m, k] [k, n] the root of all three sizes is m k n. Its factors are the largest of
  // a node's inputs: others are scales, zero points and biases. What has less than two inputs of
  // more than one axis is no product.
  double flops(const Node& node) const {
    double out = 0;
    for (ValueId value : node.outputs) out = std::max(out, value == kNone ? 0 : elements(value));
    if (node.def->has(kElementwise)) return out;
    double largest = 0, second = 0;
    for (ValueId in : moving_inputs(node)) {
      const Type& type = graph_.value(in).type;
      const double size = type.shape && type.shape->size() > 1 ? elements(in) : 0;
      second = std::max(second, std::min(size, largest));
      largest = std::max(largest, size);
    }
    const bool moves = node.def->has(kJoins) || node.def->has(kCuts);
    return moves || second == 0 ? std::max(out, largest) : 2 * std::sqrt(out * largest * second);
  }

  void add(const Node& node, Cost& cost) const {
    double touched = 0;
    for (const auto& list : {moving_inputs(node), node.outputs}) {
      for (ValueId id : list) {
        if (id == kNone) continue;
        cost.known = cost.known && bytes(id) >= 0;
        touched += bytes(id);
      }
    }
    if (!cost.known || node.def->has(kAlias)) return;
    const double work = flops(node);
    cost.device += kLaunch + std::max(touched / kDeviceBytes, work / kDeviceFlops);
    cost.host += kHostNode + std::max(touched / kHostBytes, work / kHostFlops);
  }

  // Whether the value comes from the host or goes there by a node that the host has to run.
  bool made_on_host(ValueId id) const {
    const NodeId maker = graph_.value(id).producer;
    return maker != kNone && !on_device(maker) &&
           memory_of_value(graph_, id, options_) == host_->memory();
  }
  bool read_on_host(ValueId id) const {
    const auto& readers = consumers_[static_cast<size_t>(id)];
    return std::any_of(readers.begin(), readers.end(), [&](NodeId reader) {
      const Node& node = graph_.node(reader);
      return !on_device(reader) && node.def != nullptr && !node.def->has(kReadsDims);
    });
  }

  void decide(const std::vector<NodeId>& nodes) {
    Cost cost;
    std::set<ValueId> in, out;
    bool beside_host = false;
    for (NodeId id : nodes) {
      const Node& node = graph_.node(id);
      if (options_.chosen.contains(node.name)) return;
      if (!node.def->has(kAlias) && host_->refuses(graph_, node)) return;
      add(node, cost);
      for (ValueId value : moving_inputs(node)) {
        const NodeId maker = graph_.value(value).producer;
        if (graph_.constant(value) != nullptr || (maker != kNone && on_device(maker))) continue;
        beside_host = beside_host || made_on_host(value);
        in.insert(value);
      }
      for (ValueId value : node.outputs) {
        if (value == kNone) continue;
        const bool host_reads = read_on_host(value);
        beside_host = beside_host || host_reads;
        if (host_reads || graph_.is_output(value)) out.insert(value);
      }
    }
    if (!cost.known || !beside_host) return;
    for (const auto* list : {&in, &out}) {
      for (ValueId value : *list) cost.device += kCopy + std::max(bytes(value), 0.0) / kBus;
    }
    const bool moves = cost.host < cost.device;
    const std::string reason =
        concat(moves ? "cheaper on the host: " : "cheaper there: ", nodes.size(),
               " nodes with copies, ", std::lround(cost.device), " us on the device and ",
               std::lround(cost.host), " us on the host");
    for (NodeId id : nodes) {
      Node& node = graph_.node(id);
      if (moves) node.provider = std::string(host_->name());
      node.reason = reason;
    }
  }

  Graph& graph_;
  const CompileOptions& options_;
  const std::vector<std::vector<NodeId>> consumers_;
  std::vector<size_t> group_;  // of each node: another of its island, itself for the first
  const Provider* host_ = nullptr;
};

}  // namespace

void keep_small_islands_on_host(Graph& graph, const CompileOptions& options) {
  Islands(graph, options).run();
}

}  // namespace tiercel
