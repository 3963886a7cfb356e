// Drives parts of the core that Python does not reach: the memory planner, two providers at once,
// and what a run asks of the allocator and of locks.
#include <atomic>
#include <cstring>
#include <iostream>
#include <memory>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "ops/op_def.h"
#include "providers/cpu/provider.h"
#include "runtime/check_plan.h"
#include "runtime/executor.h"
#include "runtime/memory_plan.h"
#include "runtime/program.h"
#include "session/session.h"

extern std::atomic<bool> counting;
extern std::atomic<long> allocations, locks;

namespace tiercel {
namespace {

// Each line "bytes first last bytes first last ..." is answered by "bytes bound verdict".
int plan_lines() {
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream in(line);
    std::vector<MemoryBlock> blocks;
    for (MemoryBlock block{}; in >> block.bytes >> block.first >> block.last;) {
      blocks.push_back(block);
    }
    MemoryPlan plan = plan_memory(blocks);
    const char* fault = check_memory_plan(blocks, plan);
    std::cout << plan.bytes << ' ' << plan.lower_bound << ' ' << (fault == nullptr ? "ok" : fault)
              << std::endl;
  }
  return 0;
}

// Two blocks that live at once, given one place: the checker has to object.
int check_wrong_plan() {
  const std::vector<MemoryBlock> blocks{{64, 0, 1}, {64, 1, 2}};
  const MemoryPlan plan{{0, 0}, 64, 128};
  const char* fault = check_memory_plan(blocks, plan);
  std::cout << (fault == nullptr ? "ok" : fault) << std::endl;
  return 0;
}

void copy_bytes(const Step& step, RunContext& context) {
  const TclTensor& from = *context.tensor(step.inputs[0]);
  const TclTensor& to = *context.tensor(step.outputs[0]);
  std::memcpy(to.data, from.data, static_cast<size_t>(from.size) * sizeof(float));
}

// A memory like that of a device, which is the host's in truth.
class MirrorMemory final : public DeviceMemory {
 public:
  std::string_view name() const override { return "mirror"; }
  int number() const override { return 0; }
  std::shared_ptr<Buffer> allocate(int64_t bytes) override {
    const std::shared_ptr<Buffer> own = Buffer::allocate(bytes);
    return Buffer::wrap(own->data(), bytes, [own] {}, this);
  }
  Tensor resident(const Tensor& tensor) override { return moved_to(this, tensor); }
  void release_free() override {}
  Use use() override { return {0, 0}; }
  std::shared_ptr<void> enter() override { return nullptr; }
  void to_device(void* to, const void* from, int64_t bytes) override { copy(to, from, bytes); }
  void to_host(void* to, const void* from, int64_t bytes) override { copy(to, from, bytes); }
  void copy(void* to, const void* from, int64_t bytes) override {
    std::memcpy(to, from, static_cast<size_t>(bytes));
  }
  void clear(void* to, int64_t bytes) override { std::memset(to, 0, static_cast<size_t>(bytes)); }
  void synchronize() override {}
  uintptr_t stream() const override { return 0; }
  void follow(uintptr_t) override {}
  void let_follow(uintptr_t) override {}
};

// A provider with a memory of its own that runs Relu alone.
class MirrorProvider final : public Provider {
 public:
  std::string_view name() const override { return "MirrorExecutionProvider"; }
  DeviceMemory* device() const override { return memory_.get(); }
  std::optional<std::string> refuses(const Graph&, const Node& node) const override {
    if (node.op_type == "Relu") return std::nullopt;
    return "it runs Relu alone";
  }
  Step compile(const Graph& graph, const Node& node) const override {
    if (node.op_type == "Copy") {
      Step step{.run = copy_bytes, .inputs = node.inputs, .outputs = node.outputs};
      step.kernel = "copy";
      return step;
    }
    return host_->compile(graph, node);
  }

