#include "whimbrel/cuda/device_buffer.hpp"

namespace whimbrel::cuda {

void check(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  cudaGetLastError();
  throw CudaError(code,
                  std::string(call) + ": " + cudaGetErrorName(code) + " (" + cudaGetErrorString(code) + ")");
}

DeviceBuffer::DeviceBuffer(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  check(cudaMalloc(&data_, bytes), "DeviceBuffer");
}

DeviceBuffer::~DeviceBuffer() { cudaFree(data_); }

}  // namespace whimbrel::cuda
