#include "hnsw/mapped_file.hpp"

#include <algorithm>
#include <cstring>

#include "base/hooks.hpp"

namespace whimbrel {

ByteSource MappedFile::source() {
  return [this](void* data, std::size_t size) {
    const std::size_t n = std::min(size, map_->size() - at_);
    fetch(n);
    if (n > 0) std::memcpy(data, map_->data() + at_, n);
    at_ += n;
    return n;
  };
}

void MappedFile::fetch(std::size_t size) {
  if (at_ + size <= fetched_) return;
  const std::size_t from = std::max(at_, fetched_);
  fetched_ = std::max(at_ + size, from + window_);
  map_->fetch(from, fetched_ - from);
  window_ = std::min(2 * window_, kMaxWindow);
}

const std::byte* MappedFile::pass(ContainerReader& reader, Tag tag, std::size_t bytes) {
  const SectionRow section = reader.pass(tag, bytes);
  if (padded_length(bytes) > map_->size() - at_)
    throw FormatError("file: expected rows up to its end, got fewer: it is truncated");
  at_ += padded_length(bytes);
  window_ = kMinWindow;
  taken_.push_back(section);
  return map_->data() + section.offset;
}

void MappedFile::verify() const {
  constexpr std::size_t kPiece = std::size_t{1} << 20;
  for (const SectionRow& section : taken_) {
    Xxh64 checksum;
    const std::byte* bytes = map_->data() + section.offset;
    for (std::size_t at = 0, end = padded_length(section.length); at < end; at += kPiece) {
      check_stop();
      map_->fetch(section.offset + at, 2 * kPiece);
      checksum.update(bytes + at, std::min(kPiece, end - at));
    }
    if (checksum.digest() != section.checksum)
      throw FormatError("file: expected checksum of the mapped rows to match, the data are damaged");
  }
}

}  // namespace whimbrel
