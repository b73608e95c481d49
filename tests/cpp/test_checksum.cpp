// The expected values come from the xxHash library (Python package xxhash, xxh64 with seed 0).
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "base/checksum.hpp"

namespace whimbrel {
namespace {

std::uint64_t xxh64(std::string_view data) {
  Xxh64 checksum;
  checksum.update(data.data(), data.size());
  return checksum.digest();
}

/// 0, 1, ..., 250, 0, 1, ...
std::string counting(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i % 251);
  return bytes;
}

TEST_CASE("checksums are those of the xxHash library") {
  CHECK(xxh64("") == 0xef46db3751d8e999);
  CHECK(xxh64("a") == 0xd24ec4f1a98c6e5b);
  CHECK(xxh64("abc") == 0x44bc2cf5ad770999);
  CHECK(xxh64("whimbrel") == 0xf3b776270e17acec);
  CHECK(xxh64("message digest") == 0x066ed728fceeb3be);
  CHECK(xxh64(counting(31)) == 0xc346d2b59b4d8ee1);
  CHECK(xxh64(counting(32)) == 0xcbf59c5116ff32b4);
  CHECK(xxh64(counting(33)) == 0x0c535d1acafb8ead);
  CHECK(xxh64(counting(63)) == 0xe26aa9e2a95f8e4f);
  CHECK(xxh64(counting(64)) == 0xf7c67301db6713f0);
  CHECK(xxh64(counting(101)) == 0xe99038495f85381e);
  CHECK(xxh64(counting(1000)) == 0xf306f04aa88b54d3);
}

TEST_CASE("a checksum does not depend on the pieces") {
  const std::string data = counting(200);
  for (std::size_t piece = 1; piece <= data.size(); ++piece) {
    Xxh64 checksum;
    for (std::size_t i = 0; i < data.size(); i += piece)
      checksum.update(data.data() + i, std::min(piece, data.size() - i));
    checksum.update(nullptr, 0);
    CHECK(checksum.digest() == xxh64(data));
  }
}

TEST_CASE("a digest in between changes nothing") {
  const std::string data = counting(100);
  Xxh64 checksum;
  for (std::size_t i = 0; i < data.size(); ++i) {
    CHECK(checksum.digest() == xxh64(std::string_view(data).substr(0, i)));
    checksum.update(&data[i], 1);
  }
}

}  // namespace
}  // namespace whimbrel
