// A graph with its plans: one per set of input shapes, made when first needed; safe for many
// threads.
#pragma once
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "runtime/executor.h"

namespace tiercel {

class Program {
 public:
  Program(Graph graph, CompileOptions options);

  // `feeds`: one Value per run input (inputs, overridable ones, captures); empty ones take the
  // value that the graph has for them.
  void run(std::span<const Value> feeds, std::span<const int> wanted,
           const RunEnvironment& environment, OutputSink& sink);
  // Makes the plan of a graph whose input shapes are all known.
  void prepare();
  [[nodiscard]] const Graph& graph() const { return graph_; }
  [[nodiscard]] const std::vector<ValueId>& inputs() const { return inputs_; }
  // The plan made last; nullptr before the first.
  [[nodiscard]] std::shared_ptr<const Plan> last_plan() const;

 private:
  using Signature = std::vector<int64_t>;
  struct Entry {
    Signature signature;
    std::shared_ptr<const Plan> plan;
    std::vector<std::unique_ptr<RunContext>> idle;
    uint64_t used = 0;
  };
  std::shared_ptr<Entry> find(const Signature& signature, std::span<const Value> feeds);
  std::shared_ptr<Entry> make(const Signature& signature, std::span<const Value> feeds);

  Graph graph_;
  CompileOptions options_;
  std::vector<ValueId> inputs_;
  std::vector<Value> defaults_;  // per input
  mutable std::mutex mutex_;     // guards what follows
  std::mutex making_;            // one plan is made at a time
  std::vector<std::shared_ptr<Entry>> entries_;
  std::shared_ptr<Entry> general_;  // for inputs whose shapes change all the time
  std::shared_ptr<const Plan> last_;
  uint64_t clock_ = 0;
  int made_ = 0;
};

}  // namespace tiercel
