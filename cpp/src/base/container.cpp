// cpp/FORMAT.md in code.
#include "base/container.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <stdexcept>
#include <string>

#include "base/hooks.hpp"

namespace whimbrel {
namespace {

static_assert(std::endian::native == std::endian::little, "format version 1 is little-endian only");

constexpr std::array<char, 8> kMagic = {'W', 'H', 'I', 'M', 'B', 'R', 'E', 'L'};
constexpr std::uint32_t kByteOrder = 0x01020304;
constexpr std::uint32_t kVersion = 1;
constexpr std::uint32_t kMaxSections = 1024;
constexpr std::uint32_t kOptional = 1;  // the only flag
constexpr std::size_t kAlignment = 64;  // of everything: a cache line
constexpr std::size_t kSkipPiece = 1 << 16;

struct Header {
  std::array<char, 8> magic = kMagic;
  std::uint32_t byte_order = kByteOrder;
  std::uint32_t version = kVersion;
  Tag kind = 0;
  std::uint32_t n_sections = 0;
  std::uint64_t file_size = 0;
  std::array<std::uint64_t, 3> reserved = {};
  std::uint64_t checksum = 0;
};
static_assert(sizeof(Header) == kAlignment && sizeof(SectionRow) == 32);

constexpr std::array<unsigned char, kAlignment> kZeros = {};

/// Zeros that follow `length` bytes.
std::size_t padding(std::uint64_t length) noexcept {
  return static_cast<std::size_t>((kAlignment - length % kAlignment) % kAlignment);
}

std::string name(Tag tag) {
  std::string text(sizeof tag, '\0');
  std::memcpy(text.data(), &tag, sizeof tag);
  std::ranges::replace_if(text, [](char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

[[noreturn]] void refuse(const std::string& expected) { throw FormatError("file: expected " + expected); }

std::uint64_t header_checksum(Header header, std::span<const SectionRow> table) noexcept {
  header.checksum = 0;
  Xxh64 checksum;
  checksum.update(&header, sizeof header);
  checksum.update(table.data(), table.size_bytes());
  checksum.update(kZeros.data(), padding(table.size_bytes()));
  return checksum.digest();
}

void emit_section(const SectionToWrite& section, const ByteSink& sink) {
  std::uint64_t pushed = 0;
  section.emit([&](const void* data, std::size_t size) {
    check_stop();
    pushed += size;
    sink(data, size);
  });
  if (pushed != section.length)
    throw std::logic_error("section " + name(section.tag) + ": expected " + std::to_string(section.length) +
                           " bytes, got " + std::to_string(pushed));
  if (const std::size_t n = padding(section.length); n > 0) sink(kZeros.data(), n);
}

}  // namespace

void write_container(Tag kind, std::span<const SectionToWrite> sections, const ByteSink& sink) {
  if (sections.size() > kMaxSections) throw std::logic_error("sections: expected fewer");
  const std::uint64_t table_size = sections.size() * sizeof(SectionRow);
  std::uint64_t end = sizeof(Header) + table_size + padding(table_size);
  std::vector<SectionRow> table;
  for (const SectionToWrite& section : sections) {
    Xxh64 checksum;
    emit_section(section, [&](const void* data, std::size_t size) { checksum.update(data, size); });
    table.push_back({section.tag, section.optional ? kOptional : 0, end, section.length, checksum.digest()});
    end += section.length + padding(section.length);
  }
  Header header;
  header.kind = kind;
  header.n_sections = static_cast<std::uint32_t>(sections.size());
  header.file_size = end;
  header.checksum = header_checksum(header, table);

  sink(&header, sizeof header);
  if (!table.empty()) sink(table.data(), table_size);
  if (const std::size_t n = padding(table_size); n > 0) sink(kZeros.data(), n);
  for (const SectionToWrite& section : sections) emit_section(section, sink);
}

ContainerReader::ContainerReader(const ByteSource& source, Tag kind) : source_(source) {
  Header header;
  fill(&header.magic, sizeof header.magic);
  if (header.magic != kMagic) refuse("a whimbrel file, got something else");
  fill(reinterpret_cast<unsigned char*>(&header) + sizeof header.magic, sizeof header - sizeof header.magic);
  if (header.byte_order != kByteOrder) refuse("little-endian byte order");
  // Before the checksum: another version may keep it elsewhere.
  if (header.version != kVersion)
    refuse("format version " + std::to_string(kVersion) + ", got " + std::to_string(header.version));
  if (header.n_sections > kMaxSections)
    refuse("at most " + std::to_string(kMaxSections) + " sections, got " + std::to_string(header.n_sections));

  table_.resize(header.n_sections);
  fill(table_.data(), table_.size() * sizeof(SectionRow));
  std::array<unsigned char, kAlignment> zeros;
  const std::size_t n_zeros = padding(table_.size() * sizeof(SectionRow));
  fill(zeros.data(), n_zeros);
  if (header_checksum(header, table_) != header.checksum ||
      std::memcmp(zeros.data(), kZeros.data(), n_zeros) != 0)
    refuse("checksum of the section table to match, the data are damaged");

  // What follows finds files that were written wrongly, on purpose or not.
  if (header.kind != kind) refuse("kind " + name(kind) + ", got " + name(header.kind));
  if (header.reserved != Header{}.reserved) refuse("reserved bytes to be zero");
  check_table(header.file_size);
}

void ContainerReader::check_table(std::uint64_t file_size) const {
  const std::uint64_t table_size = table_.size() * sizeof(SectionRow);
  std::uint64_t end = sizeof(Header) + table_size + padding(table_size);
  // With a size that is a multiple of the alignment, the sums below cannot wrap around.
  if (file_size % kAlignment != 0 || file_size < end) refuse("a file size that fits the section table");
  for (const SectionRow& row : table_) {
    if ((row.flags & ~kOptional) != 0) refuse("known flags of section " + name(row.tag));
    if (find(row.tag) != &row) refuse("one section " + name(row.tag) + ", got two");
    if (row.offset != end || row.length > file_size - end)
      refuse("section " + name(row.tag) + " within the file");
    end += row.length + padding(row.length);
  }
  if (end != file_size)
    refuse("a file of " + std::to_string(end) + " bytes, got " + std::to_string(file_size));
}

const SectionRow* ContainerReader::find(Tag tag) const noexcept {
  const auto row = std::ranges::find(table_, tag, &SectionRow::tag);
  return row == table_.end() ? nullptr : &*row;
}

bool ContainerReader::has(Tag tag) const noexcept { return find(tag) != nullptr; }

std::uint64_t ContainerReader::length(Tag tag) const {
  const SectionRow* row = find(tag);
  if (row == nullptr) refuse("a section " + name(tag) + ", got none");
  return row->length;
}

std::uint64_t ContainerReader::offset(Tag tag) const {
  const SectionRow* row = find(tag);
  if (row == nullptr) refuse("a section " + name(tag) + ", got none");
  return row->offset;
}

void ContainerReader::open(Tag tag, std::uint64_t expected_length) {
  while (next_ < table_.size() && table_[next_].tag != tag && (table_[next_].flags & kOptional) != 0) skip();
  if (next_ == table_.size()) refuse("section " + name(tag) + ", got the end");
  const SectionRow& row = table_[next_];
  if (row.tag != tag) refuse("section " + name(tag) + ", got " + name(row.tag));
  if (row.length != expected_length)
    refuse("section " + name(tag) + " of " + std::to_string(expected_length) + " bytes, got " +
           std::to_string(row.length));
  left_ = row.length;
  checksum_ = Xxh64();
}

void ContainerReader::read(void* out, std::size_t size) {
  if (size > left_)
    refuse(std::to_string(size) + " more bytes in section " + name(table_[next_].tag) + ", got " +
           std::to_string(left_));
  fill(out, size);
  checksum_.update(out, size);
  left_ -= size;
}

void ContainerReader::close() {
  const SectionRow& row = table_[next_];
  if (left_ > 0)
    refuse("the end of section " + name(row.tag) + ", got " + std::to_string(left_) + " more bytes");
  std::array<unsigned char, kAlignment> zeros;
  fill(zeros.data(), padding(row.length));
  checksum_.update(zeros.data(), padding(row.length));
  if (checksum_.digest() != row.checksum)
    refuse("checksum of section " + name(row.tag) + " to match, the data are damaged");
  ++next_;
}

SectionRow ContainerReader::pass(Tag tag, std::uint64_t expected_length) {
  open(tag, expected_length);
  return table_[next_++];
}

void ContainerReader::finish() {
  while (next_ < table_.size()) {
    if ((table_[next_].flags & kOptional) == 0) refuse("no section " + name(table_[next_].tag));
    skip();
  }
  if (char byte; source_(&byte, 1) != 0) refuse("the end of the file, got more bytes");
}

void ContainerReader::skip() {
  open(table_[next_].tag, table_[next_].length);
  std::vector<unsigned char> piece(static_cast<std::size_t>(std::min<std::uint64_t>(left_, kSkipPiece)));
  while (left_ > 0)
    read(piece.data(), static_cast<std::size_t>(std::min<std::uint64_t>(left_, piece.size())));
  close();
}

void ContainerReader::fill(void* out, std::size_t size) {
  auto p = static_cast<unsigned char*>(out);
  while (size > 0) {
    check_stop();
    const std::size_t n = source_(p, size);
    if (n > size)
      throw std::invalid_argument("source: expected at most " + std::to_string(size) + " bytes, got " +
                                  std::to_string(n));
    if (n == 0) refuse(std::to_string(size) + " more bytes, got the end of the file: it is truncated");
    p += n;
    size -= n;
  }
}

}  // namespace whimbrel
