// Correct kernels whose accesses come close to each other: neighbours in a word, later readings.
#include <cuda_fp16.h>

// each thread changes one of the halves, or bytes, of a word
extern "C" __global__ void halves_in_place(__half* x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] = __hadd(x[i], x[i]);
}
extern "C" __global__ void bytes_in_place(unsigned char* x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] = x[i] + 1;
}
// bytes through shared memory, each thread its own and then its neighbour's
extern "C" __global__ void shared_bytes(unsigned char* x) {
  __shared__ unsigned char s[128];
  int t = threadIdx.x;
  s[t] = x[t];
  s[t] = s[t] + 1;
  __syncthreads();
  x[t] = s[t ^ 1];
}
// all lanes read a value, meet, one reads it again and changes it
extern "C" __global__ void read_again(float* x) {
  __shared__ float s[32];
  int t = threadIdx.x, warp = t / 32;
  if (t % 32 == 0) s[warp] = x[t];
  __syncwarp();
  float v = s[warp];
  __syncwarp();
  if (t % 32 == 3) s[warp] = s[warp] + v;
  __syncwarp();
  x[t] = s[warp];
}
// all blocks read the same table
extern "C" __global__ void shared_table(const float* table, float* y) {
  y[blockIdx.x * 32 + threadIdx.x] = table[threadIdx.x] + table[threadIdx.x ^ 1];
}
