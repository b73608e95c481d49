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

#include "base/file.hpp"

namespace whimbrel {
namespace {

constexpr std::size_t kBufferSize = std::size_t{1} << 20;

std::string directory_of(const std::string& path) {
  const auto directory = native_path(path).parent_path();
  return directory.empty() ? std::string(".") : path_string(directory);
}

/// A new file in the directory of `target`, removed again unless it was renamed to it.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& target) : target_(target) {
    const std::string directory = directory_of(target);
    // The number is unique in this process, the name on this machine. If the file exists all the same, a
    // process that died left it, or another machine writes to the same directory.
    static std::atomic<std::uint64_t> counter = 0;
    while (!file_) {
      path_ = directory + "/.whimbrel-" + std::to_string(process_number()) + "-" + std::to_string(counter++) +
              ".tmp";
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
    if (!path_.empty()) std::filesystem::remove(native_path(path_), ignored);
  }

  File& file() noexcept { return *file_; }

  void rename_to_target() {
    file_->copy_permissions_of(target_);
    file_->sync();
    file_->close();
    replace_file(path_, target_);
    path_.clear();
  }

 private:
  std::string target_;
  std::string path_;
  std::optional<File> file_;
};

/// Where a file written to `path` ends up. A device or a pipe must not be replaced by a file.
std::string resolve_target(const std::string& path) {
  std::error_code error;
  const auto native = native_path(path);
  const auto status = std::filesystem::status(native, error);  // of what a link points to
  if (std::filesystem::is_directory(status)) fail_on_file(EISDIR, "write", path);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
    fail_on_file(EINVAL, "write (not a regular file)", path);
  return std::filesystem::is_symlink(native, error) ? path_string(std::filesystem::canonical(native)) : path;
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
