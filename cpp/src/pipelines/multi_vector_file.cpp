// The index as a container file (cpp/FORMAT.md, "Sections of a multi-vector index"), and back, trusting
// nothing.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/container.hpp"
#include "base/file_io.hpp"
#include "base/file_map.hpp"
#include "exact/token_file.hpp"
#include "hnsw/impl.hpp"
#include "pipelines/multi_vector_impl.hpp"

namespace whimbrel {
namespace {

constexpr Tag kKind = make_tag("MVEC");
constexpr Tag kParams = make_tag("PARM"), kMeta = make_tag("META"), kRemoved = make_tag("GONE"),
              kGraph = make_tag("HNSW"), kBook = make_tag("BOOK"), kCodes = make_tag("CODE");
constexpr std::size_t kPiece = std::size_t{1} << 20;

/// The section PARM, byte for byte.
struct Params {
  std::uint64_t dim, encoding_dim, n_docs;
  std::uint32_t store, compressed;
};
static_assert(sizeof(Params) == 32);

[[noreturn]] void damaged(const std::string& what) { throw FormatError("file: expected " + what); }

/// Grows with what was really read, so that a false length runs into the end of the file, not out of memory.
std::string read_bytes(ContainerReader& reader, Tag tag, std::uint64_t length) {
  std::string bytes;
  reader.open(tag, length);
  while (bytes.size() < length) {
    const std::size_t before = bytes.size();
    bytes.resize(before + static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, length - before)));
    reader.read(bytes.data() + before, bytes.size() - before);
  }
  reader.close();
  return bytes;
}

/// A section that is a container itself.
HnswIndex read_graph(ContainerReader& reader, bool with_vectors) {
  const std::uint64_t length = reader.length(kGraph);
  reader.open(kGraph, length);
  std::uint64_t left = length;
  const ByteSource source = [&](void* data, std::size_t size) {
    const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(size, left));
    if (n > 0) reader.read(data, n);
    left -= n;
    return n;
  };
  HnswIndex graph = HnswIndex::Impl::load(source, with_vectors);
  reader.close();
  return graph;
}

void append_codes(const CompressedEncodings& codes, std::vector<SectionToWrite>& sections) {
  const std::vector<float>& book = codes.quantizer.codebook();
  sections.push_back({kBook, false, book.size() * sizeof(float),
                      [&book](const ByteSink& out) { out(book.data(), book.size() * sizeof(float)); }});
  sections.push_back({kCodes, false, codes.codes.bytes(), [&codes](const ByteSink& out) {
                        codes.codes.for_each_run([&](const std::uint8_t* data, std::size_t n) {
                          out(data, n * codes.codes.stride());
                        });
                      }});
}

CompressedEncodings read_codes(ContainerReader& reader, std::size_t dim, std::size_t n_docs) {
  const std::size_t groups = ProductQuantizer::groups(dim);
  const std::string bytes = read_bytes(
      reader, kBook, groups * ProductQuantizer::kGroup * ProductQuantizer::kCentroids * sizeof(float));
  std::vector<float> book(bytes.size() / sizeof(float));
  std::memcpy(book.data(), bytes.data(), bytes.size());
  for (const float x : book)
    if (!std::isfinite(x)) damaged("a finite codebook");
  CompressedEncodings out(ProductQuantizer(dim, std::move(book)));
  reader.open(kCodes, std::uint64_t{n_docs} * groups);
  const std::size_t step = std::max<std::size_t>(1, kPiece / groups);
  for (std::size_t i = 0; i < n_docs; ++i) {
    if (i % step == 0) out.codes.resize(std::min(n_docs, i + step), n_docs);
    reader.read(out.codes.row(i), groups);
  }
  reader.close();
  return out;
}

}  // namespace

void MultiVectorIndex::save(const std::string& path, std::span<const char> metadata) const {
  write_file_atomically(path, [&](const ByteSink& sink) { save(sink, metadata); });
}

