// Copies between the host and one GPU through pinned memory.
#include "providers/cuda/transfers.h"

#include <algorithm>
#include <cstring>

namespace tiercel::cuda {
namespace {

constexpr int64_t kHalf = 1 << 20;         // bytes of a copy's pieces
constexpr unsigned kNoTiming = 2;          // flag of events
constexpr unsigned kOtherStreams = 1;      // a stream that does not wait for the legacy one
constexpr int64_t kSmallestPinned = 4096;  // bytes

}  // namespace

Transfers::Transfers(const Driver& driver, StreamHandle compute)
    : driver_(driver), compute_(compute) {
  driver_.check(driver_.stream_create(&copies_, kOtherStreams), "cuStreamCreate");
  driver_.check(driver_.event_create(&reached_, kNoTiming), "cuEventCreate");
  for (Half& half : halves_) {
    half.bytes = pinned(kHalf);
    driver_.check(driver_.event_create(&half.done, kNoTiming), "cuEventCreate");
  }
}

std::byte* Transfers::pinned(int64_t bytes) {
  void* memory = nullptr;
  driver_.check(driver_.host_allocate(&memory, static_cast<size_t>(bytes), 0), "cuMemHostAlloc");
  return static_cast<std::byte*>(memory);
}

Transfers::Half& Transfers::next_half() {
  Half& half = halves_[turn_++ % halves_.size()];
  if (half.busy) driver_.check(driver_.event_synchronize(half.done), "cuEventSynchronize");
  half.busy = false;
  return half;
}

void Transfers::to_device(DevicePointer to, const std::byte* from, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += kHalf) {
    const auto size = static_cast<size_t>(std::min(kHalf, bytes - at));
    Half& half = next_half();
    std::memcpy(half.bytes, from + at, size);
    driver_.check(
        driver_.to_device(to + static_cast<DevicePointer>(at), half.bytes, size, compute_),
        "cuMemcpyHtoDAsync");
    driver_.check(driver_.event_record(half.done, compute_), "cuEventRecord");
    half.busy = true;
  }
}

void Transfers::to_host(std::byte* to, DevicePointer from, int64_t bytes) {
  Half* before = nullptr;
  int64_t before_at = 0;
  const auto take = [&](int64_t size) {
    driver_.check(driver_.event_synchronize(before->done), "cuEventSynchronize");
    before->busy = false;
    std::memcpy(to + before_at, before->bytes, static_cast<size_t>(size));
  };
  for (int64_t at = 0; at < bytes; at += kHalf) {
    const auto size = static_cast<size_t>(std::min(kHalf, bytes - at));
    Half& half = next_half();
    driver_.check(
        driver_.to_host(half.bytes, from + static_cast<DevicePointer>(at), size, compute_),
        "cuMemcpyDtoHAsync");
    driver_.check(driver_.event_record(half.done, compute_), "cuEventRecord");
    half.busy = true;
    if (before != nullptr) take(kHalf);
    before = &half;
    before_at = at;
  }
  if (before != nullptr) take(bytes - before_at);
}

void Transfers::begin_to_host(std::byte* to, DevicePointer from, int64_t bytes) {
  if (bytes == 0) return;
  int64_t size = kSmallestPinned;
  while (size < bytes) size *= 2;
  std::byte* memory = nullptr;
  if (const auto found = free_.find(size); found != free_.end()) {
    memory = found->second;
    free_.erase(found);
  } else {
    memory = pinned(size);
  }
  downloads_.push_back({to, memory, bytes, size});
  driver_.check(driver_.event_record(reached_, compute_), "cuEventRecord");
  driver_.check(driver_.stream_wait(copies_, reached_, 0), "cuStreamWaitEvent");
  driver_.check(driver_.to_host(memory, from, static_cast<size_t>(bytes), copies_),
                "cuMemcpyDtoHAsync");
}

void Transfers::finish() {
  if (downloads_.empty()) return;
  driver_.check(driver_.stream_synchronize(copies_), "cuStreamSynchronize");
  for (const Download& download : downloads_) {
    std::memcpy(download.to, download.pinned, static_cast<size_t>(download.bytes));
    free_.emplace(download.size, download.pinned);
  }
  downloads_.clear();
}

void Transfers::forget() {
  if (downloads_.empty()) return;
  static_cast<void>(driver_.stream_synchronize(copies_));
  for (const Download& download : downloads_) free_.emplace(download.size, download.pinned);
  downloads_.clear();
}

void Transfers::release_free() {
  for (const auto& [size, memory] : free_) {
    driver_.check(driver_.host_free(memory), "cuMemFreeHost");
  }
  free_.clear();
}

}  // namespace tiercel::cuda
