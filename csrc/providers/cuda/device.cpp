// One GPU: memory kept for reuse, copies, modules and launches on one stream.
#include "providers/cuda/device.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <tuple>

#include "base/error.h"
#include "providers/cuda/texts.h"

namespace tiercel::cuda {
namespace {

constexpr int kMultiprocessors = 16, kComputeMajor = 75, kComputeMinor = 76;  // attributes
constexpr int kOldestMajor = 8;       // sm_80: what the PTX is for
constexpr Result kOutOfMemory = 2;    // CUDA_ERROR_OUT_OF_MEMORY
constexpr unsigned kNonBlocking = 1;  // a stream that does not wait for the legacy one
constexpr int64_t kRing = 4 << 20;    // bytes of parameters between two waits
constexpr unsigned kNoEventTiming = 2;
constexpr int kRelaxedCapture = 2;  // other threads may call the driver meanwhile
constexpr int64_t kAlignment = 256;
constexpr unsigned kUsualSharedBytes = 48 << 10;  // of a block, for which nothing is asked
constexpr int kMostDynamicSharedBytes = 8;        // an attribute of functions

DevicePointer address(const void* pointer) { return reinterpret_cast<DevicePointer>(pointer); }

void* pointer_to(DevicePointer address) { return reinterpret_cast<void*>(address); }

// Few sizes of blocks, so that freed ones fit again: eighths of powers of two.
int64_t rounded(int64_t bytes) {
  int64_t step = kAlignment;
  while (step * 16 < bytes) step *= 2;
  return (std::max<int64_t>(bytes, 1) + step - 1) / step * step;
}

}  // namespace

int device_of(uintptr_t address) {
  constexpr int kMemoryType = 2, kDeviceMemory = 2, kOrdinal = 9;
  std::string reason;
  const Driver* driver = find_driver(reason);
  if (driver == nullptr) throw_error(ErrorKind::EPFail, "CUDAExecutionProvider: ", reason);
  unsigned type = 0;
  int number = -1;
  const bool known = driver->pointer_attribute(&type, kMemoryType, address) == 0 &&
                     driver->pointer_attribute(&number, kOrdinal, address) == 0;
  return known && type == kDeviceMemory ? number : -1;
}

std::shared_ptr<Device> Device::open(int number, uintptr_t stream) {
  using Key = std::tuple<const Driver*, int, uintptr_t>;
  // For ever: the driver may be gone before static objects are.
  static auto& mutex = *new std::mutex;
  static auto& open = *new std::map<Key, std::shared_ptr<Device>>;
  std::string reason;
  const Driver* driver = find_driver(reason);
  if (driver == nullptr) throw_error(ErrorKind::EPFail, "CUDAExecutionProvider: ", reason);
  const std::lock_guard lock(mutex);
  const Key key{driver, number, stream};
  if (const auto found = open.find(key); found != open.end()) return found->second;
  std::shared_ptr<Device> made(new Device(*driver));
  made->start(number, stream);
  open[key] = made;
  return made;
}

void Device::start(int number, uintptr_t stream) {
  number_ = number;
  int count = 0, major = 0, minor = 0;
  driver_.check(driver_.device_count(&count), "cuDeviceGetCount");
  if (number < 0 || number >= count) {
    throw_error(ErrorKind::EPFail, "CUDAExecutionProvider: device_id is ", number,
                "; the driver has GPUs 0 to ", count - 1);
  }
  DeviceNumber device = 0;
  driver_.check(driver_.device_get(&device, number), "cuDeviceGet");
  std::string text(256, '\0');
  driver_.check(driver_.device_name(text.data(), static_cast<int>(text.size()), device),
                "cuDeviceGetName");
  title_ = text.c_str();
  const auto attribute = [&](int& value, int which) {
    driver_.check(driver_.device_attribute(&value, which, device), "cuDeviceGetAttribute");
  };
  attribute(multiprocessors_, kMultiprocessors);
  attribute(major, kComputeMajor);
  attribute(minor, kComputeMinor);
  if (major < kOldestMajor) {
    throw_error(ErrorKind::EPFail, "CUDAExecutionProvider: GPU ", number, " (", title_,
                ") has compute capability ", major, ".", minor, "; needed: ", kOldestMajor, ".0");
  }
  driver_.check(driver_.context_retain(&context_, device), "cuDevicePrimaryCtxRetain");
  const auto inside = enter();
  stream_ = reinterpret_cast<StreamHandle>(stream);
  if (stream == 0) driver_.check(driver_.stream_create(&stream_, kNonBlocking), "cuStreamCreate");
  driver_.check(driver_.event_create(&reached_, kNoEventTiming), "cuEventCreate");
  code_ = std::make_unique<MachineCode>(driver_, major, minor);
  transfers_ = std::make_unique<Transfers>(driver_, stream_);
  status_ = allocate(sizeof error_);
  ring_ = allocate(kRing);
  void* pinned = nullptr;
  driver_.check(driver_.host_allocate(&pinned, kRing, 0), "cuMemHostAlloc");
  ring_host_ = static_cast<std::byte*>(pinned);
  driver_.check(clear_status(), "cuMemsetD8Async");
}

std::shared_ptr<void> Device::enter() {
  std::unique_lock lock(runs_);
  ContextHandle before = nullptr;
  driver_.check(driver_.context_get(&before), "cuCtxGetCurrent");
  driver_.check(driver_.context_set(context_), "cuCtxSetCurrent");
  std::shared_ptr<void> inside(static_cast<void*>(this),
                               [before, failures = std::uncaught_exceptions()](void* self) {
                                 auto& device = *static_cast<Device*>(self);
                                 if (std::uncaught_exceptions() > failures) device.give_up();
                                 static_cast<void>(device.driver_.context_set(before));
                                 device.runs_.unlock();
                               });
  static_cast<void>(lock.release());
  return inside;
}

// What kernels of a run that ends early report is not the next run's, and its work is over before
// anybody takes its inputs away.
void Device::give_up() {
  if (!status_ || recording()) return;
  transfers_->forget();
  static_cast<void>(clear_status());
  static_cast<void>(driver_.stream_synchronize(stream_));
  error_ = 0;
}

std::shared_ptr<Buffer> Device::allocate(int64_t bytes) {
  if (!recording()) return from_pool(bytes);
  return recording_->memory(bytes, [this](int64_t size) { return from_pool(size); });
}

std::shared_ptr<Buffer> Device::from_pool(int64_t bytes) {
  if (bytes < 0) throw_error(ErrorKind::EPFail, "cannot allocate ", bytes, " bytes on the GPU");
  const int64_t size = rounded(bytes);
  DevicePointer block = 0;
  {
    const std::lock_guard lock(memory_);
    if (const auto found = free_.find(size); found != free_.end() && !passes_limit(0)) {
      block = found->second;
      free_.erase(found);
    }
  }
  if (block == 0) block = new_block(size);
  if (block == 0) {
    release_free();
    block = new_block(size);
  }
  if (block == 0) {
    const std::lock_guard lock(memory_);
    const bool limited = passes_limit(size);
    throw_error(ErrorKind::EPFail, "CUDAExecutionProvider: ", size, " bytes more than the ",
                in_use_, " in use ",
                limited ? concat("pass gpu_mem_limit, ", *limits_.begin())
                        : concat("are more than ", title_, " has free"));
  }
  return Buffer::wrap(
      pointer_to(block), bytes, [this, block, size] { give_back(block, size); }, this);
}

bool Device::passes_limit(int64_t bytes) const {
  return !limits_.empty() && in_use_ + bytes > *limits_.begin();
}

DevicePointer Device::new_block(int64_t bytes) {
  const auto inside = enter();
  const std::lock_guard lock(memory_);
  if (passes_limit(bytes)) return 0;
  DevicePointer block = 0;
  const Result result = driver_.memory_allocate(&block, static_cast<size_t>(bytes));
  if (result == kOutOfMemory) return 0;
  driver_.check(result, "cuMemAlloc");
  in_use_ += bytes;
  return block;
}

std::shared_ptr<void> Device::limit(int64_t bytes) {
  const std::lock_guard lock(memory_);
  const auto at = limits_.insert(bytes);
  return {static_cast<void*>(this), [this, at](void*) {
            const std::lock_guard again(memory_);
            limits_.erase(at);
          }};
}

Device::Use Device::use() {
  const std::lock_guard lock(memory_);
  Use out{in_use_, in_use_};
  for (const auto& [bytes, block] : free_) out.held -= bytes;
  return out;
}

void Device::give_back(DevicePointer block, int64_t bytes) {
  const std::lock_guard lock(memory_);
  free_.emplace(bytes, block);
}

void Device::release_free() {
  if (recording()) return;  // blocks may be in use, and nothing can be waited for
  const auto inside = enter();
  driver_.check(driver_.stream_synchronize(stream_), "cuStreamSynchronize");
  transfers_->release_free();
  const std::lock_guard lock(memory_);
  while (!free_.empty()) {
    const auto [bytes, block] = *free_.begin();
    free_.erase(free_.begin());
    in_use_ -= bytes;
    driver_.check(driver_.memory_free(block), "cuMemFree");
  }
}

Tensor Device::resident(const Tensor& tensor) {
  const auto inside = enter();  // first: a run asks for residents, too, for plans of its bodies
  const std::lock_guard lock(residents_mutex_);
  std::weak_ptr<Buffer>& known = residents_[tensor.raw()];
  std::shared_ptr<Buffer> held = known.lock();
  if (!held || held->bytes() < tensor.bytes()) {
    const std::shared_ptr<Buffer> memory = allocate(tensor.bytes());
    to_device(memory->data(), tensor.raw(), tensor.bytes());
    // The host's bytes stay as long as the copy is known by their address.
    held = Buffer::wrap(memory->data(), tensor.bytes(), [memory, host = tensor.buffer()] {}, this);
    known = held;
  }
  return {tensor.dtype(), tensor.dims(), held, held->data()};
}

void Device::check_not_recording(const char* what) const {
  if (recording()) throw_error(ErrorKind::Fail, what, " cannot be recorded");
}

void Device::to_device(void* to, const void* from, int64_t bytes) {
  check_not_recording("a copy from the host");
  const auto inside = enter();
  transfers_->to_device(address(to), static_cast<const std::byte*>(from), bytes);
}

void Device::send(const Parameters& parameters, int64_t bytes) {
  if (recording()) return;  // with all others, before the graph runs
  driver_.check(driver_.to_device(address(parameters.device), parameters.host,
                                  static_cast<size_t>(bytes), stream_),
                "cuMemcpyHtoDAsync");
}

void Device::to_host(void* to, const void* from, int64_t bytes) {
  check_not_recording("a copy to the host");
  const auto inside = enter();
  transfers_->to_host(static_cast<std::byte*>(to), address(from), bytes);
  synchronize();
}

void Device::begin_to_host(void* to, const void* from, int64_t bytes) {
  check_not_recording("a copy to the host");
  transfers_->begin_to_host(static_cast<std::byte*>(to), address(from), bytes);
}

void Device::synchronize() {
  check_not_recording("a wait");
  const auto inside = enter();
  uint64_t error = 0;
  transfers_->to_host(reinterpret_cast<std::byte*>(&error), address(status()), sizeof error);
  transfers_->finish();
  if (error == 0) return;
  error_ = error;
  driver_.check(clear_status(), "cuMemsetD8Async");
}

void Device::copy(void* to, const void* from, int64_t bytes) {
  const auto inside = enter();
  driver_.check(
      driver_.copy_inside(address(to), address(from), static_cast<size_t>(bytes), stream_),
      "cuMemcpyDtoDAsync");
}

void Device::clear(void* to, int64_t bytes) {
  const auto inside = enter();
  driver_.check(driver_.set_bytes(address(to), 0, static_cast<size_t>(bytes), stream_),
                "cuMemsetD8Async");
}

void Device::order(StreamHandle first, StreamHandle second) {
  const auto inside = enter();
  driver_.check(driver_.event_record(reached_, first), "cuEventRecord");
  driver_.check(driver_.stream_wait(second, reached_, 0), "cuStreamWaitEvent");
}

void Device::follow(uintptr_t other) { order(reinterpret_cast<StreamHandle>(other), stream_); }

void Device::let_follow(uintptr_t other) { order(stream_, reinterpret_cast<StreamHandle>(other)); }

std::shared_ptr<Recording> Device::record(const std::function<void()>& work) {
  auto made = std::make_shared<Recording>(driver_);
  GraphHandle graph = nullptr;
  if (driver_.capture_begin(stream_, kRelaxedCapture) != 0) return nullptr;  // the legacy stream
  recording_ = made.get();
  recorder_ = std::this_thread::get_id();
  bool whole = true;
  std::exception_ptr other;
  try {
    work();
  } catch (const Error&) {
    whole = false;
  } catch (...) {
    other = std::current_exception();
  }
  recorder_ = std::thread::id();
  recording_ = nullptr;
  const Result ended = driver_.capture_end(stream_, &graph);
  if (ended != 0 || !whole || other) {
    if (graph != nullptr) static_cast<void>(driver_.graph_destroy(graph));
    if (other) std::rethrow_exception(other);
    return nullptr;
  }
  made->finish(graph);
  for (const Recording::Chunk& chunk : made->chunks()) {
    to_device(chunk.device->data(), chunk.host.get(), chunk.used);
  }
  return made;
}

void Device::replay(Recording& recording) { recording.launch(stream_); }

Result Device::clear_status() {
  return driver_.set_bytes(address(status()), 0, sizeof error_, stream_);
}

uint64_t Device::take_error() {
  const uint64_t taken = error_;
  error_ = 0;
  return taken;
}

Device::Parameters Device::parameters(int64_t bytes) {
  constexpr int64_t kStep = 64;
  const int64_t size = (bytes + kStep - 1) / kStep * kStep;
  if (recording()) {
    Recording::Chunk& chunk =
        recording_->chunk_with_room(size, [this](int64_t room) { return from_pool(room); });
    const int64_t at = chunk.used;
    chunk.used += size;
    return {chunk.host.get() + at, chunk.device->data() + at};
  }
  if (size > kRing) throw_error(ErrorKind::EPFail, "a launch has ", bytes, " bytes of parameters");
  if (ring_at_ + size > kRing) {
    driver_.check(driver_.stream_synchronize(stream_), "cuStreamSynchronize");
    ring_at_ = 0;
  }
  const Parameters made{ring_host_ + ring_at_, ring_->data() + ring_at_};
  ring_at_ += size;
  return made;
}

FunctionHandle Device::find(ModuleHandle module, const char* entry) {
  FunctionHandle found = nullptr;
  driver_.check(driver_.module_function(&found, module, entry), "cuModuleGetFunction");
  return found;
}

FunctionHandle Device::function(std::string_view ptx, const char* entry) {
  const std::lock_guard lock(modules_mutex_);
  std::string text(ptx);
  auto found = modules_.find(text);
  if (found == modules_.end()) {
    const ModuleHandle module = code_->load(text);
    found = modules_.emplace(std::move(text), module).first;
  }
  return find(found->second, entry);
}

FunctionHandle Device::function(const TclDeviceText& text, const std::string& entry) {
  const std::lock_guard lock(modules_mutex_);
  FunctionHandle& known = library_functions_[{text.offset, entry}];
  if (known != nullptr) return known;
  ModuleHandle& module = library_modules_[text.offset];
  if (module == nullptr) module = code_->load(device_text(text));
  known = find(module, entry.c_str());
  return known;
}

void Device::launch(FunctionHandle function, const Grid& grid, std::span<void* const> arguments) {
  if (grid.x == 0) return;
  if (grid.x < 0 || grid.x > INT32_MAX) {
    throw_error(ErrorKind::EPFail, "CUDAExecutionProvider: a launch of ", grid.x,
                " blocks; at most ", INT32_MAX);
  }
  if (grid.shared_bytes > kUsualSharedBytes) {
    unsigned& allowed = shared_bytes_[function];
    if (grid.shared_bytes > allowed) {
      driver_.check(driver_.set_function(function, kMostDynamicSharedBytes,
                                         static_cast<int>(grid.shared_bytes)),
                    "cuFuncSetAttribute");
      allowed = grid.shared_bytes;
    }
  }
  driver_.check(driver_.launch(function, static_cast<unsigned>(grid.x), grid.y, grid.z,
                               grid.threads, grid.threads_y, 1, grid.shared_bytes, stream_,
                               const_cast<void**>(arguments.data()), nullptr),
                "cuLaunchKernel");
}

}  // namespace tiercel::cuda
