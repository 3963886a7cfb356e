// The library that reads image files, which the program around the core gives.
#pragma once
#include <functional>
#include <span>
#include <string>

#include "base/tensor.h"

namespace tiercel {

// Bytes of a file to uint8 [height, width, channels]; `pixel_format`: "RGB", "BGR" or "Grayscale".
// Throws Error when the bytes are no image.
using ImageDecoder =
    std::function<Tensor(std::span<const uint8_t> file, const std::string& pixel_format)>;

// For every session loaded afterwards.
void set_image_decoder(ImageDecoder decoder);

}  // namespace tiercel
