// What a translated kernel sees of the software device: its thread, its block, and the runtime.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace softcuda {

struct Dim {
  uint32_t x = 1, y = 1, z = 1;
  [[nodiscard]] uint64_t count() const { return uint64_t{x} * y * z; }
};

// Where an instruction stands: in the CUDA source, when the PTX says so, and in the PTX.
struct Where {
  const char* file;
  int line;
  int ptx_line;
};

enum class Space : uint8_t { kGeneric, kGlobal, kShared, kLocal };
enum class Access : uint8_t { kRead, kWrite, kAtomic };
enum class Fault : uint8_t { kLaunch, kAddress, kMisaligned, kAssert };
enum class Exchange : uint8_t { kIndex, kUp, kDown, kXor };
enum class Gather : uint8_t {
  kBallot,
  kMatch,
  kMatchAll,
  kAdd,
  kMin,
  kMax,
  kMinS,
  kMaxS,
  kAnd,
  kOr,
  kXor
};

struct Block;

struct Thread {
  Dim tid{0, 0, 0};
  uint32_t index = 0;  // in its block
  uint32_t lane = 0, warp = 0;
  Block* block = nullptr;
  bool predicate = false;  // second result of a shuffle or match
};

// Global memory has addresses the host cannot touch; what stands there lies `delta` bytes away.
struct Window {
  uint64_t base = 0, size = 0, delta = 0;
};

// Works on the operands of all 32 lanes at once.
using WarpWork = void (*)(Thread&, const Where&, void** operands);

// All services take the calling thread; those that wait may run other threads before they return.
struct Services {
  void (*barrier)(Thread&, const Where&, uint32_t id, uint32_t threads, bool wait);
  uint32_t (*barrier_count)(Thread&, const Where&, bool value);
  void (*warp_barrier)(Thread&, const Where&, uint32_t mask);
  uint32_t (*shuffle)(Thread&, const Where&, Exchange, uint32_t mask, uint32_t value, uint32_t arg,
                      uint32_t clamp);
  uint64_t (*gather)(Thread&, const Where&, Gather, uint32_t mask, uint64_t value);
  void (*warp_work)(Thread&, const Where&, WarpWork, void* operand);
  char* (*access)(Thread&, const Where&, Space, uint64_t address, uint32_t bytes, Access);
  void (*async_copy)(Thread&, const Where&, uint64_t to, uint64_t from, uint32_t bytes,
                     uint32_t bytes_read);
  void (*async_commit)(Thread&);
  void (*async_wait)(Thread&, const Where&, uint32_t pending);
  void (*fence)(Thread&, bool device_wide);
  uint64_t (*clock)(Thread&);
  [[noreturn]] void (*fail)(Thread&, const Where&, Fault, const char* message);
};

struct Block {
  Dim index{0, 0, 0}, dims, grid;
  char* shared = nullptr;
  uint32_t shared_bytes = 0, dynamic_offset = 0;
  Window window;
  const Services* services = nullptr;
  bool checked = false;
};

struct Parameter {
  uint32_t offset, size;
};
struct SharedVariable {
  uint32_t offset, size;
};
struct Kernel {
  const char* name;
  void (*body)(Thread&, char* parameters);
  std::vector<Parameter> parameters;
  uint32_t parameter_bytes;
  std::vector<SharedVariable> shared;  // static ones, with gaps between them
  uint32_t shared_bytes;               // all of them; dynamic shared memory follows
  bool waits;                          // some instruction waits for other threads
  uint32_t max_threads;                // 0: the device's limit
};
struct Global {
  const char* name;
  uint64_t size, align;
  const void* initial;  // null: zeros
  uint64_t* address;    // set when the module is loaded
};
struct Module {
  std::vector<Kernel> kernels;
  std::vector<Global> globals;
};

// The one symbol of a translated module.
using ModuleEntry = const Module* (*)();

}  // namespace softcuda
