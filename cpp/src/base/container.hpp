// The file container: a header, a table, and checksummed sections one after another (cpp/FORMAT.md).
//
// It knows nothing about what a section means. Both directions are sequential, so a pipe or a socket will do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/checksum.hpp"
#include "whimbrel/byte_io.hpp"
#include "whimbrel/errors.hpp"

namespace whimbrel {

/// Four characters, in reading order in the file.
using Tag = std::uint32_t;

constexpr Tag make_tag(const char (&s)[5]) noexcept {
  Tag tag = 0;
  for (int i = 3; i >= 0; --i) tag = tag << 8 | static_cast<unsigned char>(s[i]);
  return tag;
}

struct SectionToWrite {
  Tag tag;
  bool optional = false;  ///< a reader that does not know the tag may skip it
  std::uint64_t length;   ///< bytes, without the padding
  /// Pushes exactly `length` bytes, in any pieces. Called twice and must push the same bytes both times.
  std::function<void(const ByteSink&)> emit;
};

/// One pass for the checksums, one for the bytes. Tags must be distinct.
/// @throws std::logic_error if a section pushes another number of bytes than it said
void write_container(Tag kind, std::span<const SectionToWrite> sections, const ByteSink& sink);

/// Bytes of a section with its padding.
constexpr std::uint64_t padded_length(std::uint64_t length) noexcept { return (length + 63) / 64 * 64; }

/// A row of the section table, as in the file.
struct SectionRow {
  Tag tag;
  std::uint32_t flags;
  std::uint64_t offset;
  std::uint64_t length;
  std::uint64_t checksum;
};

/// Reads a container from front to back. Anything unexpected is a FormatError.
///
/// No length in the file is trusted: memory is the caller's, who asks for lengths he expects, plus one
/// bounded table. What read() gives is verified by close() only; until then any value is possible.
class ContainerReader {
 public:
  /// Reads and verifies header and table. `source` must outlive the reader.
  ContainerReader(const ByteSource& source, Tag kind);
  ContainerReader(ByteSource&&, Tag) = delete;

  bool has(Tag tag) const noexcept;
  std::uint64_t length(Tag tag) const;
  /// Where the section begins in the file.
  std::uint64_t offset(Tag tag) const;

  /// Begin the next section, which must be this one, of this length; optional ones before it are skipped.
  void open(Tag tag, std::uint64_t expected_length);
  /// The next `size` bytes of the open section.
  void read(void* out, std::size_t size);
  /// End the open section: it must have been read whole, and its checksum must match.
  void close();
  /// Instead of open() to close(): the row of a section that stays where it is. The source goes on behind its
  /// padding.
  SectionRow pass(Tag tag, std::uint64_t expected_length);
  /// End the file: only optional sections may be left, and nothing may follow them.
  void finish();

 private:
  void check_table(std::uint64_t file_size) const;
  const SectionRow* find(Tag tag) const noexcept;
  void skip();
  /// A FormatError if the file ends first.
  void fill(void* out, std::size_t size);

  const ByteSource& source_;
  std::vector<SectionRow> table_;
  std::size_t next_ = 0;    // row of the next section, or of the open one
  std::uint64_t left_ = 0;  // bytes of the open section not read yet
  Xxh64 checksum_;          // of the open section so far
};

}  // namespace whimbrel
