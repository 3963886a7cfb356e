// Compiles PTX by the driver's linker, whose result can be kept.
#include "providers/cuda/machine_code.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/sha256.h"

namespace tiercel::cuda {
namespace {

constexpr int kInputIsPtx = 1;                    // CU_JIT_INPUT_PTX
constexpr int kErrorLog = 5, kErrorLogBytes = 6;  // CU_JIT_ERROR_LOG_BUFFER, …_SIZE_BYTES

std::string chosen_folder() {
  const char* chosen = std::getenv("TIERCEL_CUDA_CACHE");
  return chosen != nullptr ? chosen : cache_folder("cuda");
}

// The driver's linker at work, with what it has to say.
class Linker {
 public:
  explicit Linker(const Driver& driver) : driver_(driver) {
    check(driver_.link_create(2, options_, values_, &state_), "cuLinkCreate");
  }
  ~Linker() {
    if (state_ != nullptr) static_cast<void>(driver_.link_destroy(state_));
  }
  Linker(const Linker&) = delete;
  Linker& operator=(const Linker&) = delete;

  std::string link(const std::string& ptx) {
    // Its size counts the zero at its end.
    check(driver_.link_add(state_, kInputIsPtx, const_cast<char*>(ptx.c_str()), ptx.size() + 1,
                           "kernel", 0, nullptr, nullptr),
          "cuLinkAddData");
    void* code = nullptr;
    size_t bytes = 0;
    check(driver_.link_complete(state_, &code, &bytes), "cuLinkComplete");
    return {static_cast<const char*>(code), bytes};
  }

 private:
  void check(Result result, const char* what) const {
    const std::string said(log_.c_str());
    driver_.check(result, said.empty() ? what : concat(what, " (", said, ")").c_str());
  }

  const Driver& driver_;
  LinkHandle state_ = nullptr;
  // The driver writes to them as long as the linker is there.
  std::string log_ = std::string(4096, '\0');
  int options_[2] = {kErrorLog, kErrorLogBytes};
  void* values_[2] = {log_.data(), reinterpret_cast<void*>(log_.size() - 1)};
};

}  // namespace

MachineCode::MachineCode(const Driver& driver, int major, int minor)
    : driver_(driver), kept_(chosen_folder()) {
  int version = 0;
  driver_.check(driver_.driver_version(&version), "cuDriverGetVersion");
  target_ = concat("sm_", major, minor, " driver ", version, "\n");
}

std::string MachineCode::compile(const std::string& ptx) const { return Linker(driver_).link(ptx); }

ModuleHandle MachineCode::load(const std::string& ptx) const {
  const std::string name = sha256(target_ + ptx);
  ModuleHandle module = nullptr;
  if (const auto known = kept_.get(name)) {
    // Code of another build of the driver may be refused: it is made again.
    if (driver_.module_load(&module, known->data(), 0, nullptr, nullptr) == 0) return module;
  }
  const std::string code = compile(ptx);
  driver_.check(driver_.module_load(&module, code.data(), 0, nullptr, nullptr),
                "cuModuleLoadDataEx");
  kept_.put(name, code);
  return module;
}

}  // namespace tiercel::cuda
