// Device memory, pinned memory, copies and fills of the software driver.
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "driver.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0
#endif

namespace softcuda {
namespace {

constexpr uint64_t kWindow = uint64_t{8} << 30, kUnit = 512;

// What an allocation takes: its bytes rounded up, and a gap nobody may touch.
uint64_t room(uint64_t bytes) { return (bytes + kUnit - 1) / kUnit * kUnit + kUnit; }

void* map(void* at, int protection, int more) {
  void* p =
      mmap(at, kWindow, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | more, -1, 0);
  return p == MAP_FAILED ? nullptr : p;
}

enum class Direction : uint8_t { kIn, kOut, kInside };

// Reads of host memory happen when the copy runs, as for pinned memory.
CUresult copy(uint64_t to, uint64_t from, size_t bytes, Direction way, CUstream stream, bool wait) {
  Lock lock;
  if (CUresult r = ready()) return r;
  Driver& d = driver();
  if (bytes == 0) return CUDA_SUCCESS;
  const bool device_to = way != Direction::kOut, device_from = way != Direction::kIn;
  if ((device_to && !d.memory.holds(to, bytes)) || (device_from && !d.memory.holds(from, bytes)) ||
      (!device_to && d.memory.inside(to)) || (!device_from && d.memory.inside(from)))
    return d.note(CUDA_ERROR_INVALID_VALUE, "a copy of " + std::to_string(bytes) +
                                                " bytes leaves its allocation, or takes device "
                                                "memory for host memory");
  if (wait && d.global_captures) return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
  char* target = device_to ? d.memory.host(to) : reinterpret_cast<char*>(to);
  const char* source = device_from ? d.memory.host(from) : reinterpret_cast<const char*>(from);
  const CUresult r = d.submit(stream, [=] {
    Statistics& s = driver().statistics;
    (way == Direction::kIn    ? s.copies_in
     : way == Direction::kOut ? s.copies_out
                              : s.copies_inside)++;
    std::memmove(target, source, bytes);
    return CUDA_SUCCESS;
  });
  return r || !wait ? r : d.finish(stream);
}

CUresult copy_any(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream, bool wait) {
  const DeviceMemory& m = driver().memory;
  if (!m.inside(to) && !m.inside(from)) return CUDA_ERROR_INVALID_VALUE;
  const Direction way = !m.inside(to)     ? Direction::kOut
                        : !m.inside(from) ? Direction::kIn
                                          : Direction::kInside;
  return copy(to, from, bytes, way, stream, wait);
}

template <class T>
CUresult fill(CUdeviceptr to, T value, size_t count, CUstream stream, bool wait) {
  Lock lock;
  if (CUresult r = ready()) return r;
  Driver& d = driver();
  if (count == 0) return CUDA_SUCCESS;
  if (to % sizeof(T) || !d.memory.holds(to, count * sizeof(T)))
    return d.note(CUDA_ERROR_INVALID_VALUE, "a fill leaves its allocation or is misaligned");
  char* target = d.memory.host(to);
  const CUresult r = d.submit(stream, [=] {
    for (size_t i = 0; i < count; i++) std::memcpy(target + i * sizeof(T), &value, sizeof(T));
    return CUDA_SUCCESS;
  });
  return r || !wait ? r : d.finish(stream);
}

CUresult allocate(CUdeviceptr* address, size_t bytes) {
  Lock lock;
  if (CUresult r = ready()) return r;
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  *address = driver().memory.allocate(bytes);
  return *address ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult release(CUdeviceptr address) {
  Driver& d = driver();
  std::string message;
  const CUresult r = d.memory.release(address, &message);
  return r ? d.note(r, message) : r;
}

}  // namespace

DeviceMemory::DeviceMemory() {
  void* wish = reinterpret_cast<void*>(uint64_t{0x7e9000000000});
  void* base = map(wish, PROT_NONE, MAP_FIXED_NOREPLACE);
  if (!base) base = map(nullptr, PROT_NONE, 0);
  void* bytes = map(nullptr, PROT_READ | PROT_WRITE, 0);
  if (!base || !bytes) std::abort();
  window.base = reinterpret_cast<uint64_t>(base);
  window.size = kWindow;
  window.delta = reinterpret_cast<uint64_t>(bytes) - window.base;
  free_[window.base] = window.size;
}

uint64_t DeviceMemory::allocate(uint64_t bytes) {
  const uint64_t need = room(bytes);
  for (auto [address, size] : free_) {
    if (size < need) continue;
    free_.erase(address);
    if (size > need) free_[address + need] = size - need;
    live_[address] = bytes;
    live_bytes += bytes;
    std::memset(host(address), 0xff, need);
    return address;
  }
  return 0;
}

CUresult DeviceMemory::release(uint64_t address, std::string* message) {
  auto it = live_.find(address);
  if (it == live_.end()) {
    *message = "free of what is no allocation";
    return CUDA_ERROR_INVALID_VALUE;
  }
  const uint64_t bytes = it->second, need = room(bytes);
  live_.erase(it);
  live_bytes -= bytes;
  bool intact = true;
  for (uint64_t i = bytes; i < need; i++)
    intact &= static_cast<unsigned char>(host(address)[i]) == 0xff;
  const uint64_t first = (address + window.delta + 4095) & ~uint64_t{4095};
  const uint64_t last = (address + window.delta + need) & ~uint64_t{4095};
  if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
  auto here = free_.emplace(address, need).first;
  auto next = std::next(here);
  if (next != free_.end() && here->first + here->second == next->first) {
    here->second += next->second;
    free_.erase(next);
  }
  if (here != free_.begin()) {
    auto before = std::prev(here);
    if (before->first + before->second == here->first) {
      before->second += here->second;
      free_.erase(here);
    }
  }
  if (intact) return CUDA_SUCCESS;
  *message = "somebody wrote behind an allocation of " + std::to_string(bytes) + " bytes";
  return CUDA_ERROR_ILLEGAL_ADDRESS;
}

std::optional<std::pair<uint64_t, uint64_t>> DeviceMemory::find(uint64_t address) const {
  auto it = live_.upper_bound(address);
  if (it == live_.begin()) return std::nullopt;
  --it;
  if (address >= it->first + it->second) return std::nullopt;
  return std::pair{it->first, it->first + it->second};
}

bool DeviceMemory::holds(uint64_t address, uint64_t bytes) const {
  const auto found = find(address);
  return found && bytes <= found->second - address;
}

}  // namespace softcuda

using softcuda::Direction;
using softcuda::driver;
using softcuda::Lock;
using softcuda::ready;

SOFTCUDA_API cuMemGetInfo(size_t* free, size_t* total) {
  Lock lock;
  if (CUresult r = ready()) return r;
  *total = driver().memory.window.size;
  *free = *total - driver().memory.live_bytes;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuMemAlloc(CUdeviceptr* address, size_t bytes) {
  if (driver().global_captures) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  return softcuda::allocate(address, bytes);
}
SOFTCUDA_API cuMemFree(CUdeviceptr address) {
  Lock lock;
  if (CUresult r = ready()) return r;
  if (!address) return CUDA_SUCCESS;
  if (driver().global_captures) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  driver().run_all();
  return driver().failed ? driver().failed : softcuda::release(address);
}
SOFTCUDA_API cuMemAllocAsync(CUdeviceptr* address, size_t bytes, CUstream stream) {
  if (stream && stream->capture) return CUDA_ERROR_NOT_SUPPORTED;
  return softcuda::allocate(address, bytes);
}
SOFTCUDA_API cuMemFreeAsync(CUdeviceptr address, CUstream stream) {
  Lock lock;
  if (CUresult r = ready()) return r;
  if (stream && stream->capture) return CUDA_ERROR_NOT_SUPPORTED;
  if (!driver().memory.holds(address, 1)) return CUDA_ERROR_INVALID_VALUE;
  return driver().submit(stream, [address] { return softcuda::release(address); });
}

SOFTCUDA_API cuMemHostAlloc(void** p, size_t bytes, unsigned) {
  Lock lock;
  if (CUresult r = ready()) return r;
  if (!bytes) return CUDA_ERROR_INVALID_VALUE;
  if (posix_memalign(p, 4096, bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
  driver().pinned[*p] = true;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuMemAllocHost(void** p, size_t bytes) { return cuMemHostAlloc(p, bytes, 0); }
SOFTCUDA_API cuMemFreeHost(void* p) {
  Lock lock;
  auto it = driver().pinned.find(p);
  if (it == driver().pinned.end() || !it->second) return CUDA_ERROR_INVALID_VALUE;
  driver().run_all();
  driver().pinned.erase(it);
  std::free(p);
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuMemHostRegister(void* p, size_t bytes, unsigned) {
  Lock lock;
  if (CUresult r = ready()) return r;
  if (!p || !bytes) return CUDA_ERROR_INVALID_VALUE;
  if (!driver().pinned.emplace(p, false).second) return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuMemHostUnregister(void* p) {
  Lock lock;
  auto it = driver().pinned.find(p);
  if (it == driver().pinned.end() || it->second) return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
  driver().run_all();
  driver().pinned.erase(it);
  return CUDA_SUCCESS;
}

SOFTCUDA_API cuMemcpyHtoD(CUdeviceptr to, const void* from, size_t bytes) {
  return softcuda::copy(to, reinterpret_cast<uint64_t>(from), bytes, Direction::kIn, nullptr, true);
}
SOFTCUDA_API cuMemcpyDtoH(void* to, CUdeviceptr from, size_t bytes) {
  return softcuda::copy(reinterpret_cast<uint64_t>(to), from, bytes, Direction::kOut, nullptr,
                        true);
}
SOFTCUDA_API cuMemcpyDtoD(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  return softcuda::copy(to, from, bytes, Direction::kInside, nullptr, true);
}
SOFTCUDA_API cuMemcpyHtoDAsync(CUdeviceptr to, const void* from, size_t bytes, CUstream stream) {
  const auto source = reinterpret_cast<uint64_t>(from);
  return softcuda::copy(to, source, bytes, Direction::kIn, stream, false);
}
SOFTCUDA_API cuMemcpyDtoHAsync(void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
  const auto target = reinterpret_cast<uint64_t>(to);
  return softcuda::copy(target, from, bytes, Direction::kOut, stream, false);
}
SOFTCUDA_API cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return softcuda::copy(to, from, bytes, Direction::kInside, stream, false);
}
SOFTCUDA_API cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  return softcuda::copy_any(to, from, bytes, nullptr, true);
}
SOFTCUDA_API cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return softcuda::copy_any(to, from, bytes, stream, false);
}
SOFTCUDA_API cuMemsetD8(CUdeviceptr to, unsigned char value, size_t count) {
  return softcuda::fill(to, value, count, nullptr, true);
}
SOFTCUDA_API cuMemsetD16(CUdeviceptr to, unsigned short value, size_t count) {
  return softcuda::fill(to, value, count, nullptr, true);
}
SOFTCUDA_API cuMemsetD32(CUdeviceptr to, unsigned value, size_t count) {
  return softcuda::fill(to, value, count, nullptr, true);
}
SOFTCUDA_API cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream) {
  return softcuda::fill(to, value, count, stream, false);
}
SOFTCUDA_API cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream stream) {
  return softcuda::fill(to, value, count, stream, false);
}
SOFTCUDA_API cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream stream) {
  return softcuda::fill(to, value, count, stream, false);
}

SOFTCUDA_API cuPointerGetAttribute(void* out, CUpointer_attribute which, CUdeviceptr address) {
  Lock lock;
  const auto found = driver().memory.find(address);
  if (!found) return CUDA_ERROR_INVALID_VALUE;
  switch (which) {
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
      *static_cast<unsigned*>(out) = CU_MEMORYTYPE_DEVICE;
      return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
      *static_cast<int*>(out) = 0;
      return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
      *static_cast<CUdeviceptr*>(out) = address;
      return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
      *static_cast<CUdeviceptr*>(out) = found->first;
      return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
      *static_cast<size_t*>(out) = found->second - found->first;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_NOT_SUPPORTED;
  }
}
