// Functions that the host compiles too, so that tests run them without a GPU.
#pragma once

#ifdef __CUDACC__
#define WHIMBREL_HOST_DEVICE __host__ __device__
#else
#define WHIMBREL_HOST_DEVICE
#endif
