// The instructions of the portable scan, sm_80 and newer. PTX only; index arithmetic is in scan_layout.hpp.
#pragma once

#include <cstdint>

namespace whimbrel::cuda {

__device__ inline unsigned shared_address(const void* p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

/// 16 bytes from global to shared memory, behind the program's back, past the first-level cache.
__device__ inline void copy_async(unsigned to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Until at most n of this thread's commits are under way.
template <int n>
__device__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory");
}

/// Four 8 x 8 tiles of halves; lane l names the 16 bytes of row l % 8 of tile l / 8.
__device__ inline void load_tiles(std::uint32_t (&out)[4], unsigned address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}

/// sum (16 x 8 floats) += left (16 x 16 halves) * right (16 x 8 halves).
__device__ inline void multiply_add(float (&sum)[4], const std::uint32_t (&left)[4], std::uint32_t right0,
                                    std::uint32_t right1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right0), "r"(right1));
}

}  // namespace whimbrel::cuda
