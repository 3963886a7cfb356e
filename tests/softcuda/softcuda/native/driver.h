// State of the software driver: memory, streams, modules; what the exported functions share.
#pragma once
#include <cuda.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runner.h"

#define SOFTCUDA_EXPORT extern "C" __attribute__((visibility("default")))
#define SOFTCUDA_API SOFTCUDA_EXPORT CUresult CUDAAPI

namespace softcuda {

// When queued work really runs; all are orders that CUDA allows.
enum class StreamMode : uint8_t { kLazy, kEager, kRandom };

using Work = std::function<CUresult()>;

// A moment of a stream: after its first `count` operations.
struct Mark {
  std::shared_ptr<struct Queue> queue;
  uint64_t count = 0;
};
struct Operation {
  Work work;
  std::vector<Mark> after;
};
struct Queue {
  std::deque<Operation> waiting;
  uint64_t submitted = 0, done = 0;
  bool blocking = true;  // ordered with the null stream
};

// Device memory has addresses that the host cannot touch; its bytes stand elsewhere.
class DeviceMemory {
 public:
  DeviceMemory();
  // Memory with a gap behind it, all bytes 0xff; 0 when there is none left.
  uint64_t allocate(uint64_t bytes);
  // Says what is wrong: unknown address, or a gap somebody wrote to.
  CUresult release(uint64_t address, std::string* message);
  [[nodiscard]] std::optional<std::pair<uint64_t, uint64_t>> find(uint64_t address) const;
  [[nodiscard]] bool holds(uint64_t address, uint64_t bytes) const;
  [[nodiscard]] bool inside(uint64_t address) const { return address - window.base < window.size; }
  [[nodiscard]] char* host(uint64_t address) const {
    return reinterpret_cast<char*>(address + window.delta);
  }

  Window window;
  uint64_t live_bytes = 0;

 private:
  std::map<uint64_t, uint64_t> live_, free_;
};

struct Options {
  Schedule schedule;
  StreamMode streams = StreamMode::kLazy;
  bool checked = true, execute = true;
  int compute_capability = 80;
};
struct Statistics {
  uint64_t launches = 0, copies_in = 0, copies_out = 0, copies_inside = 0, graphs = 0;
};

struct Driver {
  std::recursive_mutex mutex;
  bool initialized = false;
  Options options;
  Statistics statistics;
  DeviceMemory memory;
  Runner runner;
  CUresult failed = CUDA_SUCCESS;  // a kernel failed: every later call says so
  std::string message;
  std::shared_ptr<Queue> null_queue, thread_queue;
  std::vector<std::weak_ptr<Queue>> queues;
  std::set<CUstream_st*> streams;
  std::set<CUgraph_st*> graphs;
  std::map<void*, bool> pinned;  // true: allocated by the driver, false: registered
  int retained = 0, global_captures = 0;
  uint64_t random = 88172645463325252;

  Driver();
  void read_environment();
  CUresult note(CUresult error, const std::string& text);
  uint64_t next_random();

  // streams.cpp
  void run_until(Queue& queue, uint64_t count);
  void run_all();
  CUresult submit(CUstream stream, Work work, std::vector<Mark> after = {});
  CUresult finish(CUstream stream);
};
Driver& driver();
CUcontext& current_context();

// Held by every exported function.
struct Lock {
  std::lock_guard<std::recursive_mutex> guard{driver().mutex};
};
// What most functions ask first: a context, and no failure before.
CUresult ready();

}  // namespace softcuda

struct CUctx_st {
  int device = 0;
};
struct CUgraphNode_st {
  softcuda::Work work;
  std::vector<size_t> after;
};
struct CUgraph_st {
  std::deque<CUgraphNode_st> nodes;
};
struct CUgraphExec_st {
  std::deque<CUgraphNode_st> nodes;
};
// One capture; each stream in it has the nodes its next one comes after.
struct Capture {
  std::unique_ptr<CUgraph_st> graph;
  CUstream origin = nullptr;
  std::map<CUstream, std::vector<size_t>> last;
  bool valid = true, global = false;
};
struct CUstream_st {
  std::shared_ptr<softcuda::Queue> queue;
  std::shared_ptr<Capture> capture;
  unsigned flags = 0;
  int priority = 0;
};
struct CUevent_st {
  softcuda::Mark mark;
  std::shared_ptr<Capture> capture;
  std::vector<size_t> nodes;
  bool timed = true;
};
struct CUfunc_st {
  const softcuda::Kernel* kernel = nullptr;
  CUmodule module = nullptr;
  uint32_t static_bytes = 0, dynamic_limit = 0;
};
struct CUlinkState_st {
  std::vector<CUjit_option> options;
  void** values = nullptr;
  std::string code;
};
struct CUmod_st {
  void* library = nullptr;
  const softcuda::Module* table = nullptr;
  bool checked = false;
  std::map<std::string, CUfunc_st> functions;
  std::map<std::string, std::pair<uint64_t, uint64_t>> globals;
};
