#include <doctest/doctest.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_io.hpp"

namespace whimbrel {
namespace {

namespace fs = std::filesystem;

/// A directory of its own for each test.
struct Directory {
  Directory() {
    std::string name = (fs::temp_directory_path() / "whimbrel-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::system_error(errno, std::generic_category(), name);
    path = name;
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() { fs::remove_all(path); }

  std::string file(const std::string& name) const { return (path / name).string(); }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(path)) found.push_back(entry.path().filename().string());
    return found;
  }

  fs::path path;
};

std::string content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void save(const std::string& path, const std::string& bytes) {
  write_file_atomically(path, [&](const ByteSink& sink) { sink(bytes.data(), bytes.size()); });
}

/// errno of the system_error that fn throws, whose message must contain `path`; 0 if it throws none.
template <class Fn>
int error_of(const std::string& path, Fn fn) {
  try {
    fn();
  } catch (const std::system_error& error) {
    CHECK(std::string(error.what()).find(path) != std::string::npos);
    CHECK(error.code().category() == std::generic_category());
    return error.code().value();
  }
  return 0;
}

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
  const fs::path before = fs::current_path();
  fs::current_path(directory.path);
  save("a", "bytes");
  fs::current_path(before);
  CHECK(content(directory.file("a")) == "bytes");
}

TEST_CASE("a name of the greatest length works") {
  const Directory directory;
  save(directory.file(std::string(255, 'n')), "bytes");
  CHECK(content(directory.file(std::string(255, 'n'))) == "bytes");
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

TEST_CASE("a full disk leaves the old file") {
  const Directory directory;
  save(directory.file("a"), "old");
  // A limit on the size of files stands for the full disk.
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &old_limit) == 0);
  const rlimit limit{1'500'000, old_limit.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  const std::string big(4'000'000, 'x');
  const int error = error_of(directory.file("a"), [&] { save(directory.file("a"), big); });
  ::setrlimit(RLIMIT_FSIZE, &old_limit);
  std::signal(SIGXFSZ, old_handler);
  CHECK(error == EFBIG);
  CHECK(content(directory.file("a")) == "old");
  CHECK(directory.names() == std::vector<std::string>{"a"});
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

TEST_CASE("files that may not be read or written are refused") {
  if (::geteuid() == 0) return;  // everything is allowed to root
  const Directory directory;
  save(directory.file("a"), "bytes");
  fs::permissions(directory.file("a"), fs::perms::none);
  CHECK(error_of(directory.file("a"), [&] { read_file(directory.file("a"), [](const ByteSource&) {}); }) ==
        EACCES);
  fs::permissions(directory.path, fs::perms::owner_read | fs::perms::owner_exec);
  CHECK(error_of(directory.file("b"), [&] { save(directory.file("b"), "bytes"); }) == EACCES);
  fs::permissions(directory.path, fs::perms::owner_all);
}

TEST_CASE("a device or a pipe is never replaced") {
  const Directory directory;
  REQUIRE(::mkfifo(directory.file("pipe").c_str(), 0600) == 0);
  CHECK(error_of(directory.file("pipe"), [&] { save(directory.file("pipe"), "bytes"); }) == EINVAL);
  CHECK(fs::is_fifo(directory.file("pipe")));
}

TEST_CASE("a symbolic link is followed") {
  const Directory directory;
  save(directory.file("target"), "old");
  fs::create_symlink("target", directory.path / "link");
  save(directory.file("link"), "new");
  CHECK(fs::is_symlink(directory.path / "link"));
  CHECK(content(directory.file("target")) == "new");
}

TEST_CASE("a file gets the permissions of the one it replaces, or the usual ones") {
  const Directory directory;
  const mode_t old_mask = ::umask(027);
  save(directory.file("a"), "bytes");
  ::umask(old_mask);
  CHECK(fs::status(directory.file("a")).permissions() == static_cast<fs::perms>(0640));
  fs::permissions(directory.file("a"), static_cast<fs::perms>(0600));
  save(directory.file("a"), "new");
  CHECK(fs::status(directory.file("a")).permissions() == static_cast<fs::perms>(0600));
}

}  // namespace
}  // namespace whimbrel
