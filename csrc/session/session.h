// A loaded model, ready to run: read, upgrade, optimise, assign, compile, plan. Thread-safe: many
// threads may run one session.
#pragma once
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/tensor.h"
#include "ir/external_data.h"
#include "ir/graph.h"
#include "passes/pass.h"
#include "runtime/run.h"

namespace tiercel {

struct SessionOptions {
  OptimizationLevel level = OptimizationLevel::All;
  int intra_op_threads = 0;  // 0: as many as this process may use (affinity, cgroup)
  bool profiling = false;
  std::string profile_prefix = "onnxruntime_profile_";
  std::string optimized_model_path;
  std::vector<std::pair<std::string, std::string>> config;  // session config entries
  std::vector<std::pair<std::string, int64_t>>
      dim_overrides;  // free dimension overrides by symbol name
  std::vector<std::pair<std::string, int64_t>> denotation_overrides;  // by a dim's denotation
  std::vector<std::pair<std::string, Tensor>> initializers;  // replace initialisers by name
  std::map<std::string, ExternalBytes> files;                // external data in memory, by location
  std::vector<std::string> disabled_passes;
  bool verify = false;
  std::vector<std::pair<std::string, std::vector<std::pair<std::string, std::string>>>>
      providers;  // in order; empty: all available

  [[nodiscard]] std::string config_value(std::string_view key, std::string fallback) const {
    for (const auto& [name, value] : config) {
      if (name == key) fallback = value;
    }
    return fallback;
  }
};

struct IoInfo {
  std::string name;
  Type type;
};

class Session {
 public:
  static std::shared_ptr<Session> load(const std::string& path, const SessionOptions& options);
  // `owner` keeps `bytes` alive; weights are used in place. `base` is the folder of external data
  // ("" = none allowed).
  static std::shared_ptr<Session> load(std::span<const std::byte> bytes,
                                       std::shared_ptr<void> owner, const std::string& base,
                                       const SessionOptions& options);
  virtual ~Session() = default;

  [[nodiscard]] virtual const std::vector<IoInfo>& inputs() const = 0;
  [[nodiscard]] virtual const std::vector<IoInfo>& outputs() const = 0;
  [[nodiscard]] virtual const std::vector<IoInfo>& overridable_initializers() const = 0;
  [[nodiscard]] virtual const Model& model() const = 0;  // metadata; its graph is the optimised one
  [[nodiscard]] virtual std::vector<std::string> providers() const = 0;

  // `feeds`: one Value per input, then one per overridable initialiser; empty Values for absent
  // ones; tensors in the memory of a device that the session has a provider for are read there.
  // `wanted`: output indices. Throws Error naming the input for a wrong type, rank or extent.
  virtual void run(std::span<const Value> feeds, std::span<const int> wanted,
                   const RunOptions& options, OutputSink& sink) = 0;

  // Placement of every node with reasons, passes with times, plan and memory: text for people.
  [[nodiscard]] virtual std::string explain() const = 0;
  // Writes what was recorded as Chrome-trace JSON and returns the path ("" when profiling was off).
  virtual std::string end_profiling() = 0;
  [[nodiscard]] virtual int64_t profiling_start_ns() const = 0;
  // Peak arena bytes and lower bound of the last plan made; plans kept.
  struct MemoryReport {
    int64_t arena_bytes, lower_bound_bytes, weights_bytes, plans;
  };
  [[nodiscard]] virtual MemoryReport memory() const = 0;
  // Gives memory that no run uses back to the system: arenas of idle runs, free blocks of devices.
  virtual void release_memory() = 0;
};

}  // namespace tiercel
