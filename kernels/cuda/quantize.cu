// DynamicQuantizeLinear: the range of a tensor, and the tensor as bytes of a scale that covers it.
#include "device.cuh"

// Least and largest item of each block's share, with 0, NaN where one is: ranges[2 * block].
KERNEL(256) range_f32(const float* x, float* ranges, i64 total) {
  __shared__ float room[32];
  float low = 0.f, high = 0.f;
  for (i64 i = first_item(); i < total; i += item_step()) {
    low = Smallest()(low, x[i]);
    high = Largest()(high, x[i]);
  }
  low = reduce_block(low, Smallest(), 0.f, room);
  __syncthreads();  // the room is free again
  high = reduce_block(high, Largest(), 0.f, room);
  if (threadIdx.x == 0) {
    ranges[2 * blockIdx.x] = low;
    ranges[2 * blockIdx.x + 1] = high;
  }
}

// Scale and zero point from `count` ranges, and the items.
KERNEL(256)
dynamic_quantize_f32(const float* x, const float* ranges, u8* y, float* scale, u8* zero, i64 total,
                     i64 count) {
  __shared__ float room[32];
  float low = 0.f, high = 0.f;
  for (i64 i = threadIdx.x; i < count; i += blockDim.x) {
    low = Smallest()(low, ranges[2 * i]);
    high = Largest()(high, ranges[2 * i + 1]);
  }
  low = reduce_block(low, Smallest(), 0.f, room);
  __syncthreads();  // the room is free again
  high = reduce_block(high, Largest(), 0.f, room);
  const float step = __fdiv_rn(high - low, 255.f);
  const float point = step == 0.f ? 0.f : fminf(fmaxf(rintf(__fdiv_rn(-low, step)), 0.f), 255.f);
  if (first_item() == 0) {
    *scale = step;
    *zero = (u8)point;
  }
  const float unit = step == 0.f ? 1.f : step;
  for (i64 i = first_item(); i < total; i += item_step())
    y[i] = (u8)fminf(fmaxf(rintf(__fdiv_rn(x[i], unit)) + point, 0.f), 255.f);
}
