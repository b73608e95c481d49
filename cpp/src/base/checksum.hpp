// XXH64, the checksum of the file format: fast enough to run at the speed of memory, and a user can verify a
// section with any existing xxHash tool. It finds damage, not intent: it is no signature.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace whimbrel {

/// XXH64 with seed 0 of everything given to update(), in any pieces.
class Xxh64 {
 public:
  Xxh64() noexcept;
  void update(const void* data, std::size_t size) noexcept;
  /// Of all bytes so far; more may follow.
  std::uint64_t digest() const noexcept;

 private:
  static constexpr std::size_t kStripe = 32;

  /// The whole stripes of `data`; returns their bytes.
  std::size_t consume(const unsigned char* data, std::size_t size) noexcept;

  std::array<std::uint64_t, 4> lanes_;
  std::array<unsigned char, kStripe>
      pending_;  // the first total_ % kStripe bytes wait for the rest of their stripe
  std::uint64_t total_ = 0;
};

}  // namespace whimbrel
