// Files of Linux, macOS and other POSIX systems.
#include "base/file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_map.hpp"

namespace whimbrel {
namespace {

// macOS refuses a call for 2 GiB or more, Linux does less than asked.
constexpr std::size_t kMaxCall = std::size_t{1} << 30;

int open_file(const std::string& path, int flags, const char* what, const std::string& shown_path) {
  int fd;
  do fd = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
  while (fd < 0 && errno == EINTR);
  if (fd < 0) fail_on_file(errno, what, shown_path);
  return fd;
}

}  // namespace

File::File(std::string path, Handle handle) noexcept : handle_(handle), path_(std::move(path)) {}
File::File(File&& other) noexcept
    : handle_(std::exchange(other.handle_, -1)), path_(std::move(other.path_)) {}
File::~File() {
  if (handle_ >= 0) ::close(handle_);
}

File File::open_to_read(const std::string& path) { return {path, open_file(path, O_RDONLY, "open", path)}; }

File File::create(const std::string& path, const std::string& shown_path) {
  return {shown_path, open_file(path, O_WRONLY | O_CREAT | O_EXCL, "open", shown_path)};
}

std::size_t File::read(void* data, std::size_t size) {
  ssize_t n;
  do n = ::read(handle_, data, std::min(size, kMaxCall));
  while (n < 0 && errno == EINTR);
  if (n < 0) fail_on_file(errno, "read", path_);
  return static_cast<std::size_t>(n);
}

void File::write(const void* data, std::size_t size) {
  auto p = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = ::write(handle_, p, std::min(size, kMaxCall));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_on_file(errno, "write", path_);
    p += n;
    size -= static_cast<std::size_t>(n);
  }
}

void File::sync() {
  int failed;
  do failed = ::fsync(handle_);
  while (failed != 0 && errno == EINTR);
  if (failed != 0) fail_on_file(errno, "sync", path_);
}

void File::close() {
  // Not repeated after EINTR: the descriptor is gone, and may already be somebody else's.
  if (::close(std::exchange(handle_, -1)) != 0 && errno != EINTR) fail_on_file(errno, "close", path_);
}

void File::copy_permissions_of(const std::string& path) {
  struct stat old{};
  if (::stat(path.c_str(), &old) == 0 && ::fchmod(handle_, old.st_mode & 07777) != 0)
    fail_on_file(errno, "chmod", path_);
}

void replace_file(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) fail_on_file(errno, "rename to", to);
  // Makes the renaming itself survive a crash. Failure is no error: the new file is whole and in place, and
  // after a crash the old one would be. Not every file system can do it.
  const std::string directory = path_string(native_path(to).parent_path());
  const int fd = ::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

std::uint64_t process_number() noexcept { return static_cast<std::uint64_t>(::getpid()); }

FileMap::FileMap(const std::string& path) {
  const int file = open_file(path, O_RDONLY, "map", path);
  struct stat facts{};
  if (::fstat(file, &facts) != 0) {
    const int error = errno;
    ::close(file);
    fail_on_file(error, "map", path);
  }
  size_ = static_cast<std::size_t>(facts.st_size);
  // An empty file cannot be mapped, and there is nothing to see in it.
  void* data = size_ > 0 ? ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file, 0) : nullptr;
  const int error = errno;
  ::close(file);
  if (data == MAP_FAILED) fail_on_file(error, "map", path);
  data_ = mapped_ = data;
}

FileMap::~FileMap() {
  if (mapped_ != nullptr) ::munmap(mapped_, size_);
}

void FileMap::expect_random_use() const noexcept {
  if (mapped_ != nullptr) ::madvise(mapped_, size_, MADV_RANDOM);
}

void FileMap::fetch(std::size_t offset, std::size_t size) const noexcept {
  if (mapped_ == nullptr || offset >= size_) return;
  const std::size_t before = offset % static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  ::madvise(static_cast<char*>(mapped_) + offset - before, before + std::min(size, size_ - offset),
            MADV_WILLNEED);
}

void FileMap::drop_pages() const noexcept {
  if (mapped_ != nullptr) ::madvise(mapped_, size_, MADV_DONTNEED);
}

}  // namespace whimbrel
