#include "whimbrel/cuda/errors.hpp"

namespace whimbrel::cuda {

void check(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  cudaGetLastError();  // a later call is not to blame
  throw CudaError(code,
                  std::string(call) + ": " + cudaGetErrorName(code) + " (" + cudaGetErrorString(code) + ")");
}

}  // namespace whimbrel::cuda
