// An index file in memory: most of it is read once, rows stay there. What rows are for is not decided here.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "base/container.hpp"
#include "base/file_map.hpp"
#include "base/memory.hpp"

namespace whimbrel {

class MappedFile {
 public:
  explicit MappedFile(std::shared_ptr<const FileMap> map) noexcept : map_(std::move(map)) {
    map_->expect_random_use();
  }

  /// The file from its beginning, without what take() took. This must outlive it.
  ByteSource source();

  /// The next section of a reader of source(): rows that stay in the file. Their bytes are anything, until
  /// verify() has read them and for as long as nobody changes the file.
  template <class T>
  BlockRows<T> take(ContainerReader& reader, Tag tag, std::size_t n, std::size_t stride) {
    return {reinterpret_cast<const T*>(pass(reader, tag, n * stride * sizeof(T))), n, stride};
  }

  /// What was taken last will be read from its beginning to its end.
  void fetch_taken() const noexcept { map_->fetch(taken_.back().offset, taken_.back().length); }
  /// Read what was taken. @throws FormatError if it is not what was saved
  void verify() const;
  void drop_pages() const noexcept { map_->drop_pages(); }

 private:
  static constexpr std::size_t kMinWindow = std::size_t{16} << 10, kMaxWindow = std::size_t{4} << 20;

  void fetch(std::size_t size);
  const std::byte* pass(ContainerReader& reader, Tag tag, std::size_t bytes);

  std::shared_ptr<const FileMap> map_;
  std::size_t at_ = 0;
  // What was asked of the system ahead of at_ ends there; the next time it is so many bytes, more each time
  // until rows are taken.
  std::size_t fetched_ = 0, window_ = kMinWindow;
  std::vector<SectionRow> taken_;
};

}  // namespace whimbrel
