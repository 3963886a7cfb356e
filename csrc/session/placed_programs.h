// The programs of a session: one for each set of memories that inputs come in and outputs go to.
#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/program.h"

namespace tiercel {

class PlacedPrograms {
 public:
  // `graph` outlives this. The program of the host's memory is made at once.
  PlacedPrograms(const Graph& graph, CompileOptions options);

  // The program for a run's feeds and for what its sink wants. Throws Error(InvalidArgument) naming
  // the value whose memory no provider of the session works in.
  [[nodiscard]] Program& find(std::span<const Value> feeds, std::span<const int> wanted,
                              const OutputSink& sink);
  [[nodiscard]] Program& host() { return *host_; }
  // The one that ran last; the host's before any has.
  [[nodiscard]] const Program& last() const { return *last_.load(); }
  void release_memory();

 private:
  using Memories = std::vector<std::string>;  // names, of inputs or outputs
  // The name of the memory, whose stream our work follows from now on.
  [[nodiscard]] std::string_view join(DeviceMemory& memory, ValueId value) const;

  const Graph& graph_;
  const CompileOptions options_;
  const std::vector<ValueId> inputs_;
  std::vector<DeviceMemory*> devices_;  // of the providers
  std::unique_ptr<Program> host_;
  std::atomic<Program*> last_;
  std::mutex mutex_;  // guards the map
  std::map<std::pair<Memories, Memories>, std::unique_ptr<Program>> others_;
};

}  // namespace tiercel
