// A file in memory, for reading: mapped from the disk, or somebody else's bytes.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace whimbrel {

/// The file must not shrink while the map lives.
class FileMap {
 public:
  /// @throws std::system_error with errno and path
  explicit FileMap(const std::string& path);
  /// Bytes that must outlive it.
  explicit FileMap(std::span<const std::byte> borrowed) noexcept
      : data_(borrowed.data()), size_(borrowed.size()) {}
  ~FileMap();
  FileMap(const FileMap&) = delete;
  FileMap& operator=(const FileMap&) = delete;

  const std::byte* data() const noexcept { return static_cast<const std::byte*>(data_); }
  std::size_t size() const noexcept { return size_; }
  std::span<const std::byte> bytes() const noexcept { return {data(), size_}; }
  // Advice to the system, for maps of files. The first is that pages are used here and there: it reads no
  // others with them.
  void expect_random_use() const noexcept;
  /// These bytes are needed next.
  void fetch(std::size_t offset, std::size_t size) const noexcept;
  /// Give back the pages that were looked at: they come again when they are needed.
  void drop_pages() const noexcept;

 private:
  const void* data_ = nullptr;
  std::size_t size_ = 0;
  void* mapped_ = nullptr;  // by this object
};

}  // namespace whimbrel
