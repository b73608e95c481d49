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

/// A launch whose start overlaps with the end of the kernel before, where `overlap` says that the kernel's
/// code was compiled for such a device: other code would not wait.
template <class... Parameters, class... Arguments>
cudaError_t launch_next(void (*kernel)(Parameters...), bool overlap, unsigned blocks, unsigned threads,
                        std::size_t shared, cudaStream_t stream, const Arguments&... arguments) {
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = blocks;
  config.blockDim = threads;
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = overlap ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

}  // namespace whimbrel::cuda
