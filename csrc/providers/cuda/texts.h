// The PTX that the library has: of kernel rows, of tiles, of the files of kernels/cuda.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tiercel/kernel.h"

namespace tiercel::cuda {

[[nodiscard]] std::string device_text(const TclDeviceText& text);

// The row whose text GPUs run, and whose units and memory go with it: that of the lowest
// instruction set among the rows of these names.
[[nodiscard]] const TclKernel& kernel_of_text(const TclKernel& kernel);

// Each: nullptr or empty where the library has none.
[[nodiscard]] const TclDeviceText* kernel_text(const TclKernel& kernel);
[[nodiscard]] const TclDeviceText* module_text(std::string_view file);

// A tile, and the functions that stand before what uses it, by their numbers.
struct TileText {
  std::string_view text;
  std::span<const int16_t> functions;
};
[[nodiscard]] TileText tile_text(const TclTile& tile);
[[nodiscard]] std::string_view function_text(int16_t number);

// All texts, for people and tests.
struct NamedText {
  const char* kind;  // kernel, tile, function, module
  std::string name, text;
};
[[nodiscard]] std::vector<NamedText> device_texts();

}  // namespace tiercel::cuda
