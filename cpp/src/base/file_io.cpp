// The platform is known to class File and to the two functions below it; the rest is the same everywhere.
#include "base/file_io.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#if defined(__unix__) || defined(__APPLE__)
#define WHIMBREL_POSIX 1
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#else
#define WHIMBREL_POSIX 0
#include <cstdio>
#include <random>
#endif

namespace whimbrel {
namespace {

constexpr std::size_t kBufferSize = std::size_t{1} << 20;

[[noreturn]] void fail(int code, const char* what, const std::string& path) {
  throw std::system_error(code, std::generic_category(), std::string(what) + " " + path);
}

#if WHIMBREL_POSIX

// macOS refuses a call for 2 GiB or more, Linux does less than asked.
constexpr std::size_t kMaxCall = std::size_t{1} << 30;

/// An open file without a buffer. Every failure is a system_error.
class File {
 public:
  static File open_to_read(const std::string& path) { return File(path, O_RDONLY, path); }
  /// Fails if the file exists. Errors name `shown_path`, which the user knows.
  static File create(const std::string& path, const std::string& shown_path) {
    return File(path, O_WRONLY | O_CREAT | O_EXCL, shown_path);
  }

  File(File&& other) noexcept : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}
  File& operator=(File&&) = delete;
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }

  std::size_t read(void* data, std::size_t size) {
    ssize_t n;
    do n = ::read(fd_, data, std::min(size, kMaxCall));
    while (n < 0 && errno == EINTR);
    if (n < 0) fail(errno, "read", path_);
    return static_cast<std::size_t>(n);
  }

  void write(const void* data, std::size_t size) {
    auto p = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t n = ::write(fd_, p, std::min(size, kMaxCall));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail(errno, "write", path_);
      p += n;
      size -= static_cast<std::size_t>(n);
    }
  }

  /// To the device. A network file system may report a full disk only now.
  void sync() {
    int failed;
    do failed = ::fsync(fd_);
    while (failed != 0 && errno == EINTR);
    if (failed != 0) fail(errno, "sync", path_);
  }

  void close() {
    // Not repeated after EINTR: the descriptor is gone, and may already be somebody else's.
    if (::close(std::exchange(fd_, -1)) != 0 && errno != EINTR) fail(errno, "close", path_);
  }

  void copy_permissions_of(const std::string& path) {
    struct stat old{};
    if (::stat(path.c_str(), &old) == 0 && ::fchmod(fd_, old.st_mode & 07777) != 0)
      fail(errno, "chmod", path_);
  }

 private:
  File(const std::string& path, int flags, const std::string& shown_path) : path_(shown_path) {
    do fd_ = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
    while (fd_ < 0 && errno == EINTR);
    if (fd_ < 0) fail(errno, "open", path_);
  }

  std::string path_;
  int fd_;
};

std::uint64_t process_number() { return static_cast<std::uint64_t>(::getpid()); }

/// Makes the renaming itself survive a crash. Failure is no error: the new file is whole and in place, and
/// after a crash the old one would be. Not every file system can do it.
void sync_directory(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

#else  // the C library: no sync, no permissions

class File {
 public:
  static File open_to_read(const std::string& path) { return File(path, "rb", path); }
  static File create(const std::string& path, const std::string& shown_path) {
    if (std::filesystem::exists(path)) fail(EEXIST, "open", shown_path);
    return File(path, "wb", shown_path);
  }

  std::size_t read(void* data, std::size_t size) {
    const std::size_t n = std::fread(data, 1, size, file_.get());
    if (n == 0 && std::ferror(file_.get())) fail(EIO, "read", path_);
    return n;
  }
  void write(const void* data, std::size_t size) {
    if (std::fwrite(data, 1, size, file_.get()) != size) fail(EIO, "write", path_);
  }
  void sync() {
    if (std::fflush(file_.get()) != 0) fail(EIO, "sync", path_);
  }
  void close() {
    if (std::fclose(file_.release()) != 0) fail(EIO, "close", path_);
  }
  void copy_permissions_of(const std::string&) {}

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  File(const std::string& path, const char* mode, const std::string& shown_path)
      : path_(shown_path), file_(std::fopen(path.c_str(), mode)) {
    if (!file_) fail(errno, "open", path_);
  }

  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
};

std::uint64_t process_number() {
  static const std::uint64_t number = std::random_device()();
  return number;
}

void sync_directory(const std::string&) {}

#endif

std::string directory_of(const std::string& path) {
  const auto directory = std::filesystem::path(path).parent_path();
  return directory.empty() ? std::string(".") : directory.string();
}

/// A new file in the directory of `target`, removed again unless it was renamed to it.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& target) : target_(target), directory_(directory_of(target)) {
    // The number is unique in this process, the name on this machine. If the file exists all the same, a
    // process that died left it, or another machine writes to the same directory.
    static std::atomic<std::uint64_t> counter = 0;
    while (!file_) {
      path_ = directory_ + "/.whimbrel-" + std::to_string(process_number()) + "-" +
              std::to_string(counter++) + ".tmp";
      try {
        file_.emplace(File::create(path_, target_));
      } catch (const std::system_error& error) {
        if (error.code() != std::errc::file_exists) throw;
      }
    }
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    file_.reset();
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove(path_, ignored);
  }

  File& file() noexcept { return *file_; }

  void rename_to_target() {
    file_->copy_permissions_of(target_);
    file_->sync();
    file_->close();
    std::error_code error;
    std::filesystem::rename(path_, target_, error);
    if (error) fail(error.value(), "rename to", target_);
    path_.clear();
    sync_directory(directory_);
  }

 private:
  std::string target_;
  std::string directory_;
  std::string path_;
  std::optional<File> file_;
};

/// Where a file written to `path` ends up. A device or a pipe must not be replaced by a file.
std::string resolve_target(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);  // of what a link points to
  if (std::filesystem::is_directory(status)) fail(EISDIR, "write", path);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
    fail(EINVAL, "write (not a regular file)", path);
  return std::filesystem::is_symlink(path, error) ? std::filesystem::canonical(path).string() : path;
}

}  // namespace

void write_file_atomically(const std::string& path, const std::function<void(const ByteSink&)>& write) {
  TemporaryFile temporary(resolve_target(path));
  const auto buffer = std::make_unique<char[]>(kBufferSize);
  std::size_t used = 0;
  const auto flush = [&] { temporary.file().write(buffer.get(), std::exchange(used, 0)); };

  write([&](const void* data, std::size_t size) {
    if (size > kBufferSize - used) flush();
    if (size >= kBufferSize) {
      temporary.file().write(data, size);
    } else {
      std::copy_n(static_cast<const char*>(data), size, buffer.get() + used);
      used += size;
    }
  });
  flush();
  temporary.rename_to_target();
}

void read_file(const std::string& path, const std::function<void(const ByteSource&)>& read) {
  File file = File::open_to_read(path);
  const auto buffer = std::make_unique<char[]>(kBufferSize);
  std::size_t begin = 0, end = 0;

  read([&](void* data, std::size_t size) {
    if (begin == end) {
      if (size >= kBufferSize) return file.read(data, size);
      begin = 0;
      end = file.read(buffer.get(), kBufferSize);
    }
    const std::size_t n = std::min(size, end - begin);
    std::copy_n(buffer.get() + begin, n, static_cast<char*>(data));
    begin += n;
    return n;
  });
}

}  // namespace whimbrel
