// A graph with its plans: one per set of input shapes, made when first needed; safe for many
// threads.
#pragma once
#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "runtime/executor.h"

namespace tiercel {

class Program {
 public:
  // `body`: runs come one after the other, and shapes that change from one to the next go on
  // changing.
  Program(Graph graph, CompileOptions options, bool body = false);

  // `feeds`: one Value per run input (inputs, overridable ones, captures); empty ones take the
  // value that the graph has for them. Locks nothing when a context of the right plan is idle.
  void run(std::span<const Value> feeds, std::span<const int> wanted,
           const RunEnvironment& environment, OutputSink& sink);
  // Makes the plan of a graph whose input shapes are all known.
  void prepare();
  // Gives the memory of idle runs back; runs to come take it again.
  void release_memory();
  [[nodiscard]] const Graph& graph() const { return graph_; }
  [[nodiscard]] const std::vector<ValueId>& inputs() const { return inputs_; }
  // The plan made last; nullptr before the first.
  [[nodiscard]] std::shared_ptr<const Plan> last_plan() const;
  // Plans that are kept now.
  [[nodiscard]] size_t plan_count() const;

 private:
  static constexpr size_t kMaxPlans = 16;  // kept, the least recently used goes first
  static constexpr size_t kMaxMade = 64;   // after that many, new shapes run on the general plan
  static constexpr size_t kMaxIdle = 8;    // contexts kept per plan

  using Signature = std::vector<int64_t>;
  // The shell of a plan stays when the plan goes, so that readers need no lock to look at it.
  struct Entry {
    ~Entry();
    Signature signature;
    std::shared_ptr<const Plan> plan;  // guarded by mutex_; nullptr when the plan is gone
    std::array<std::atomic<RunContext*>, kMaxIdle> idle{};
    std::atomic<uint64_t> used{0};
    std::atomic<bool> live{true};

    [[nodiscard]] std::unique_ptr<RunContext> take();
    void give(std::unique_ptr<RunContext> context);
    void drain();
  };
  [[nodiscard]] Entry* published(std::span<const Value> feeds);
  Entry& find(std::span<const Value> feeds);
  Entry& make(std::span<const Value> feeds);
  [[nodiscard]] bool changes_again();
  Entry& publish(std::unique_ptr<Entry> entry);
  std::unique_ptr<RunContext> context(std::span<const Value> feeds, Entry*& entry);

  Graph graph_;
  CompileOptions options_;
  std::vector<ValueId> inputs_;
  std::vector<Value> defaults_;  // per input
  std::mutex making_;            // one plan is made at a time
  std::array<std::unique_ptr<Entry>, kMaxMade> entries_;
  std::atomic<size_t> n_entries_{0};
  std::unique_ptr<Entry> general_owner_;
  std::atomic<Entry*> general_{nullptr};  // for inputs whose shapes change all the time
  std::atomic<uint64_t> clock_{0};
  const bool body_;
  std::atomic<uint64_t> runs_{0};      // of a body
  std::array<uint64_t, 3> made_at_{};  // runs that made the last plans; guarded by making_
  std::atomic<bool> keeps_changing_{false};
  mutable std::mutex mutex_;  // guards the plans of entries and last_
  std::shared_ptr<const Plan> last_;
};

}  // namespace tiercel