void MultiVectorIndex::save(const ByteSink& sink, std::span<const char> metadata) const {
  const auto lock = impl_->mutex.read();
  const Impl& index = *impl_;
  const Params params{index.params.dim, index.params.encoding_dim, index.removed.size(),
                      static_cast<std::uint32_t>(index.params.store), index.codes.has_value()};
  std::uint64_t graph_length = 0;
  index.graph.save([&](const void*, std::size_t size) { graph_length += size; });
  std::vector<SectionToWrite> sections{
      {kParams, false, sizeof params, [&](const ByteSink& out) { out(&params, sizeof params); }},
      {kMeta, false, metadata.size(), [&](const ByteSink& out) { out(metadata.data(), metadata.size()); }},
      {kRemoved, false, index.removed.size(),
       [&](const ByteSink& out) { out(index.removed.data(), index.removed.size()); }}};
  const std::shared_lock tokens_lock(index.tokens.impl().mutex);
  append_token_sections(index.tokens.impl(), sections);
  if (index.codes) append_codes(*index.codes, sections);
  sections.push_back({kGraph, false, graph_length, [&](const ByteSink& out) { index.graph.save(out); }});
  write_container(kKind, sections, sink);
}

/// With a map of the bytes that the source gives, tokens stay there.
MultiVectorIndex::Loaded MultiVectorIndex::Impl::read(const ByteSource& source,
                                                      const std::shared_ptr<const FileMap>& map) {
  std::unique_ptr<Impl> impl;
  std::string metadata;
  ContainerReader reader(source, kKind);
  Params p;
  reader.open(kParams, sizeof p);
  reader.read(&p, sizeof p);
  reader.close();
  if (p.compressed > 1) damaged("encodings as vectors or as codes");
  if (p.store > static_cast<std::uint32_t>(TokenType::kInt8)) damaged("a known type of tokens");
  MultiVectorParams params{p.dim, p.encoding_dim, static_cast<TokenType>(p.store)};
  try {
    impl = std::make_unique<Impl>(params);
  } catch (const std::invalid_argument& e) {
    throw FormatError(std::string("file: ") + e.what());
  }
  metadata = read_bytes(reader, kMeta, reader.length(kMeta));
  const std::string removed = read_bytes(reader, kRemoved, p.n_docs);
  impl->removed.reserve(removed.size());
  for (const char c : removed) {
    if (c != 0 && c != 1) damaged("marks that are 0 or 1");
    impl->removed.push_back(static_cast<std::uint8_t>(c));
  }
  read_token_sections(reader, p.n_docs, map, impl->tokens.impl());
  impl->mark_new();
  if (p.compressed != 0) impl->codes.emplace(read_codes(reader, p.encoding_dim, p.n_docs));
  impl->graph = read_graph(reader, p.compressed == 0);
  reader.finish();
  impl->params.graph = impl->graph.params();
  if (impl->graph.size() != p.n_docs || impl->graph.dim() != p.encoding_dim ||
      impl->params.graph.metric != Metric::kIp || impl->params.graph.vector_type != VectorType::kFloat32 ||
      impl->params.graph.rerank != Rerank::kF32)
    damaged("a graph of as many encodings by inner product as there are documents");
  const std::vector<std::int64_t> ids = impl->graph.ids();
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (ids[i] != static_cast<std::int64_t>(i)) damaged("a graph whose ids are the numbers of documents");
  return {MultiVectorIndex(std::move(impl)), std::move(metadata)};
}

MultiVectorIndex::Loaded MultiVectorIndex::load(const ByteSource& source) {
  return Impl::read(source, nullptr);
}

MultiVectorIndex::Loaded MultiVectorIndex::load(const std::string& path, bool mmap) {
  if (mmap) return Impl::read_map(std::make_shared<const FileMap>(path));
  std::optional<Loaded> loaded;
  read_file(path, [&](const ByteSource& source) { loaded.emplace(load(source)); });
  return std::move(*loaded);
}

MultiVectorIndex::Loaded MultiVectorIndex::view(std::span<const std::byte> bytes) {
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(float) != 0)
    throw std::invalid_argument("bytes: expected an address that is a multiple of 4");
  return Impl::read_map(std::make_shared<const FileMap>(bytes));
}

/// What is verified is what is used.
MultiVectorIndex::Loaded MultiVectorIndex::Impl::read_map(const std::shared_ptr<const FileMap>& map) {
  return read(bytes_source(map->bytes()), map);
}

}  // namespace whimbrel
