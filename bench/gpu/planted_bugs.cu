// Two kernels that are wrong on purpose, so that a run of compute-sanitizer that finds nothing elsewhere
// means something: verify.sh runs it on these first. `planted_bugs memcheck`: a write behind the end of a
// buffer. `planted_bugs racecheck`: a read of shared memory without the barrier.
#include <cuda_runtime_api.h>

#include <cstring>

namespace {

__global__ void write_behind(int* buffer, int n) { buffer[n + threadIdx.x] = 1; }

__global__ void read_too_early(int* out) {
  __shared__ int values[256];
  values[threadIdx.x] = static_cast<int>(threadIdx.x);
  out[threadIdx.x] = values[255 - threadIdx.x];
}

}  // namespace

int main(int argc, char** argv) {
  int* buffer = nullptr;
  if (argc != 2 || cudaMalloc(&buffer, 256 * sizeof(int)) != cudaSuccess) return 2;
  if (std::strcmp(argv[1], "memcheck") == 0)
    write_behind<<<1, 32>>>(buffer, 256);
  else
    read_too_early<<<1, 256>>>(buffer);
  return cudaDeviceSynchronize() == cudaSuccess ? 0 : 1;
}
