// Modules of a GPU: PTX that the driver compiles once, and machine code that is kept on disk.
#pragma once
#include <string>

#include "base/file_cache.h"
#include "providers/cuda/driver.h"

namespace tiercel::cuda {

class MachineCode {
 public:
  // For GPUs of that compute capability. The folder is TIERCEL_CUDA_CACHE (empty: nothing is kept),
  // or `cuda` among the user's caches.
  MachineCode(const Driver& driver, int major, int minor);

  // The module in the current context. Throws Error(EPFail) with what the driver's compiler says.
  [[nodiscard]] ModuleHandle load(const std::string& ptx) const;

 private:
  [[nodiscard]] std::string compile(const std::string& ptx) const;

  const Driver& driver_;
  FileCache kept_;
  std::string target_;  // what machine code depends on besides the PTX
};

}  // namespace tiercel::cuda
