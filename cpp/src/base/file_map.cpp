#include "base/file_map.hpp"

#include <algorithm>
#include <cerrno>
#include <system_error>

#if defined(__unix__) || defined(__APPLE__)
#define WHIMBREL_POSIX 1
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#else
#define WHIMBREL_POSIX 0
#endif

namespace whimbrel {
namespace {

[[noreturn]] void fail(const std::string& path, int error) {
  throw std::system_error(error, std::generic_category(), "map " + path);
}

}  // namespace

#if WHIMBREL_POSIX

FileMap::FileMap(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) fail(path, errno);
  struct stat facts{};
  if (::fstat(file, &facts) != 0) {
    const int error = errno;
    ::close(file);
    fail(path, error);
  }
  size_ = static_cast<std::size_t>(facts.st_size);
  // An empty file cannot be mapped, and there is nothing to see in it.
  void* data = size_ > 0 ? ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file, 0) : nullptr;
  const int error = errno;
  ::close(file);
  if (data == MAP_FAILED) fail(path, error);
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

#else

FileMap::FileMap(const std::string& path) { fail(path, ENOSYS); }
FileMap::~FileMap() = default;
void FileMap::expect_random_use() const noexcept {}
void FileMap::fetch(std::size_t, std::size_t) const noexcept {}
void FileMap::drop_pages() const noexcept {}

#endif

}  // namespace whimbrel
