// Launching a kernel that may start while the one before it on the stream ends (Hopper and newer).
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace whimbrel::cuda {

/// The first thing that a kernel launched by launch_next does, in every thread: wait until the kernel before
/// has ended and its results can be seen. Does nothing elsewhere.
__device__ inline void wait_for_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// A launch whose start overlaps with the end of the kernel before.
template <class... Parameters, class... Arguments>
cudaError_t launch_next(void (*kernel)(Parameters...), unsigned blocks, unsigned threads, std::size_t shared,
                        cudaStream_t stream, const Arguments&... arguments) {
  cudaLaunchAttribute overlap = {};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = blocks;
  config.blockDim = threads;
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  config.attrs = &overlap;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

}  // namespace whimbrel::cuda
