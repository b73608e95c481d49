// A file mapped into memory, for reading.
#pragma once

#include <cstddef>
#include <string>

namespace whimbrel {

/// The file must not shrink while the map lives.
class FileMap {
 public:
  /// @throws std::system_error with errno and path
  explicit FileMap(const std::string& path);
  ~FileMap();
  FileMap(const FileMap&) = delete;
  FileMap& operator=(const FileMap&) = delete;

  const unsigned char* data() const noexcept { return static_cast<const unsigned char*>(data_); }
  std::size_t size() const noexcept { return size_; }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace whimbrel
