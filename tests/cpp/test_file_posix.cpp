// What only POSIX systems have: links, pipes, permissions, limits, and names as long as the system takes
// them.
#include <doctest/doctest.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_io.hpp"
#include "files.hpp"

namespace whimbrel {
namespace {

namespace fs = std::filesystem;

TEST_CASE("a name of the greatest length works") {
  const Directory directory;
  save(directory.file(std::string(255, 'n')), "bytes");
  CHECK(content(directory.file(std::string(255, 'n'))) == "bytes");
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
