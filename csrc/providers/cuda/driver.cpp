// Finds the CUDA driver and its functions.
#include "providers/cuda/driver.h"

#include <dlfcn.h>

#include <cstdlib>
#include <map>
#include <mutex>

#include "base/error.h"

namespace tiercel::cuda {
namespace {

constexpr int kOldestDriver = 11050;  // CUDA 11.5, the first that reads PTX 7.5

struct Found {
  Driver driver{};
  std::string reason;  // empty: it runs
};

std::string version_text(int version) { return concat(version / 1000, ".", version % 1000 / 10); }

// What keeps the driver in `file` from being used; empty: nothing.
std::string load(Driver& driver, const std::string& file) {
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return concat("the NVIDIA driver is missing: ", dlerror(),
                  "; install it, or use CPUExecutionProvider");
  }
#define TIERCEL_CUDA_FIND(member, symbol, parameters)                                \
  driver.member = reinterpret_cast<decltype(driver.member)>(dlsym(library, symbol)); \
  if (driver.member == nullptr) return concat(file, " has no function ", symbol);
  TIERCEL_CUDA_FUNCTIONS(TIERCEL_CUDA_FIND)
#undef TIERCEL_CUDA_FIND
  if (const Result result = driver.init(0); result != 0) {
    const char* name = nullptr;
    static_cast<void>(driver.error_name(result, &name));
    return concat("the NVIDIA driver does not start: cuInit gives ",
                  name != nullptr ? name : std::to_string(result));
  }
  int version = 0, devices = 0;
  driver.check(driver.driver_version(&version), "cuDriverGetVersion");
  if (version < kOldestDriver) {
    return concat("the NVIDIA driver is for CUDA ", version_text(version),
                  "; needed: ", version_text(kOldestDriver), " or later");
  }
  driver.check(driver.device_count(&devices), "cuDeviceGetCount");
  return devices > 0 ? "" : "the NVIDIA driver finds no GPU";
}

}  // namespace

void Driver::check(Result result, const char* what) const {
  if (result == 0) return;
  const char* name = nullptr;
  const char* text = nullptr;
  static_cast<void>(error_name(result, &name));
  static_cast<void>(error_string(result, &text));
  throw_error(ErrorKind::EPFail, "CUDAExecutionProvider: ", what,
              " failed: ", name != nullptr ? name : std::to_string(result),
              text != nullptr ? " (" : "", text != nullptr ? text : "", text != nullptr ? ")" : "");
}

const Driver* find_driver(std::string& reason) {
  static std::mutex mutex;
  static auto& known = *new std::map<std::string, Found>;  // by file, for ever
  const char* chosen = std::getenv("TIERCEL_CUDA_DRIVER");
  const std::string file = chosen != nullptr && *chosen != 0 ? chosen : "libcuda.so.1";
  const std::lock_guard lock(mutex);
  const auto [at, is_new] = known.try_emplace(file);
  Found& found = at->second;
  if (is_new) {
    try {
      found.reason = load(found.driver, file);
    } catch (const Error& error) {
      found.reason = error.what();
    }
  }
  reason = found.reason;
  return found.reason.empty() ? &found.driver : nullptr;
}

}  // namespace tiercel::cuda
