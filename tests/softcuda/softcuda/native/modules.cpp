// Modules: PTX is translated and compiled by the Python side, cached, and loaded.
#include <dlfcn.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "driver.h"

namespace softcuda {
namespace {

namespace fs = std::filesystem;

// What the linker's results begin with; their PTX follows.
constexpr const char* kMachineCode = "machine code of the software device\n";

std::string hash(const std::string& text) {
  uint64_t a = 0xcbf29ce484222325, b = 0x9ae16a3b2f90404f;
  for (const unsigned char c : text) {
    a = (a ^ c) * 0x100000001b3;
    b = (b + c) * 0xc2b2ae3d27d4eb4f ^ (b >> 29);
  }
  char out[40];
  std::snprintf(out, sizeof out, "%016llx%016llx", static_cast<unsigned long long>(a),
                static_cast<unsigned long long>(b));
  return out;
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// The library of a PTX text; empty with the reason in `log` when it cannot be made.
fs::path compiled(const std::string& ptx, bool checked, std::string* log) {
  const fs::path cache = SOFTCUDA_CACHE;
  const std::string key = hash(ptx) + (checked ? "-checked" : "-plain");
  const fs::path library = cache / (key + ".so");
  if (fs::exists(library)) return library;
  const std::string mine = key + "-" + std::to_string(getpid());
  const fs::path source = cache / (mine + ".ptx"), errors = cache / (mine + ".log");
  std::ofstream(source) << ptx;
  const std::string command = "env -u LD_PRELOAD PYTHONPATH='" SOFTCUDA_PACKAGE
                              "' '" SOFTCUDA_PYTHON "' -m softcuda.jit '" +
                              source.string() + "' '" + library.string() + "' " +
                              (checked ? "1" : "0") + " 2>'" + errors.string() + "'";
  const int status = std::system(command.c_str());
  *log = read_file(errors);
  fs::remove(source);
  fs::remove(errors);
  return status == 0 ? library : fs::path{};
}

// A library that is loaded twice must not share its variables: each module loads a copy.
void* load_copy(const fs::path& library, std::string* log) {
  static int count = 0;
  const std::string name = "softcuda-" + std::to_string(getpid()) + "-" + std::to_string(count++);
  const fs::path copy = fs::temp_directory_path() / (name + ".so");
  fs::copy_file(library, copy, fs::copy_options::overwrite_existing);
  void* loaded = dlopen(copy.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!loaded) *log = dlerror();
  fs::remove(copy);
  return loaded;
}

uint32_t static_bytes(const Kernel& kernel) {
  uint32_t end = 0;  // as on a device: without the gaps
  for (const SharedVariable& v : kernel.shared) end = (end + 15) / 16 * 16 + v.size;
  return end;
}

CUresult place_globals(CUmod_st& module) {
  Driver& d = driver();
  for (const Global& g : module.table->globals) {
    const uint64_t address = d.memory.allocate(std::max<uint64_t>(g.size, 1));
    if (!address) return CUDA_ERROR_OUT_OF_MEMORY;
    char* bytes = d.memory.host(address);
    g.initial ? std::memcpy(bytes, g.initial, g.size) : std::memset(bytes, 0, g.size);
    *g.address = address;
    module.globals[g.name] = {address, g.size};
  }
  return CUDA_SUCCESS;
}

CUresult load_module(CUmodule* out, const char* image, std::string* log) {
  Lock lock;
  if (CUresult r = ready()) return r;
  Driver& d = driver();
  if (!image) return CUDA_ERROR_INVALID_VALUE;
  if (!std::strncmp(image, kMachineCode, std::strlen(kMachineCode)))
    image += std::strlen(kMachineCode);
  if (!std::memcmp(image,
                   "\x7f"
                   "ELF",
                   4)) {
    *log = "the software device takes PTX, not machine code";
    return CUDA_ERROR_NO_BINARY_FOR_GPU;
  }
  const bool checked = d.options.checked;
  const fs::path library = compiled(image, checked, log);
  if (library.empty()) return d.note(CUDA_ERROR_INVALID_PTX, *log);
  void* loaded = load_copy(library, log);
  if (!loaded) return d.note(CUDA_ERROR_INVALID_IMAGE, *log);
  auto module = std::make_unique<CUmod_st>();
  module->library = loaded;
  module->checked = checked;
  module->table = reinterpret_cast<ModuleEntry>(dlsym(loaded, "softcuda_module"))();
  for (const Kernel& k : module->table->kernels) {
    const uint32_t taken = static_bytes(k);
    module->functions[k.name] = {&k, module.get(), taken, 49152 > taken ? 49152 - taken : 0};
  }
  if (CUresult r = place_globals(*module)) return r;
  *out = module.release();
  return CUDA_SUCCESS;
}

// What the caller asked to hear of errors: a buffer and its size among the options.
void give_log(const std::string& log, unsigned count, const CUjit_option* options, void** values) {
  char* buffer = nullptr;
  size_t size = 0;
  void** size_value = nullptr;
  for (unsigned i = 0; i < count; i++) {
    if (options[i] == CU_JIT_ERROR_LOG_BUFFER) buffer = static_cast<char*>(values[i]);
    if (options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES) size_value = &values[i];
  }
  if (size_value) size = reinterpret_cast<size_t>(*size_value) & 0xffffffff;
  if (!buffer || !size) return;
  std::snprintf(buffer, size, "%s", log.c_str());
  *size_value = reinterpret_cast<void*>(std::min(size, log.size() + 1));
}

}  // namespace
}  // namespace softcuda

using softcuda::driver;
using softcuda::Lock;
using softcuda::ready;

SOFTCUDA_API cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned count,
                                CUjit_option* options, void** values) {
  std::string log;
  const CUresult r = softcuda::load_module(module, static_cast<const char*>(image), &log);
  softcuda::give_log(log, count, options, values);
  return r;
}
SOFTCUDA_API cuModuleLoadData(CUmodule* module, const void* image) {
  return cuModuleLoadDataEx(module, image, 0, nullptr, nullptr);
}
SOFTCUDA_API cuLinkCreate(unsigned count, CUjit_option* options, void** values,
                          CUlinkState* state) {
  Lock lock;
  if (CUresult r = ready()) return r;
  *state = new CUlinkState_st{{options, options + count}, values, {}};
  return CUDA_SUCCESS;
}
// One text, which is compiled here: its mistakes are reported where a real linker reports them.
SOFTCUDA_API cuLinkAddData(CUlinkState state, CUjitInputType type, void* data, size_t size,
                           const char*, unsigned, CUjit_option*, void**) {
  Lock lock;
  const char* text = static_cast<const char*>(data);
  if (type != CU_JIT_INPUT_PTX || size == 0 || text[size - 1] != 0 || !state->code.empty())
    return CUDA_ERROR_INVALID_VALUE;
  if (CUresult r = ready()) return r;
  std::string log;
  const bool good = !softcuda::compiled(text, driver().options.checked, &log).empty();
  softcuda::give_log(log, static_cast<unsigned>(state->options.size()), state->options.data(),
                     state->values);
  if (!good) return driver().note(CUDA_ERROR_INVALID_PTX, log);
  state->code = softcuda::kMachineCode + std::string(text);
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuLinkComplete(CUlinkState state, void** code, size_t* size) {
  Lock lock;
  if (state->code.empty()) return CUDA_ERROR_INVALID_IMAGE;
  *code = state->code.data();
  *size = state->code.size() + 1;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuLinkDestroy(CUlinkState state) {
  Lock lock;
  delete state;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuModuleUnload(CUmodule module) {
  Lock lock;
  driver().run_all();
  std::string message;
  for (const auto& [name, place] : module->globals)
    (void)driver().memory.release(place.first, &message);
  dlclose(module->library);
  delete module;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
  Lock lock;
  if (CUresult r = ready()) return r;
  auto it = module->functions.find(name);
  if (it == module->functions.end()) return CUDA_ERROR_NOT_FOUND;
  *function = &it->second;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuModuleGetGlobal(CUdeviceptr* address, size_t* bytes, CUmodule module,
                               const char* name) {
  Lock lock;
  if (CUresult r = ready()) return r;
  auto it = module->globals.find(name);
  if (it == module->globals.end()) return CUDA_ERROR_NOT_FOUND;
  if (address) *address = it->second.first;
  if (bytes) *bytes = it->second.second;
  return CUDA_SUCCESS;
}
