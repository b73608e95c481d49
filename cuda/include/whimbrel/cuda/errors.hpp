// What the device library throws: the owning classes only. Functions named launch_* return a cudaError_t.
#pragma once

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

namespace whimbrel::cuda {

/// A call of the CUDA runtime failed. Shapes and values that are wrong throw std::invalid_argument, as on the
/// CPU.
class CudaError : public std::runtime_error {
 public:
  CudaError(cudaError_t code, const std::string& message) : std::runtime_error(message), code_(code) {}
  cudaError_t code() const noexcept { return code_; }

 private:
  cudaError_t code_;
};

/// Return if `code` is cudaSuccess; else take the error off the runtime's record, where it can be taken off,
/// and throw.
/// @throws CudaError  "<call>: <name of the error> (<its description>)"
void check(cudaError_t code, const char* call);

}  // namespace whimbrel::cuda
