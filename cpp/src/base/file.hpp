// What files are to the operating system: file_posix.cpp or file_windows.cpp implements this and
// file_map.hpp, and whoever reads or writes files does it alike on all systems.
//
// Paths are strings in UTF-8 on Windows, bytes elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <system_error>

namespace whimbrel {

[[noreturn]] inline void fail_on_file(int code, const std::string& what, const std::string& path) {
  throw std::system_error(code, std::generic_category(), what + " " + path);
}

inline std::filesystem::path native_path(const std::string& path) {
  return {reinterpret_cast<const char8_t*>(path.data()),
          reinterpret_cast<const char8_t*>(path.data() + path.size())};
}
inline std::string path_string(const std::filesystem::path& path) {
  const std::u8string text = path.u8string();
  return {text.begin(), text.end()};
}

/// An open file without a buffer; bytes are never translated. Every failure is a system_error with errno and
/// path.
class File {
 public:
  static File open_to_read(const std::string& path);
  /// Fails if the file exists. Errors name `shown_path`, which the user knows.
  static File create(const std::string& path, const std::string& shown_path);

  File(File&& other) noexcept;
  File& operator=(File&&) = delete;
  ~File();

  /// 0 at the end of the file.
  std::size_t read(void* data, std::size_t size);
  void write(const void* data, std::size_t size);
  /// To the device. A network file system may report a full disk only now.
  void sync();
  void close();
  /// If that file exists. On Windows nothing: files have the permissions of their folder.
  void copy_permissions_of(const std::string& path);

 private:
#if defined(_WIN32)
  using Handle = void*;
#else
  using Handle = int;
#endif
  File(std::string path, Handle handle) noexcept;

  Handle handle_;  // nullptr or -1 after close()
  std::string path_;
};

/// Rename a file over another, or none, in one step that survives a crash, as far as the file system can do
/// it.
void replace_file(const std::string& from, const std::string& to);

std::uint64_t process_number() noexcept;

}  // namespace whimbrel
