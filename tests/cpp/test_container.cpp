#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/container.hpp"

namespace whimbrel {
namespace {

constexpr Tag kKind = make_tag("TEST");

struct Section {
  std::string tag;
  std::string bytes;
  bool optional = false;
};

Tag tag_of(const std::string& s) { return make_tag({s[0], s[1], s[2], s[3], '\0'}); }

/// Sections are pushed byte by byte, so that nothing depends on the pieces.
std::string written(const std::vector<Section>& sections, Tag kind = kKind) {
  std::vector<SectionToWrite> to_write;
  for (const Section& section : sections)
    to_write.push_back(
        {tag_of(section.tag), section.optional, section.bytes.size(), [&](const ByteSink& sink) {
           for (const char& byte : section.bytes) sink(&byte, 1);
         }});
  std::string file;
  write_container(kind, to_write, [&](const void* data, std::size_t size) {
    file.append(static_cast<const char*>(data), size);
  });
  return file;
}

/// Gives at most `piece` bytes per call.
ByteSource source_of(const std::string& file, std::size_t piece = 1000) {
  return [&file, piece, at = std::size_t{0}](void* data, std::size_t size) mutable {
    const std::size_t n = std::min({size, piece, file.size() - at});
    std::memcpy(data, file.data() + at, n);
    at += n;
    return n;
  };
}

/// Reads the sections of these names, each whole, and finishes.
std::vector<std::string> read(const std::string& file, const std::vector<std::string>& tags,
                              std::size_t piece = 1000) {
  const ByteSource source = source_of(file, piece);
  ContainerReader reader(source, kKind);
  std::vector<std::string> contents;
  for (const std::string& name : tags) {
    std::string bytes(static_cast<std::size_t>(reader.length(tag_of(name))), '\0');
    reader.open(tag_of(name), bytes.size());
    reader.read(bytes.data(), bytes.size());
    reader.close();
    contents.push_back(bytes);
  }
  reader.finish();
  return contents;
}

std::string message_of(const std::string& file, const std::vector<std::string>& tags = {}) {
  try {
    read(file, tags);
  } catch (const FormatError& error) {
    return error.what();
  }
  return "";
}

template <class T>
T at(const std::string& file, std::size_t offset) {
  T value;
  std::memcpy(&value, file.data() + offset, sizeof value);
  return value;
}

template <class T>
void put(std::string& file, std::size_t offset, T value) {
  std::memcpy(file.data() + offset, &value, sizeof value);
}

/// The same file, its header changed by somebody who also corrected the checksum. One or two sections.
template <class T>
std::string forged(std::string file, std::size_t offset, T value) {
  put(file, offset, value);
  put(file, 56, std::uint64_t{0});
  Xxh64 checksum;
  checksum.update(file.data(), 128);
  put(file, 56, checksum.digest());
  return file;
}

const std::vector<Section> kTwo = {{"ABCD", "some bytes"}, {"EFGH", std::string(70, 'x')}};

TEST_CASE("what was written is read, whatever the pieces") {
  const std::string file = written(kTwo);
  for (const std::size_t piece : {1u, 7u, 64u, 1000u})
    CHECK(read(file, {"ABCD", "EFGH"}, piece) == std::vector{kTwo[0].bytes, kTwo[1].bytes});
}

TEST_CASE("a container may have no section, and a section no byte") {
  CHECK(read(written({}), {}).empty());
  CHECK(read(written({{"NONE", ""}}), {"NONE"}) == std::vector<std::string>{""});
}

TEST_CASE("the bytes are where the format says") {
  const std::string file = written(kTwo);
  CHECK(file.size() == 64 + 64 + 64 + 128);
  CHECK(file.substr(0, 8) == "WHIMBREL");
  CHECK(at<std::uint32_t>(file, 8) == 0x01020304);
  CHECK(at<std::uint32_t>(file, 12) == 1);
  CHECK(file.substr(16, 4) == "TEST");
  CHECK(at<std::uint32_t>(file, 20) == 2);
  CHECK(at<std::uint64_t>(file, 24) == file.size());
  CHECK(file.substr(32, 24) == std::string(24, '\0'));
  CHECK(forged(file, 16, kKind) == file);  // the checksum at 56

  CHECK(file.substr(64, 4) == "ABCD");
  CHECK(at<std::uint32_t>(file, 68) == 0);
  CHECK(at<std::uint64_t>(file, 72) == 128);
  CHECK(at<std::uint64_t>(file, 80) == 10);
  Xxh64 checksum;
  checksum.update(file.data() + 128, 64);
  CHECK(at<std::uint64_t>(file, 88) == checksum.digest());
  CHECK(file.substr(96, 4) == "EFGH");
  CHECK(at<std::uint64_t>(file, 104) == 192);
  CHECK(at<std::uint64_t>(file, 112) == 70);

  CHECK(file.substr(128, 64) == "some bytes" + std::string(54, '\0'));
  CHECK(file.substr(192, 128) == std::string(70, 'x') + std::string(58, '\0'));
}

TEST_CASE("every truncation is found") {
  const std::string file = written(kTwo);
  for (std::size_t size = 0; size < file.size(); ++size)
    CHECK_THROWS_AS(read(file.substr(0, size), {"ABCD", "EFGH"}), FormatError);
}

TEST_CASE("every flipped bit is found") {
  std::vector<Section> sections = kTwo;
  sections.push_back({"SKIP", "optional, and skipped", true});  // three rows: the table is padded, too
  std::string file = written(sections);
  REQUIRE_NOTHROW(read(file, {"ABCD", "EFGH"}));
  for (std::size_t bit = 0; bit < 8 * file.size(); ++bit) {
    const auto mask = static_cast<char>(1 << bit % 8);
    file[bit / 8] ^= mask;
    CHECK_THROWS_AS(read(file, {"ABCD", "EFGH"}), FormatError);
    file[bit / 8] ^= mask;
  }
}

TEST_CASE("bytes after the end are found") {
  CHECK(message_of(written(kTwo) + '\0', {"ABCD", "EFGH"}) ==
        "file: expected the end of the file, got more bytes");
}

TEST_CASE("messages say what is wrong and where") {
  std::string file = written(kTwo);
  CHECK(message_of("some other file") == "file: expected a whimbrel file, got something else");
  CHECK(message_of("") == "file: expected 8 more bytes, got the end of the file: it is truncated");
  put(file, 12, std::uint32_t{7});
  CHECK(message_of(file) == "file: expected format version 1, got 7");
  file = written(kTwo);
  put(file, 8, std::uint32_t{0x04030201});
  CHECK(message_of(file) == "file: expected little-endian byte order");
  file = written(kTwo);
  file[200] = 'y';
  CHECK(message_of(file, {"ABCD", "EFGH"}) ==
        "file: expected checksum of section EFGH to match, the data are damaged");
  CHECK(message_of(written(kTwo, make_tag("ELSE"))) == "file: expected kind TEST, got ELSE");
  CHECK(message_of(written(kTwo), {"ABCD", "IJKL"}) == "file: expected a section IJKL, got none");
}

TEST_CASE("a wrong table is found even if its checksum is right") {
  const std::string file = written(kTwo);
  CHECK(message_of(forged(file, 20, std::uint32_t{2000})) ==
        "file: expected at most 1024 sections, got 2000");
  CHECK(message_of(forged(file, 40, 'x')) == "file: expected reserved bytes to be zero");
  CHECK(message_of(forged(file, 24, std::uint64_t{64})) ==
        "file: expected a file size that fits the section table");
  CHECK(message_of(forged(file, 24, std::uint64_t{321})) ==
        "file: expected a file size that fits the section table");
  CHECK(message_of(forged(file, 24, std::uint64_t{1} << 63)) ==
        "file: expected a file of 320 bytes, got 9223372036854775808");
  CHECK(message_of(forged(file, 96, make_tag("ABCD"))) == "file: expected one section ABCD, got two");
  CHECK(message_of(forged(file, 68, std::uint32_t{2})) == "file: expected known flags of section ABCD");
  for (const std::uint64_t value :
       {std::uint64_t{0}, std::uint64_t{129}, std::uint64_t{192}, ~std::uint64_t{0}})
    CHECK(message_of(forged(file, 72, value)) == "file: expected section ABCD within the file");
  for (const std::uint64_t value : {std::uint64_t{193}, ~std::uint64_t{0}, ~std::uint64_t{0} - 63})
    CHECK(message_of(forged(file, 80, value)) == "file: expected section ABCD within the file");
}

TEST_CASE("an unexpected length is found before anything is read") {
  const std::string file = written(kTwo);
  const ByteSource source = source_of(file);
  ContainerReader reader(source, kKind);
  CHECK_THROWS_WITH_AS(reader.open(tag_of("ABCD"), 11), "file: expected section ABCD of 11 bytes, got 10",
                       FormatError);
}

TEST_CASE("a section must be read whole and not beyond") {
  const std::string file = written(kTwo);
  const ByteSource source = source_of(file);
  ContainerReader reader(source, kKind);
  char bytes[20];
  reader.open(tag_of("ABCD"), 10);
  reader.read(bytes, 4);
  CHECK_THROWS_WITH_AS(reader.read(bytes, 7), "file: expected 7 more bytes in section ABCD, got 6",
                       FormatError);
  CHECK_THROWS_WITH_AS(reader.close(), "file: expected the end of section ABCD, got 6 more bytes",
                       FormatError);
}

TEST_CASE("sections come in the order of the file") {
  const std::string file = written(kTwo);
  const ByteSource source = source_of(file);
  ContainerReader reader(source, kKind);
  CHECK_THROWS_WITH_AS(reader.open(tag_of("EFGH"), 70), "file: expected section EFGH, got ABCD", FormatError);
}

TEST_CASE("optional sections may be read or skipped, others must be known") {
  const std::string long_note(200'000, 'n');
  const std::string file = written({{"NOTE", long_note, true}, {"ABCD", "data"}, {"TAIL", "more", true}});
  CHECK(read(file, {"ABCD"}) == std::vector<std::string>{"data"});
  CHECK(read(file, {"NOTE", "ABCD", "TAIL"}) == std::vector<std::string>{long_note, "data", "more"});
  CHECK(message_of(file, {"TAIL"}) == "file: expected section TAIL, got ABCD");
  CHECK(message_of(written(kTwo), {"ABCD"}) == "file: expected no section EFGH");

  const ByteSource source = source_of(file);
  const ContainerReader reader(source, kKind);
  CHECK(reader.has(tag_of("NOTE")));
  CHECK_FALSE(reader.has(tag_of("EFGH")));
}

TEST_CASE("a section that pushes another length is a bug of the writer") {
  const std::vector<SectionToWrite> sections = {
      {.tag = kKind, .length = 5, .emit = [](const ByteSink& sink) { sink("four", 4); }}};
  CHECK_THROWS_AS(write_container(kKind, sections, [](const void*, std::size_t) {}), std::logic_error);
}

TEST_CASE("exceptions of source and sink pass through") {
  struct Stop {};
  CHECK_THROWS_AS(write_container(kKind, {}, [](const void*, std::size_t) { throw Stop(); }), Stop);
  const ByteSource source = [](void*, std::size_t) -> std::size_t { throw Stop(); };
  CHECK_THROWS_AS(ContainerReader(source, kKind), Stop);
}

}  // namespace
}  // namespace whimbrel
