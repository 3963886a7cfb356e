// Functions and launches, the switches of the software device, and the look-up of entry points.
#include <dlfcn.h>

#include <cstring>

#include "driver.h"

namespace softcuda {
namespace {

struct Shape {
  Dim grid, block;
  uint32_t dynamic_bytes;
};

CUresult code_of(Fault fault) {
  switch (fault) {
    case Fault::kAddress:
      return CUDA_ERROR_ILLEGAL_ADDRESS;
    case Fault::kMisaligned:
      return CUDA_ERROR_MISALIGNED_ADDRESS;
    case Fault::kAssert:
      return CUDA_ERROR_ASSERT;
    default:
      return CUDA_ERROR_LAUNCH_FAILED;
  }
}

std::string shape_problem(const CUfunc_st& f, const Shape& s) {
  const Dim &g = s.grid, &b = s.block;
  if (!g.count() || !b.count()) return "an extent of the launch is zero";
  if (g.x > 2147483647 || g.y > 65535 || g.z > 65535) return "the grid is too large";
  const uint64_t limit = f.kernel->max_threads ? f.kernel->max_threads : 1024;
  if (b.count() > limit || b.z > 64)
    return "a block of " + std::to_string(b.count()) + " threads, at most " + std::to_string(limit);
  if (s.dynamic_bytes > f.dynamic_limit)
    return std::to_string(s.dynamic_bytes) + " bytes of dynamic shared memory, at most " +
           std::to_string(f.dynamic_limit) + " (cuFuncSetAttribute raises it)";
  return {};
}

// The parameters as one block, copied now as the driver does; null when they are not given right.
std::shared_ptr<std::vector<char>> pack(const Kernel& k, void** params, void** extra,
                                        std::string* problem) {
  auto block = std::make_shared<std::vector<char>>(k.parameter_bytes + 16);
  if (params) {
    for (size_t i = 0; i < k.parameters.size(); i++)
      std::memcpy(block->data() + k.parameters[i].offset, params[i], k.parameters[i].size);
    return block;
  }
  const char* from = nullptr;
  size_t size = 0;
  for (; extra && *extra != CU_LAUNCH_PARAM_END; extra += 2) {
    if (extra[0] == CU_LAUNCH_PARAM_BUFFER_POINTER) from = static_cast<const char*>(extra[1]);
    if (extra[0] == CU_LAUNCH_PARAM_BUFFER_SIZE) size = *static_cast<size_t*>(extra[1]);
  }
  if (!from && k.parameters.empty()) return block;
  if (size != k.parameter_bytes || !from) {
    *problem = "parameters of " + std::to_string(k.parameter_bytes) + " bytes expected, got " +
               std::to_string(size);
    return nullptr;
  }
  std::memcpy(block->data(), from, size);
  return block;
}

// How often each kernel was launched, by name.
std::map<std::string, uint64_t, std::less<>> launches_of;

CUresult launch(CUfunction f, const Shape& shape, CUstream stream, void** params, void** extra) {
  Lock lock;
  if (CUresult r = ready()) return r;
  Driver& d = driver();
  std::string problem = shape_problem(*f, shape);
  const auto block = pack(*f->kernel, params, extra, &problem);
  if (!problem.empty())
    return d.note(CUDA_ERROR_INVALID_VALUE, std::string(f->kernel->name) + ": " + problem);
  return d.submit(stream, [f, shape, block]() -> CUresult {
    Driver& d = driver();
    d.statistics.launches++;
    launches_of[f->kernel->name]++;
    if (!d.options.execute) return CUDA_SUCCESS;
    std::vector<char> parameters = *block;  // a kernel may change its own
    const auto failure = d.runner.run({f->kernel, shape.grid, shape.block, shape.dynamic_bytes,
                                       parameters.data(), f->module->checked});
    return failure ? d.note(code_of(failure->fault), failure->text) : CUDA_SUCCESS;
  });
}

int optin_bytes() {
  int bytes = 0;
  cuDeviceGetAttribute(&bytes, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 0);
  return bytes;
}

}  // namespace
}  // namespace softcuda

using softcuda::driver;
using softcuda::Lock;
using softcuda::ready;

