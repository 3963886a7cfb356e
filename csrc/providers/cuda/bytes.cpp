// Bytes as the kernels of 8-bit products and convolutions want them: what is added up lies
// together.
#include "providers/cuda/bytes.h"

#include "providers/cuda/lines.h"

namespace tiercel::cuda {

std::shared_ptr<Buffer> lay_out(Device& device, const ByteConvArgs& args, int64_t images,
                                const void* from, const void* zero) {
  const int64_t places = int64_t{args.room[0]} * args.room[1] * args.room[2];
  static_cast<void>(conv_word(places * args.held));
  auto made = device.allocate(images * places * args.held);
  const void* const to = made->data();
  const int64_t blocks = images * groups_of(places, 64) * groups_of(args.held, 32);
  if (blocks == 0) return made;
  Arguments().add(from).add(to).add(zero).add(args).launch(
      device, cuda_function(device, "conv_bytes", "conv_lay_out"), grid_of(blocks));
  return made;
}

int64_t turned_pitch(int64_t rows) { return groups_of(rows, 16) * 16; }

std::shared_ptr<Buffer> turn_matrices(Device& device, const void* from, int64_t matrices,
                                      int64_t rows, int64_t columns) {
  ByteConvArgs args{};  // rows are channels, columns places
  args.c.channels = conv_word(rows);
  args.held = conv_word(turned_pitch(rows));
  args.c.size[0] = args.c.size[1] = args.room[0] = args.room[1] = 1;
  args.c.size[2] = args.room[2] = conv_word(columns);
  return lay_out(device, args, matrices, from, nullptr);
}

}  // namespace tiercel::cuda
