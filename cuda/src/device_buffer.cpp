#include "whimbrel/cuda/device_buffer.hpp"

#include <string>

namespace whimbrel::cuda {

DeviceBuffer::DeviceBuffer(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  const cudaError_t code = cudaMalloc(&data_, bytes);
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    std::size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    throw CudaError(code, "device memory: expected " + std::to_string(bytes) + " bytes, got " +
                              std::to_string(free) + " free of " + std::to_string(total));
  }
  check(code, "cudaMalloc");
}

DeviceBuffer::~DeviceBuffer() {
  if (data_ != nullptr) cudaFree(data_);
}

}  // namespace whimbrel::cuda
