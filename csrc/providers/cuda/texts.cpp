// Finds PTX in the library, where it lies compressed.
#include "providers/cuda/texts.h"

#include <unordered_map>

#include "base/cpu_info.h"
#include "base/error.h"
#include "base/inflate.h"

namespace tiercel::cuda {
namespace {

const TclDeviceLibrary& built_in() { return *tcl_builtin_device(); }

// Inflated once, when a program first needs a tile.
const std::string& text_of_tiles() {
  static const std::string text = device_text(built_in().tile_text);
  return text;
}

std::string_view among_tiles(int64_t offset, int64_t bytes) {
  return std::string_view(text_of_tiles())
      .substr(static_cast<size_t>(offset), static_cast<size_t>(bytes));
}

std::string kernel_name(const char* domain, const char* op, const char* variant,
                        const char* types) {
  return concat(domain, "/", op, "/", variant, "/", types);
}

std::string tile_name(const char* domain, const char* op, const char* types) {
  return concat(domain, "/", op, "/", types);
}

TileText text_of_tile(const TclDeviceTile& tile) {
  size_t count = 0;
  while (tile.functions != nullptr && tile.functions[count] >= 0) ++count;
  return {among_tiles(tile.offset, tile.bytes), {tile.functions, count}};
}

}  // namespace

std::string device_text(const TclDeviceText& text) {
  const std::string_view bytes(built_in().text + text.offset, static_cast<size_t>(text.bytes));
  return inflate(bytes, static_cast<size_t>(text.size));
}

const TclKernel& kernel_of_text(const TclKernel& kernel) {
  static const std::unordered_map<std::string, const TclKernel*> index = [] {
    std::unordered_map<std::string, const TclKernel*> made;
    const TclKernelLibrary& library = *tcl_builtin_kernels();
    for (int64_t i = 0; i < library.n_kernels; ++i) {
      const TclKernel& one = library.kernels[i];
      const TclKernel*& lowest = made[kernel_name(one.domain, one.op, one.variant, one.types)];
      if (lowest == nullptr || isa_rank(one.isa) > isa_rank(lowest->isa)) lowest = &one;
    }
    return made;
  }();
  return *index.at(kernel_name(kernel.domain, kernel.op, kernel.variant, kernel.types));
}

const TclDeviceText* kernel_text(const TclKernel& kernel) {
  static const std::unordered_map<std::string, const TclDeviceText*> index = [] {
    std::unordered_map<std::string, const TclDeviceText*> made;
    for (int64_t i = 0; i < built_in().n_kernels; ++i) {
      const TclDeviceKernel& one = built_in().kernels[i];
      made[kernel_name(one.domain, one.op, one.variant, one.types)] = &one.text;
    }
    return made;
  }();
  const auto found =
      index.find(kernel_name(kernel.domain, kernel.op, kernel.variant, kernel.types));
  return found == index.end() ? nullptr : found->second;
}

const TclDeviceText* module_text(std::string_view file) {
  for (int64_t i = 0; i < built_in().n_modules; ++i) {
    const TclDeviceModule& module = built_in().modules[i];
    if (file == module.name) return &module.text;
  }
  return nullptr;
}

TileText tile_text(const TclTile& tile) {
  static const std::unordered_map<std::string, TileText> index = [] {
    std::unordered_map<std::string, TileText> made;
    for (int64_t i = 0; i < built_in().n_tiles; ++i) {
      const TclDeviceTile& one = built_in().tiles[i];
      made[tile_name(one.domain, one.op, one.types)] = text_of_tile(one);
    }
    return made;
  }();
  const auto found = index.find(tile_name(tile.domain, tile.op, tile.types));
  return found == index.end() ? TileText() : found->second;
}

std::string_view function_text(int16_t number) {
  const TclDeviceFunction& one = built_in().functions[number];
  return among_tiles(one.offset, one.bytes);
}

std::vector<NamedText> device_texts() {
  std::vector<NamedText> all;
  const TclDeviceLibrary& library = built_in();
  for (int64_t i = 0; i < library.n_kernels; ++i) {
    const TclDeviceKernel& one = library.kernels[i];
    all.push_back(
        {"kernel", kernel_name(one.domain, one.op, one.variant, one.types), device_text(one.text)});
  }
  for (int64_t i = 0; i < library.n_tiles; ++i) {
    const TclDeviceTile& one = library.tiles[i];
    all.push_back(
        {"tile", tile_name(one.domain, one.op, one.types), std::string(text_of_tile(one).text)});
  }
  for (int64_t i = 0; i < library.n_functions; ++i) {
    all.push_back({"function", library.functions[i].name,
                   std::string(function_text(static_cast<int16_t>(i)))});
  }
  for (int64_t i = 0; i < library.n_modules; ++i) {
    const TclDeviceModule& one = library.modules[i];
    all.push_back({"module", one.name, device_text(one.text)});
  }
  return all;
}

}  // namespace tiercel::cuda
