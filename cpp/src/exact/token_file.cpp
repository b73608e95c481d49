#include "exact/token_file.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "base/ragged.hpp"

namespace whimbrel {
namespace {

constexpr Tag kOffsets = make_tag("OFFS"), kTokens = make_tag("TOKS"), kScales = make_tag("SCAL");
constexpr std::size_t kPiece = std::size_t{1} << 20;

[[noreturn]] void damaged(const std::string& what) { throw FormatError("file: expected " + what); }

bool usable(float x) { return std::isfinite(x); }
bool usable(std::uint16_t half) { return (half & 0x7c00) != 0x7c00; }
bool usable(std::int8_t code) { return code >= -127; }

std::size_t n_rows(const TokenStore::Impl& store) { return static_cast<std::size_t>(store.offsets.back()); }

template <class T>
SectionToWrite rows_section(const TokenStore::Impl& store, const BlockRows<T>& rows) {
  const std::uint64_t bytes = std::uint64_t{n_rows(store)} * store.dim * sizeof(T);
  return {kTokens, false, bytes, [&store, &rows](const ByteSink& out) {
            if (store.map) {
              for (std::size_t i = 0; i < n_rows(store); ++i) out(store.row(rows, i), store.dim * sizeof(T));
            } else {
              rows.for_each_run([&](const T* data, std::size_t n) { out(data, n * store.dim * sizeof(T)); });
            }
          }};
}

/// Rows of `width` values that must all be usable; into `rows`, or only looked at if that is null. Memory
/// grows with what was really read.
template <class T>
void read_rows(ContainerReader& reader, Tag tag, std::size_t n, std::size_t width, BlockRows<T>* rows) {
  if (n > SIZE_MAX / (width * sizeof(T))) damaged("a size that fits in memory");
  reader.open(tag, std::uint64_t{n} * width * sizeof(T));
  const std::size_t step = std::max<std::size_t>(1, kPiece / (width * sizeof(T)));
  std::vector<T> piece(rows == nullptr ? width : 0);
  for (std::size_t i = 0; i < n; ++i) {
    if (rows != nullptr && i % step == 0) rows->resize(std::min(n, i + step), n);
    T* row = rows != nullptr ? rows->row(i) : piece.data();
    reader.read(row, width * sizeof(T));
    if (!std::all_of(row, row + width, [](T x) { return usable(x); })) damaged("finite tokens");
  }
  reader.close();
}

}  // namespace

void append_token_sections(const TokenStore::Impl& store, std::vector<SectionToWrite>& sections) {
  sections.push_back(
      {kOffsets, false, store.offsets.size() * sizeof(std::int64_t), [&store](const ByteSink& out) {
         out(store.offsets.data(), store.offsets.size() * sizeof(std::int64_t));
       }});
  if (store.type == TokenType::kFloat32) sections.push_back(rows_section(store, store.floats));
  if (store.type == TokenType::kFloat16) sections.push_back(rows_section(store, store.halves));
  if (store.type == TokenType::kInt8) {
    sections.push_back(rows_section(store, store.bytes));
    sections.push_back({kScales, false, store.scales.bytes(), [&store](const ByteSink& out) {
                          store.scales.for_each_run(
                              [&](const float* data, std::size_t n) { out(data, n * sizeof(float)); });
                        }});
  }
}

void read_token_sections(ContainerReader& reader, std::uint64_t n_docs,
                         const std::shared_ptr<const FileMap>& map, TokenStore::Impl& store) {
  if (n_docs > std::numeric_limits<std::uint32_t>::max()) damaged("at most 2^32 - 1 documents");
  reader.open(kOffsets, (n_docs + 1) * sizeof(std::int64_t));
  store.offsets.clear();
  for (std::uint64_t i = 0; i <= n_docs; ++i) {
    std::int64_t offset;
    reader.read(&offset, sizeof offset);
    store.offsets.push_back(offset);
  }
  reader.close();
  if (store.offsets.back() < 0) damaged("offsets that never fall");
  const std::size_t n = n_rows(store);
  try {
    check_offsets("file", store.offsets, n);
  } catch (const std::invalid_argument& e) {
    throw FormatError(e.what());
  }
  if (map) {
    store.map = map;
    store.mapped = map->data() + reader.offset(kTokens);
  }
  const auto read = [&](auto& rows) { read_rows(reader, kTokens, n, store.dim, map ? nullptr : &rows); };
  if (store.type == TokenType::kFloat32) read(store.floats);
  if (store.type == TokenType::kFloat16) read(store.halves);
  if (store.type == TokenType::kInt8) {
    read(store.bytes);
    read_rows(reader, kScales, n, 1, &store.scales);
  }
}

}  // namespace whimbrel
