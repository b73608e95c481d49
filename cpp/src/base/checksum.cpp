// Written from the public specification, "xxHash fast digest algorithm", version 0.2.0, section "XXH64
// algorithm description"; step numbers below are its own. Words are little-endian, as in the file.
#include "base/checksum.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace whimbrel {
namespace {

static_assert(std::endian::native == std::endian::little,
              "checksums and files are little-endian only so far");

constexpr std::uint64_t kPrime1 = 0x9e3779b185ebca87ULL;
constexpr std::uint64_t kPrime2 = 0xc2b2ae3d27d4eb4fULL;
constexpr std::uint64_t kPrime3 = 0x165667b19e3779f9ULL;
constexpr std::uint64_t kPrime4 = 0x85ebca77c2b2ae63ULL;
constexpr std::uint64_t kPrime5 = 0x27d4eb2f165667c5ULL;

template <class Word>
std::uint64_t load(const unsigned char* p) noexcept {
  Word word;
  std::memcpy(&word, p, sizeof word);
  return word;
}

std::uint64_t round(std::uint64_t lane, std::uint64_t word) noexcept {
  return std::rotl(lane + word * kPrime2, 31) * kPrime1;
}

std::uint64_t merge(std::uint64_t hash, std::uint64_t lane) noexcept {
  return (hash ^ round(0, lane)) * kPrime1 + kPrime4;
}

}  // namespace

Xxh64::Xxh64() noexcept : lanes_{kPrime1 + kPrime2, kPrime2, 0, 0 - kPrime1}, pending_{} {}  // step 1

std::size_t Xxh64::consume(const unsigned char* data, std::size_t size) noexcept {  // step 2
  std::size_t at = 0;
  for (; size - at >= kStripe; at += kStripe)
    for (std::size_t i = 0; i < 4; ++i) lanes_[i] = round(lanes_[i], load<std::uint64_t>(data + at + 8 * i));
  return at;
}

void Xxh64::update(const void* data, std::size_t size) noexcept {
  if (size == 0) return;
  auto p = static_cast<const unsigned char*>(data);
  const std::size_t waiting = total_ % kStripe;
  total_ += size;
  if (waiting > 0) {
    const std::size_t piece = std::min(size, kStripe - waiting);
    std::memcpy(pending_.data() + waiting, p, piece);
    p += piece;
    size -= piece;
    if (waiting + piece < kStripe) return;
    consume(pending_.data(), kStripe);
  }
  const std::size_t whole = consume(p, size);
  std::memcpy(pending_.data(), p + whole, size - whole);
}

std::uint64_t Xxh64::digest() const noexcept {
  std::uint64_t hash = kPrime5;  // shorter than one stripe: the lanes were never used
  if (total_ >= kStripe) {       // step 3
    hash = std::rotl(lanes_[0], 1) + std::rotl(lanes_[1], 7) + std::rotl(lanes_[2], 12) +
           std::rotl(lanes_[3], 18);
    for (const std::uint64_t lane : lanes_) hash = merge(hash, lane);
  }
  hash += total_;  // step 4

  const unsigned char* p = pending_.data();  // step 5
  std::size_t left = total_ % kStripe;
  for (; left >= 8; p += 8, left -= 8)
    hash = std::rotl(hash ^ round(0, load<std::uint64_t>(p)), 27) * kPrime1 + kPrime4;
  if (left >= 4) {
    hash = std::rotl(hash ^ load<std::uint32_t>(p) * kPrime1, 23) * kPrime2 + kPrime3;
    p += 4;
    left -= 4;
  }
  for (; left > 0; ++p, --left) hash = std::rotl(hash ^ *p * kPrime5, 11) * kPrime1;

  hash ^= hash >> 33;  // step 6
  hash *= kPrime2;
  hash ^= hash >> 29;
  hash *= kPrime3;
  return hash ^ hash >> 32;
}

}  // namespace whimbrel
