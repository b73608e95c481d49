// Selection by a block of threads: a threshold that at least k keys do not exceed, and a sort.
//
// Written over a block type, so that the host runs the same code with a block of one thread:
//   thread(), threads(); sync(); add(counter, n), which returns the old value, atomic among the threads;
//   exclusive_sum(value, total) over the threads in order; min(value), max(value) over all threads.
// Every thread of a block calls every function, with the same arguments.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "host_device.hpp"

namespace whimbrel::cuda {

/// Floats in the order of unsigned integers. -0 is below +0; NaN does not occur.
WHIMBREL_HOST_DEVICE inline std::uint32_t ordered_key(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
WHIMBREL_HOST_DEVICE inline float ordered_value(std::uint32_t key) {
  return std::bit_cast<float>(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}
/// The key of +inf: what is masked or missing.
inline constexpr std::uint32_t kMissingKey = 0xff800000u;

/// Distance first, then row number.
WHIMBREL_HOST_DEVICE inline std::uint64_t ranked(float distance, std::uint32_t id) {
  return static_cast<std::uint64_t>(ordered_key(distance)) << 32 | id;
}
inline constexpr std::uint64_t kUnranked = ~std::uint64_t{0};

inline constexpr unsigned kDigitBits = 10;
inline constexpr unsigned kBins = 1u << kDigitBits;

/// A key that at least k of the keys below kMissingKey do not exceed, and not many more: the k-th smallest,
/// or one that `slack` more keys at most do not exceed either. kMissingKey - 1 if there are fewer than k.
///
/// @param for_each  for_each(f) calls f(key) for this thread's share of the keys, the same at each call
/// @param bins      kBins counters shared by the block
template <class Block, class ForEach>
WHIMBREL_HOST_DEVICE std::uint32_t select_threshold(Block& block, std::uint32_t k, std::uint32_t slack,
                                                    std::uint32_t* bins, ForEach for_each) {
  std::uint32_t low = kMissingKey, high = 0;
  for_each([&](std::uint32_t key) {
    if (key < kMissingKey) {
      low = key < low ? key : low;
      high = key > high ? key : high;
    }
  });
  low = block.min(low);
  high = block.max(high);
  if (low > high) return kMissingKey - 1;
  for (;;) {
    const std::uint32_t range = high - low;
    const int bits = std::bit_width(range);
    const unsigned shift = bits > static_cast<int>(kDigitBits) ? static_cast<unsigned>(bits) - kDigitBits : 0;
    for (unsigned b = block.thread(); b < kBins; b += block.threads()) bins[b] = 0;
    block.sync();
    for_each([&](std::uint32_t key) {
      if (key >= low && key <= high && key < kMissingKey) block.add(&bins[(key - low) >> shift], 1u);
    });
    block.sync();
    // The bin that holds the k-th: each thread sums a run of bins, then looks into its own.
    const unsigned run = (kBins + block.threads() - 1) / block.threads();
    const unsigned begin = block.thread() * run < kBins ? block.thread() * run : kBins;
    const unsigned end = begin + run < kBins ? begin + run : kBins;
    std::uint32_t own = 0, total = 0;
    for (unsigned b = begin; b < end; ++b) own += bins[b];
    std::uint32_t before = block.exclusive_sum(own, total);
    if (total < k) return kMissingKey - 1;
    if (total == k) return high;
    std::uint32_t bin = 0, below = 0, count = 0;
    if (before < k && k <= before + own) {
      for (bin = begin; before + bins[bin] < k; ++bin) before += bins[bin];
      below = before;
      count = bins[bin];
    }
    // Exactly one thread has it.
    bin = block.max(bin);
    below = block.max(below);
    count = block.max(count);
    const std::uint32_t first = low + (bin << shift);
    const std::uint32_t last = first + ((1u << shift) - 1);
    high = last < high ? last : high;
    if (shift == 0 || below + count <= k + slack) return high;
    low = first;
    k -= below;
  }
}

/// Sort n keys, n a power of two, ascending: a bitonic network.
template <class Block>
WHIMBREL_HOST_DEVICE void sort_keys(Block& block, std::uint64_t* keys, unsigned n) {
  for (unsigned size = 2; size <= n; size *= 2)
    for (unsigned stride = size / 2; stride > 0; stride /= 2) {
      block.sync();
      for (unsigned pair = block.thread(); pair < n / 2; pair += block.threads()) {
        const unsigned i = pair / stride * stride * 2 + pair % stride;
        const unsigned j = i + stride;
        const bool ascending = (i & size) == 0;
        const std::uint64_t a = keys[i], b = keys[j];
        if ((a > b) == ascending) {
          keys[i] = b;
          keys[j] = a;
        }
      }
    }
  block.sync();
}

WHIMBREL_HOST_DEVICE constexpr unsigned power_of_two(unsigned n) {
  unsigned p = 2;
  while (p < n) p *= 2;
  return p;
}

/// The most keys offered between two calls of TopKeys::settle, at least k, and the room for keys.
inline constexpr unsigned kTopRound = 1024, kTopRoom = 2 * kTopRound;

/// The k smallest of a stream of keys, by a block: a buffer that is sorted and cut before it can overflow.
template <class Block>
class TopKeys {
 public:
  /// @param keys   kTopRoom of them, shared by the block
  /// @param count  shared by the block
  WHIMBREL_HOST_DEVICE TopKeys(Block& block, std::uint64_t* keys, std::uint32_t* count, unsigned k)
      : block_(block), keys_(keys), count_(count), k_(k) {}

  WHIMBREL_HOST_DEVICE void start() {
    if (block_.thread() == 0) *count_ = 0;
    bound_ = kUnranked;
    block_.sync();
  }
  /// By any threads, in any order.
  WHIMBREL_HOST_DEVICE void offer(std::uint64_t key) {
    if (key < bound_) keys_[block_.add(count_, 1u)] = key;
  }
  WHIMBREL_HOST_DEVICE void settle() {
    block_.sync();
    const unsigned n = *count_;
    block_.sync();  // nobody offers more before all have seen the number
    if (n > kTopRoom - kTopRound || (bound_ == kUnranked && n > k_)) cut();
  }
  /// The number of keys, at most k, which are sorted.
  WHIMBREL_HOST_DEVICE unsigned finish() {
    cut();
    return *count_;
  }

 private:
  WHIMBREL_HOST_DEVICE void cut() {
    block_.sync();
    const unsigned n = *count_;
    const unsigned padded = power_of_two(n);
    for (unsigned i = n + block_.thread(); i < padded; i += block_.threads()) keys_[i] = kUnranked;
    sort_keys(block_, keys_, padded);
    if (n >= k_) bound_ = keys_[k_ - 1];
    if (block_.thread() == 0) *count_ = n < k_ ? n : k_;
    block_.sync();
  }

  Block& block_;
  std::uint64_t* keys_;
  std::uint32_t* count_;
  unsigned k_;
  std::uint64_t bound_ = kUnranked;
};

}  // namespace whimbrel::cuda
