// The instructions behind products of token vectors: asynchronous copies to shared memory and m16n8k16
// products of half precision with float sums. Portable from Ampere on; thin, so that all else can be read
// and tested without them.
#pragma once

#include <cstdint>

namespace whimbrel::cuda {

/// Copy `bytes` (at most 16) to `shared`, and zeros behind them up to 16. Both addresses are multiples of 16.
inline __device__ void copy_chunk_async(void* shared, const void* global, unsigned bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                   static_cast<std::uint32_t>(__cvta_generic_to_shared(shared))),
               "l"(global), "r"(bytes)
               : "memory");
}
/// The same for 8 bytes, addresses at multiples of that.
inline __device__ void copy_eight_async(void* shared, const void* global) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(
                   static_cast<std::uint32_t>(__cvta_generic_to_shared(shared))),
               "l"(global)
               : "memory");
}
inline __device__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// All groups of copies of this thread but the last `kPending` are done.
template <unsigned kPending>
__device__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

/// sums += a b. Lane: a as in operand_index, b as in step_coordinate; sums[0..1] are row lane / 4 and columns
/// 2 (lane % 4) and the next, sums[2..3] the same columns of the row 8 below.
inline __device__ void add_product(float (&sums)[4], const uint4& a, std::uint32_t b0, std::uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

}  // namespace whimbrel::cuda
