// Start, device, context and errors of the software driver.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "driver.h"

namespace softcuda {

Driver& driver() {
  static auto* state = new Driver;  // outlives whatever a program destroys last
  return *state;
}

CUcontext& current_context() {
  static thread_local CUcontext current = nullptr;
  return current;
}

Driver::Driver()
    : runner(memory.window, [this](uint64_t address) { return memory.find(address); }),
      null_queue(std::make_shared<Queue>()),
      thread_queue(std::make_shared<Queue>()) {
  queues = {null_queue, thread_queue};
}

void Driver::read_environment() {
  const auto number = [](const char* name, int64_t otherwise) {
    const char* text = std::getenv(name);
    return text ? std::strtoll(text, nullptr, 0) : otherwise;
  };
  options.schedule.seed = static_cast<uint64_t>(number("TIERCEL_SOFTCUDA_SEED", 0));
  options.checked = number("TIERCEL_SOFTCUDA_CHECKED", 1) != 0;
  options.compute_capability = static_cast<int>(number("TIERCEL_SOFTCUDA_CAPABILITY", 80));
  const char* mode = std::getenv("TIERCEL_SOFTCUDA_STREAMS");
  if (mode && !std::strcmp(mode, "eager")) options.streams = StreamMode::kEager;
  if (mode && !std::strcmp(mode, "random")) options.streams = StreamMode::kRandom;
  runner.set_schedule(options.schedule);
}

CUresult Driver::note(CUresult error, const std::string& text) {
  message = text;
  std::fprintf(stderr, "softcuda: %s\n", text.c_str());
  return error;
}

uint64_t Driver::next_random() {
  random ^= random << 13, random ^= random >> 7, random ^= random << 17;
  return random >> 11;
}

CUresult ready() {
  if (!driver().initialized) return CUDA_ERROR_NOT_INITIALIZED;
  if (!current_context()) return CUDA_ERROR_INVALID_CONTEXT;
  return driver().failed;
}

namespace {

CUctx_st the_context;

struct ErrorName {
  CUresult code;
  const char *name, *text;
};
constexpr ErrorName kErrors[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CUDA_ERROR_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {CUDA_ERROR_NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU",
     "no kernel image is available for execution on the device"},
    {CUDA_ERROR_INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS",
     "an illegal memory access was encountered"},
    {CUDA_ERROR_ASSERT, "CUDA_ERROR_ASSERT", "device-side assert triggered"},
    {CUDA_ERROR_MISALIGNED_ADDRESS, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
    {CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED",
     "capture was not ended in the same stream as it began"},
    {CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED",
     "capturing stream has unjoined work"},
    {CUDA_ERROR_STREAM_CAPTURE_ISOLATION, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION",
     "dependency created on uncaptured work in another stream"},
    {CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
     "operation would make the legacy stream depend on a capturing blocking stream"},
};

CUresult describe_error(CUresult code, const char** out, bool name) {
  for (const ErrorName& e : kErrors)
    if (e.code == code) {
      *out = name ? e.name : e.text;
      return CUDA_SUCCESS;
    }
  *out = nullptr;
  return CUDA_ERROR_INVALID_VALUE;
}

int attribute(CUdevice_attribute a) {
  const int capability = driver().options.compute_capability;
  const bool large = capability == 80 || capability == 87 || capability >= 90;
  const bool blackwell_small = capability == 86 || capability == 89 || capability >= 120;
  const int optin = blackwell_small ? 101376 : capability >= 90 ? 232448 : large ? 166912 : 65536;
  switch (a) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      return capability / 10;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      return capability % 10;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y:
      return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z:
      return 64;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X:
      return 2147483647;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z:
      return 65535;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE:
      return 32;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
      return 4;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK:
      return 49152;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
      return optin;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
      return optin + 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR:
      return 65536;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR:
      return 2048;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE:
      return 4 << 20;
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
    case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT:
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED:
      return 1;
    default:
      return 0;
  }
}

}  // namespace
}  // namespace softcuda

using softcuda::current_context;
using softcuda::driver;
using softcuda::Lock;
using softcuda::the_context;

SOFTCUDA_API cuInit(unsigned flags) {
  Lock lock;
  if (flags) return CUDA_ERROR_INVALID_VALUE;
  if (!driver().initialized) driver().read_environment();
  driver().initialized = true;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuDriverGetVersion(int* version) {
  *version = CUDA_VERSION;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuGetErrorName(CUresult code, const char** name) {
  return softcuda::describe_error(code, name, true);
}
SOFTCUDA_API cuGetErrorString(CUresult code, const char** text) {
  return softcuda::describe_error(code, text, false);
}

SOFTCUDA_API cuDeviceGetCount(int* count) {
  Lock lock;
  if (!driver().initialized) return CUDA_ERROR_NOT_INITIALIZED;
  *count = 1;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuDeviceGet(CUdevice* device, int ordinal) {
  Lock lock;
  if (!driver().initialized) return CUDA_ERROR_NOT_INITIALIZED;
  if (ordinal != 0) return CUDA_ERROR_INVALID_DEVICE;
  *device = 0;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuDeviceGetName(char* name, int length, CUdevice device) {
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  std::snprintf(name, static_cast<size_t>(length), "tiercel software device");
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuDeviceGetUuid(CUuuid* uuid, CUdevice device) {
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  std::memset(uuid, 0x54, sizeof *uuid);
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuDeviceTotalMem(size_t* bytes, CUdevice device) {
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  *bytes = driver().memory.window.size;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuDeviceGetAttribute(int* value, CUdevice_attribute which, CUdevice device) {
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  *value = softcuda::attribute(which);
  return CUDA_SUCCESS;
}

SOFTCUDA_API cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  Lock lock;
  if (!driver().initialized) return CUDA_ERROR_NOT_INITIALIZED;
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  driver().retained++;
  *context = &the_context;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuDevicePrimaryCtxRelease(CUdevice device) {
  Lock lock;
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  if (driver().retained == 0) return CUDA_ERROR_INVALID_CONTEXT;
  if (--driver().retained == 0) driver().run_all();
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuDevicePrimaryCtxGetState(CUdevice device, unsigned* flags, int* active) {
  Lock lock;
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  *flags = 0, *active = driver().retained > 0;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuCtxSetCurrent(CUcontext context) {
  if (context && context != &the_context) return CUDA_ERROR_INVALID_CONTEXT;
  current_context() = context;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuCtxGetCurrent(CUcontext* context) {
  *context = current_context();
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuCtxPushCurrent(CUcontext context) { return cuCtxSetCurrent(context); }
SOFTCUDA_API cuCtxPopCurrent(CUcontext* context) {
  if (!current_context()) return CUDA_ERROR_INVALID_CONTEXT;
  if (context) *context = current_context();
  current_context() = nullptr;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuCtxGetDevice(CUdevice* device) {
  if (!current_context()) return CUDA_ERROR_INVALID_CONTEXT;
  *device = 0;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuCtxGetStreamPriorityRange(int* least, int* greatest) {
  if (least) *least = 0;
  if (greatest) *greatest = -5;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuCtxSynchronize() {
  Lock lock;
  if (CUresult r = softcuda::ready()) return r;
  for (CUstream_st* s : driver().streams)
    if (s->capture) {
      s->capture->valid = false;
      return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
  driver().run_all();
  return driver().failed;
}
