// Counter-based random numbers: a pure function of (seed, purpose, index), the same on every platform.
//
// There is no generator state to share or to advance, so any thread can draw any number, and the number
// of draws for one purpose never changes the draws for another.
#pragma once

#include <cstdint>

namespace whimbrel {

/// One stream per use; the values are part of what "same seed, same index" means and never change.
enum class RandomPurpose : std::uint64_t {
  kHnswLevel = 1,
  kInsertionOrder = 2,
  kFdeHyperplane = 16,
  kFdeSignProjection = 17,
  kFdeCountSketch = 18,
  kFdeFinalSketch = 19,
  kLemurFeature = 24,
  kQuantizerSample = 28,
  kCurAnchors = 32,
  kCurSoftmax = 33,
  kCurLeverage = 34,
  kCurClusters = 35,
  kCurStart = 36,
  kSubspace = 40,
};

/// The finalizer of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
/// OOPSLA 2014): a bijection of 64-bit integers.
constexpr std::uint64_t mix64(std::uint64_t x) noexcept {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  x ^= x >> 31;
  return x;
}

/// 64 uniform bits. Each key passes through its own round, so streams of neighboring seeds do not overlap.
constexpr std::uint64_t random_bits(std::uint64_t seed, RandomPurpose purpose, std::uint64_t index) noexcept {
  constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15ULL;  // 2^64 / golden ratio, odd
  std::uint64_t x = mix64(seed + kGolden);
  x = mix64(x ^ (static_cast<std::uint64_t>(purpose) * kGolden));
  return mix64(x + (index + 1) * kGolden);
}

}  // namespace whimbrel