SOFTCUDA_API cuFuncGetAttribute(int* value, CUfunction_attribute which, CUfunction f) {
  Lock lock;
  const int capability = driver().options.compute_capability;
  switch (which) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      *value = static_cast<int>(f->kernel->max_threads ? f->kernel->max_threads : 1024);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
      *value = static_cast<int>(f->static_bytes);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
      *value = static_cast<int>(f->dynamic_limit);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
      *value = capability;
      return CUDA_SUCCESS;
    default:
      *value = 0;
      return CUDA_SUCCESS;
  }
}
SOFTCUDA_API cuFuncSetAttribute(CUfunction f, CUfunction_attribute which, int value) {
  Lock lock;
  if (which != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) return CUDA_SUCCESS;
  const int limit = softcuda::optin_bytes() - static_cast<int>(f->static_bytes);
  if (value < 0 || value > limit) return CUDA_ERROR_INVALID_VALUE;
  f->dynamic_limit = static_cast<uint32_t>(value);
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuFuncGetParamInfo(CUfunction f, size_t index, size_t* offset, size_t* size) {
  if (index >= f->kernel->parameters.size()) return CUDA_ERROR_INVALID_VALUE;
  *offset = f->kernel->parameters[index].offset;
  if (size) *size = f->kernel->parameters[index].size;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuFuncGetName(const char** name, CUfunction f) {
  *name = f->kernel->name;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction f, int threads,
                                                         size_t dynamic_bytes) {
  const size_t shared = f->static_bytes + dynamic_bytes + 1024;
  const auto by_memory = (static_cast<size_t>(softcuda::optin_bytes()) + 1024) / shared;
  *blocks = static_cast<int>(std::min<size_t>(by_memory, threads > 0 ? 2048 / threads : 0));
  return CUDA_SUCCESS;
}

SOFTCUDA_API cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                            unsigned by, unsigned bz, unsigned dynamic_bytes, CUstream stream,
                            void** params, void** extra) {
  return softcuda::launch(f, {{gx, gy, gz}, {bx, by, bz}, dynamic_bytes}, stream, params, extra);
}
SOFTCUDA_API cuLaunchKernelEx(const CUlaunchConfig* c, CUfunction f, void** params, void** extra) {
  if (c->numAttrs) return CUDA_ERROR_NOT_SUPPORTED;
  return softcuda::launch(f,
                          {{c->gridDimX, c->gridDimY, c->gridDimZ},
                           {c->blockDimX, c->blockDimY, c->blockDimZ},
                           c->sharedMemBytes},
                          c->hStream, params, extra);
}

// ---- what only the software device has

// Sets "seed", "streams" (0 lazy, 1 eager, 2 random), "checked", "initial_check" or "execute";
// "leave_out" adds a PTX line whose barrier or wait does nothing, 0 forgets all of them.
SOFTCUDA_EXPORT int softcuda_set(const char* name, long long value) {
  Lock lock;
  softcuda::Options& o = driver().options;
  const std::string what = name;
  if (what == "seed") {
    o.schedule.seed = static_cast<uint64_t>(value);
    driver().random = 88172645463325252ull ^ static_cast<uint64_t>(value);
  } else if (what == "initial_check") {
    o.schedule.initial_check = value != 0;
  } else if (what == "streams") {
    o.streams = static_cast<softcuda::StreamMode>(value);
  } else if (what == "checked") {
    o.checked = value != 0;
  } else if (what == "execute") {
    o.execute = value != 0;
  } else if (what == "leave_out" && value == 0) {
    driver().runner.leave_nothing_out();
  } else if (what == "leave_out") {
    driver().runner.leave_out(static_cast<uint32_t>(value));
  } else {
    return 1;
  }
  driver().runner.set_schedule(o.schedule);
  return 0;
}
// What a statistic says, or -1: "launches", "graphs", "copies_in", "copies_out", "copies_inside",
// "live_bytes", "waiting" (operations that have not run), or how often the kernel of that name was
// launched.
SOFTCUDA_EXPORT long long softcuda_statistic(const char* name) {
  Lock lock;
  const softcuda::Statistics& s = driver().statistics;
  uint64_t waiting = 0;
  for (const auto& weak : driver().queues)
    if (const auto queue = weak.lock()) waiting += queue->waiting.size();
  const std::pair<const char*, uint64_t> all[] = {{"launches", s.launches},
                                                  {"graphs", s.graphs},
                                                  {"copies_in", s.copies_in},
                                                  {"copies_out", s.copies_out},
                                                  {"copies_inside", s.copies_inside},
                                                  {"live_bytes", driver().memory.live_bytes},
                                                  {"waiting", waiting}};
  for (const auto& [known, value] : all)
    if (!std::strcmp(known, name)) return static_cast<long long>(value);
  const auto found = softcuda::launches_of.find(std::string_view(name));
  return found == softcuda::launches_of.end() ? -1 : static_cast<long long>(found->second);
}
// The text of the last error.
SOFTCUDA_EXPORT const char* softcuda_message() { return driver().message.c_str(); }
// Forgets a failure and all work that waits, as a new process would.
SOFTCUDA_EXPORT void softcuda_reset() {
  Lock lock;
  for (const auto& weak : driver().queues)
    if (const auto queue = weak.lock()) {
      queue->waiting.clear();
      queue->done = queue->submitted;
    }
  driver().failed = CUDA_SUCCESS;
  driver().message.clear();
}

// ---- the look-up that cudart and the Python bindings use

#undef cuGetProcAddress
SOFTCUDA_API cuGetProcAddress_v2(const char* symbol, void** function, int, cuuint64_t,
                                 CUdriverProcAddressQueryResult* status) {
  Dl_info self{};
  dladdr(reinterpret_cast<void*>(&cuInit), &self);
  void* library = dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD);
  *function = nullptr;
  for (const char* suffix : {"_v3", "_v2", ""})
    if (!*function) *function = dlsym(library, (std::string(symbol) + suffix).c_str());
  if (library) dlclose(library);
  if (status)
    *status = *function ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  return *function ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
SOFTCUDA_API cuGetProcAddress(const char* symbol, void** function, int version, cuuint64_t flags) {
  return cuGetProcAddress_v2(symbol, function, version, flags, nullptr);
}
