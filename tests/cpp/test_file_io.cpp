#include <doctest/doctest.h>

#include <cerrno>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/file_io.hpp"
#include "base/file_map.hpp"
#include "files.hpp"

namespace whimbrel {
namespace {

TEST_CASE("pieces of any size are written and read in order") {
  const Directory directory;
  std::string expected;
  write_file_atomically(directory.file("a"), [&](const ByteSink& sink) {
    for (const std::size_t size :
         {0u, 1u, 100'000u, 1u << 20, 3u, 1'000'000u, 1'000'000u, (1u << 20) - 1u, 5'000'000u}) {
      const std::string piece(size, static_cast<char>('a' + expected.size() % 26));
      sink(piece.data(), piece.size());
      expected += piece;
    }
  });
  CHECK(content(directory.file("a")) == expected);

  for (const std::size_t piece : {1'000u, 1u << 20, 3'000'000u}) {
    std::string got;
    read_file(directory.file("a"), [&](const ByteSource& source) {
      std::string buffer(piece, '\0');
      for (std::size_t n; (n = source(buffer.data(), buffer.size())) > 0;) got.append(buffer, 0, n);
    });
    CHECK(got == expected);
  }
}

TEST_CASE("a new file replaces the old one and leaves nothing else") {
  const Directory directory;
  save(directory.file("a"), "old");
  save(directory.file("a"), "new");
  CHECK(content(directory.file("a")) == "new");
  CHECK(directory.names() == std::vector<std::string>{"a"});
}

TEST_CASE("a relative path without a directory works") {
  const Directory directory;
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(directory.path);
  save("a", "bytes");
  std::filesystem::current_path(before);
  CHECK(content(directory.file("a")) == "bytes");
}

TEST_CASE("an exception of the writer leaves the old file") {
  const Directory directory;
  save(directory.file("a"), "old");
  const auto fails = [](const ByteSink& sink) {
    sink("half", 4);
    throw std::runtime_error("stop");
  };
  CHECK_THROWS_WITH_AS(write_file_atomically(directory.file("a"), fails), "stop", std::runtime_error);
  CHECK(content(directory.file("a")) == "old");
  CHECK(directory.names() == std::vector<std::string>{"a"});
}

TEST_CASE("bytes are not translated") {
  const Directory directory;
  const std::string bytes("\r\n\n\x1a\0\xff end", 10);
  save(directory.file("a"), bytes);
  CHECK(content(directory.file("a")) == bytes);
  const FileMap map(directory.file("a"));
  CHECK(std::string(reinterpret_cast<const char*>(map.data()), map.size()) == bytes);
}

TEST_CASE("names are UTF-8") {
  const Directory directory;
  const std::string name = "gr\xc3\xbc\xc3\x9f \xe9\xb3\xa5 \xf0\x9f\xa6\x86";
  save(directory.file(name), "bytes");
  CHECK(directory.names() == std::vector<std::string>{name});
  CHECK(content(directory.file(name)) == "bytes");
  CHECK(FileMap(directory.file(name)).size() == 5);
  const std::string missing = directory.file(name + "/a");
  CHECK(error_of(missing, [&] { FileMap{missing}; }) != 0);
}

TEST_CASE("a map keeps its bytes, whether or not the system lets its file be replaced") {
  const Directory directory;
  save(directory.file("a"), "old");
  save(directory.file("empty"), "");
  CHECK(FileMap(directory.file("empty")).size() == 0);
  const FileMap map(directory.file("a"));
  map.expect_random_use();
  map.fetch(1, 100);
  const int error = error_of(directory.file("a"), [&] { save(directory.file("a"), "new"); });
  map.drop_pages();
  CHECK(std::string(reinterpret_cast<const char*>(map.data()), map.size()) == "old");
  CHECK(content(directory.file("a")) == (error == 0 ? "new" : "old"));
  CHECK(directory.names().size() == 2);
}

TEST_CASE("errors carry errno and the path") {
  const Directory directory;
  const std::string missing = directory.file("none/a");
  const std::string folder = directory.path.string();
  const auto read = [](const std::string& path) {
    read_file(path, [](const ByteSource& source) {
      char byte;
      source(&byte, 1);
    });
  };
  CHECK(error_of(missing, [&] { save(missing, "bytes"); }) == ENOENT);
  CHECK(error_of(missing, [&] { read(missing); }) == ENOENT);
  CHECK(error_of(folder, [&] { save(folder, "bytes"); }) == EISDIR);
  CHECK(error_of(folder, [&] { read(folder); }) == EISDIR);
  CHECK(directory.names().empty());
}

}  // namespace
}  // namespace whimbrel
