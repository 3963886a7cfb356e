// The functions of the CUDA driver that the provider calls, found when a session first asks for it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace tiercel::cuda {

// As in the driver's documentation; handles are opaque.
using Result = int;
using DeviceNumber = int;
using DevicePointer = uint64_t;
using ContextHandle = struct ContextObject*;
using ModuleHandle = struct ModuleObject*;
using FunctionHandle = struct FunctionObject*;
using StreamHandle = struct StreamObject*;
using EventHandle = struct EventObject*;
using GraphHandle = struct GraphObject*;
using GraphExecHandle = struct GraphExecObject*;
using LinkHandle = struct LinkObject*;

// One line per function: member, exported symbol, parameters.
#define TIERCEL_CUDA_FUNCTIONS(X)                                                                \
  X(init, "cuInit", (unsigned))                                                                  \
  X(driver_version, "cuDriverGetVersion", (int*))                                                \
  X(error_name, "cuGetErrorName", (Result, const char**))                                        \
  X(error_string, "cuGetErrorString", (Result, const char**))                                    \
  X(device_count, "cuDeviceGetCount", (int*))                                                    \
  X(device_get, "cuDeviceGet", (DeviceNumber*, int))                                             \
  X(device_name, "cuDeviceGetName", (char*, int, DeviceNumber))                                  \
  X(device_attribute, "cuDeviceGetAttribute", (int*, int, DeviceNumber))                         \
  X(context_retain, "cuDevicePrimaryCtxRetain", (ContextHandle*, DeviceNumber))                  \
  X(context_set, "cuCtxSetCurrent", (ContextHandle))                                             \
  X(context_get, "cuCtxGetCurrent", (ContextHandle*))                                            \
  X(stream_create, "cuStreamCreate", (StreamHandle*, unsigned))                                  \
  X(stream_synchronize, "cuStreamSynchronize", (StreamHandle))                                   \
  X(stream_wait, "cuStreamWaitEvent", (StreamHandle, EventHandle, unsigned))                     \
  X(capture_begin, "cuStreamBeginCapture_v2", (StreamHandle, int))                               \
  X(capture_end, "cuStreamEndCapture", (StreamHandle, GraphHandle*))                             \
  X(graph_instantiate, "cuGraphInstantiateWithFlags", (GraphExecHandle*, GraphHandle, uint64_t)) \
  X(graph_launch, "cuGraphLaunch", (GraphExecHandle, StreamHandle))                              \
  X(graph_destroy, "cuGraphDestroy", (GraphHandle))                                              \
  X(graph_exec_destroy, "cuGraphExecDestroy", (GraphExecHandle))                                 \
  X(event_create, "cuEventCreate", (EventHandle*, unsigned))                                     \
  X(event_record, "cuEventRecord", (EventHandle, StreamHandle))                                  \
  X(event_synchronize, "cuEventSynchronize", (EventHandle))                                      \
  X(event_destroy, "cuEventDestroy_v2", (EventHandle))                                           \
  X(memory_allocate, "cuMemAlloc_v2", (DevicePointer*, size_t))                                  \
  X(memory_free, "cuMemFree_v2", (DevicePointer))                                                \
  X(host_allocate, "cuMemHostAlloc", (void**, size_t, unsigned))                                 \
  X(memory_info, "cuMemGetInfo_v2", (size_t*, size_t*))                                          \
  X(to_device, "cuMemcpyHtoDAsync_v2", (DevicePointer, const void*, size_t, StreamHandle))       \
  X(to_host, "cuMemcpyDtoHAsync_v2", (void*, DevicePointer, size_t, StreamHandle))               \
  X(pointer_attribute, "cuPointerGetAttribute", (void*, int, DevicePointer))                     \
  X(host_free, "cuMemFreeHost", (void*))                                                         \
  X(copy_inside, "cuMemcpyDtoDAsync_v2", (DevicePointer, DevicePointer, size_t, StreamHandle))   \
  X(set_bytes, "cuMemsetD8Async", (DevicePointer, unsigned char, size_t, StreamHandle))          \
  X(link_create, "cuLinkCreate_v2", (unsigned, int*, void**, LinkHandle*))                       \
  X(link_add, "cuLinkAddData_v2",                                                                \
    (LinkHandle, int, void*, size_t, const char*, unsigned, int*, void**))                       \
  X(link_complete, "cuLinkComplete", (LinkHandle, void**, size_t*))                              \
  X(link_destroy, "cuLinkDestroy", (LinkHandle))                                                 \
  X(module_load, "cuModuleLoadDataEx", (ModuleHandle*, const void*, unsigned, int*, void**))     \
  X(module_function, "cuModuleGetFunction", (FunctionHandle*, ModuleHandle, const char*))        \
  X(set_function, "cuFuncSetAttribute", (FunctionHandle, int, int))                              \
  X(launch, "cuLaunchKernel",                                                                    \
    (FunctionHandle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,       \
     StreamHandle, void**, void**))

struct Driver {
#define TIERCEL_CUDA_MEMBER(member, symbol, parameters) Result(*member) parameters;
  TIERCEL_CUDA_FUNCTIONS(TIERCEL_CUDA_MEMBER)
#undef TIERCEL_CUDA_MEMBER

  // Throws Error(EPFail) that says what was called for and what the driver answered.
  void check(Result result, const char* what) const;
};

// The driver, loaded from libcuda.so.1, or from the file that TIERCEL_CUDA_DRIVER names. nullptr
// when there is none that starts; `reason` then says what is missing.
[[nodiscard]] const Driver* find_driver(std::string& reason);

}  // namespace tiercel::cuda