 private:
  std::shared_ptr<Provider> host_ = make_cpu_provider();
  std::unique_ptr<MirrorMemory> memory_ = std::make_unique<MirrorMemory>();
};

ValueId unary(Graph& graph, const char* op, ValueId in) {
  const ValueId out =
      graph.add_value(std::string(op) + " of " + graph.value(in).name, graph.value(in).type);
  Node node{.name = op, .op_type = op, .def = find_op("", op), .inputs = {in}, .outputs = {out}};
  graph.add_node(std::move(node));
  return out;
}

// y = Abs(Relu(Relu(Neg(x)))): into the mirror once, out of it once. z = Relu(Neg(x)).
int two_providers() {
  Graph graph;
  const ValueId x = graph.add_value("x", Type::tensor(DType::Float, to_shape(Dims{4})));
  graph.inputs = {x};
  const ValueId once = unary(graph, "Relu", unary(graph, "Neg", x));
  graph.outputs = {unary(graph, "Abs", unary(graph, "Relu", once)), once};
  CompileOptions options;
  options.providers = {std::make_shared<MirrorProvider>(), make_cpu_provider()};
  options.islands = false;
  assign(graph, options);
  Program program(graph, options);
  program.prepare();
  const std::vector<float> values{-2, -1, 1, 3};
  const std::vector<Value> feeds{
      Tensor::of<float>(DType::Float, {4}, std::span(values.data(), values.size()))};
  ValueSink sink(2);
  const std::vector<int> wanted{0, 1};
  program.run(feeds, wanted, RunEnvironment{}, sink);
  const Plan& plan = *program.last_plan();
  for (const Step& step : plan.steps) {
    const Node& node = plan.graph.node(step.node);
    std::cout << node.op_type << '|' << node.provider << '|' << node.reason << '\n';
  }
  for (const Value& value : sink.values) {
    const auto* data = value.tensor()->data<float>();
    for (int i = 0; i < 4; ++i) std::cout << data[i] << (i == 3 ? '\n' : ' ');
  }
  return 0;
}

// Gives outputs to the same memory in every run.
class FixedSink final : public OutputSink {
 public:
  explicit FixedSink(size_t count) : memory_(count) {}
  void* allocate(int index, DType dtype, std::span<const int64_t> dims) override {
    auto& bytes = memory_[static_cast<size_t>(index)];
    bytes.resize(static_cast<size_t>(dtype_bytes(dtype, element_count(dims))) + 64);
    return reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(bytes.data()) + 63) / 64 * 64);
  }
  void set(int, Value) override {}

 private:
  std::vector<std::vector<std::byte>> memory_;
};

// Zeros for every input of the model; unknown extents are 1.
std::vector<Value> zero_feeds(const Session& session) {
  std::vector<Value> feeds;
  for (const IoInfo& info : session.inputs()) {
    Dims dims;
    for (const Dim& dim : *info.type.shape) dims.push_back(dim.known() ? dim.value() : 1);
    Tensor tensor(info.type.dtype, dims);
    std::memset(tensor.raw(), 0, static_cast<size_t>(tensor.bytes()));
    feeds.emplace_back(std::move(tensor));
  }
  feeds.resize(feeds.size() + session.overridable_initializers().size());
  return feeds;
}

// "allocations locks" of one run of the model, after two others.
int count_calls(const std::string& path, int threads) {
  SessionOptions options;
  options.intra_op_threads = threads;
  const std::shared_ptr<Session> session = Session::load(path, options);
  const std::vector<Value> feeds = zero_feeds(*session);
  std::vector<int> wanted(session->outputs().size());
  std::iota(wanted.begin(), wanted.end(), 0);
  FixedSink sink(wanted.size());
  for (int run = 0; run < 3; ++run) {
    counting.store(run == 2);
    session->run(feeds, wanted, RunOptions{}, sink);
  }
  counting.store(false);
  std::cout << allocations.load() << ' ' << locks.load() << std::endl;
  return 0;
}

// For each line, the path of a model: what the checker of places says of its plan.
int place_lines() {
  for (std::string path; std::getline(std::cin, path);) {
    const std::shared_ptr<Session> session = Session::load(path, SessionOptions{});
    Graph graph = clone(session->model().graph);
    CompileOptions options;
    options.providers = {make_cpu_provider()};
    assign(graph, options);
    Program program(graph, options);
    program.prepare();
    const std::string fault = check_places(*program.last_plan());
    std::cout << (fault.empty() ? "ok" : fault) << std::endl;
  }
  return 0;
}

// y and z = Neg(x), Abs(y), told to share bytes: the checker has to object.
int check_wrong_places() {
  Plan plan;
  Graph& graph = plan.graph;
  const ValueId x = graph.add_value("x", Type::tensor(DType::Float, to_shape(Dims{4})));
  const ValueId y = unary(graph, "Neg", x), z = unary(graph, "Abs", x), w = unary(graph, "Abs", y);
  graph.inputs = {x};
  plan.outputs = graph.outputs = {z, w};
  for (NodeId id : graph.order) {
    const Node& node = graph.node(id);
    Step step{.run = copy_bytes, .inputs = node.inputs, .outputs = node.outputs};
    step.node = id;
    plan.steps.push_back(std::move(step));
  }
  plan.places = {{Place::Kind::Input, x, 0, 0},
                 {Place::Kind::Arena, y, 0, -1},
                 {Place::Kind::Arena, z, 0, -1},
                 {Place::Kind::Arena, w, 64, -1}};
  std::cout << check_places(plan) << std::endl;
  plan.places[static_cast<size_t>(z)].offset = 128;
  std::cout << check_places(plan) << std::endl;
  return 0;
}

}  // namespace
}  // namespace tiercel

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "plan") return tiercel::plan_lines();
  if (mode == "wrong-plan") return tiercel::check_wrong_plan();
  if (mode == "places") return tiercel::place_lines();
  if (mode == "wrong-places") return tiercel::check_wrong_places();
  if (mode == "providers") return tiercel::two_providers();
  if (mode == "count-calls" && argc == 4) return tiercel::count_calls(argv[2], std::stoi(argv[3]));
  std::cerr << "usage: driver plan|wrong-plan|places|wrong-places|providers|count-calls …\n";
  return 2;
}
