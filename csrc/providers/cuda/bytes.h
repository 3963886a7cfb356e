// Bytes as the kernels of 8-bit products and convolutions want them: what is added up lies
// together.
#pragma once
#include <string_view>

#include "providers/cuda/conv_shapes.h"
#include "providers/cuda/device.h"

namespace tiercel::cuda {

// As in kernels/cuda/conv_bytes.cu.
struct ByteConvArgs {
  ConvArgs c;
  int32_t room[kSpatial], held;
  int64_t pitch;
};

// What conv_lay_out makes of `images` images: [images, room..., held].
[[nodiscard]] std::shared_ptr<Buffer> lay_out(Device& device, const ByteConvArgs& args,
                                              int64_t images, const void* from, const void* zero);

// The form of constants that turn_matrices has made.
constexpr std::string_view kTurned = "turned matrices";
// Bytes of a column of `rows` items in what turn_matrices makes: whole runs of 16.
[[nodiscard]] int64_t turned_pitch(int64_t rows);
// Matrices [rows, columns] as [columns, turned_pitch(rows)], with zeros at the ends.
[[nodiscard]] std::shared_ptr<Buffer> turn_matrices(Device& device, const void* from,
                                                    int64_t matrices, int64_t rows,
                                                    int64_t columns);

}  // namespace tiercel::cuda
