// Files of Windows.
//
// Others may read, rename and remove a file that is open here, as on POSIX systems. A file that somebody has
// mapped, or opened without such permission, cannot be replaced: that is an error, and the old file stays.
#include "base/file.hpp"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <system_error>
#include <utility>

#ifndef NOMINMAX
#define NOMINMAX
#endif
#define WIN32_LEAN_AND_MEAN
#undef _WIN32_WINNT
#define _WIN32_WINNT 0x0A00  // PrefetchVirtualMemory is of Windows 8
#include <windows.h>

#include "base/file_map.hpp"

namespace whimbrel {
namespace {

// A count of bytes has 32 bits.
constexpr std::size_t kMaxCall = std::size_t{1} << 30;

/// As errno, which is what callers on all systems and Python know.
[[noreturn]] void fail(DWORD error, const char* what, const std::string& path) {
  const std::error_condition condition =
      std::error_code(static_cast<int>(error), std::system_category()).default_error_condition();
  if (condition.category() == std::generic_category()) fail_on_file(condition.value(), what, path);
  fail_on_file(EIO, std::string(what) + " (error " + std::to_string(error) + " of Windows)", path);
}

HANDLE open_file(const std::string& path, DWORD access, DWORD disposition, const char* what,
                 const std::string& shown_path) {
  const HANDLE file =
      ::CreateFileW(native_path(path).c_str(), access, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                    nullptr, disposition, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (file != INVALID_HANDLE_VALUE) return file;
  const DWORD error = ::GetLastError();
  std::error_code ignored;
  if (error == ERROR_ACCESS_DENIED && std::filesystem::is_directory(native_path(path), ignored))
    fail_on_file(EISDIR, what, shown_path);
  fail(error, what, shown_path);
}

}  // namespace

File::File(std::string path, Handle handle) noexcept : handle_(handle), path_(std::move(path)) {}
File::File(File&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)), path_(std::move(other.path_)) {}
File::~File() {
  if (handle_ != nullptr) ::CloseHandle(handle_);
}

File File::open_to_read(const std::string& path) {
  return {path, open_file(path, GENERIC_READ, OPEN_EXISTING, "open", path)};
}

File File::create(const std::string& path, const std::string& shown_path) {
  return {shown_path, open_file(path, GENERIC_WRITE, CREATE_NEW, "open", shown_path)};
}

std::size_t File::read(void* data, std::size_t size) {
  DWORD n = 0;
  const auto piece = static_cast<DWORD>(std::min(size, kMaxCall));
  if (!::ReadFile(handle_, data, piece, &n, nullptr)) fail(::GetLastError(), "read", path_);
  return n;
}

void File::write(const void* data, std::size_t size) {
  auto p = static_cast<const char*>(data);
  while (size > 0) {
    DWORD n = 0;
    const auto piece = static_cast<DWORD>(std::min(size, kMaxCall));
    if (!::WriteFile(handle_, p, piece, &n, nullptr)) fail(::GetLastError(), "write", path_);
    p += n;
    size -= n;
  }
}

void File::sync() {
  if (!::FlushFileBuffers(handle_)) fail(::GetLastError(), "sync", path_);
}

void File::close() {
  if (!::CloseHandle(std::exchange(handle_, nullptr))) fail(::GetLastError(), "close", path_);
}

void File::copy_permissions_of(const std::string&) {}

void replace_file(const std::string& from, const std::string& to) {
  const std::filesystem::path source = native_path(from), target = native_path(to);
  if (!::MoveFileExW(source.c_str(), target.c_str(), MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH))
    fail(::GetLastError(), "rename to", to);
}

std::uint64_t process_number() noexcept { return ::GetCurrentProcessId(); }

FileMap::FileMap(const std::string& path) {
  struct Close {
    void operator()(void* handle) const { ::CloseHandle(handle); }
  };
  using Handle = std::unique_ptr<void, Close>;
  const Handle file(open_file(path, GENERIC_READ, OPEN_EXISTING, "map", path));
  LARGE_INTEGER size{};
  if (!::GetFileSizeEx(file.get(), &size)) fail(::GetLastError(), "map", path);
  size_ = static_cast<std::size_t>(size.QuadPart);
  if (size_ == 0) return;  // cannot be mapped, and there is nothing to see in it
  const Handle mapping(::CreateFileMappingW(file.get(), nullptr, PAGE_READONLY, 0, 0, nullptr));
  if (!mapping) fail(::GetLastError(), "map", path);
  // The view keeps both alive.
  data_ = mapped_ = ::MapViewOfFile(mapping.get(), FILE_MAP_READ, 0, 0, 0);
  if (mapped_ == nullptr) fail(::GetLastError(), "map", path);
}

FileMap::~FileMap() {
  if (mapped_ != nullptr) ::UnmapViewOfFile(mapped_);
}

void FileMap::expect_random_use() const noexcept {}  // cannot be said of a view

void FileMap::fetch(std::size_t offset, std::size_t size) const noexcept {
  if (mapped_ == nullptr || offset >= size_) return;
  WIN32_MEMORY_RANGE_ENTRY range{static_cast<char*>(mapped_) + offset, std::min(size, size_ - offset)};
  ::PrefetchVirtualMemory(::GetCurrentProcess(), 1, &range, 0);
}

void FileMap::drop_pages() const noexcept {
  // Of pages that are not locked it takes those that are in memory out of the working set.
  if (mapped_ != nullptr) ::VirtualUnlock(mapped_, size_);
}

}  // namespace whimbrel
