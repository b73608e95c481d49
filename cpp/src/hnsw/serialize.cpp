// The index as a container file (cpp/FORMAT.md, "Sections of an index"), and back, trusting nothing.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/container.hpp"
#include "base/file_io.hpp"
#include "base/hooks.hpp"
#include "hnsw/byte_rows.hpp"
#include "hnsw/codes.hpp"
#include "hnsw/impl.hpp"
#include "hnsw/loaded_graph.hpp"
#include "hnsw/rows.hpp"
#include "hnsw/vector_sums.hpp"

namespace whimbrel {
namespace {

constexpr Tag kKind = make_tag("HNSW");
constexpr Tag kParams = make_tag("PARM"), kName = make_tag("NAME"), kVectors = make_tag("VECS"),
              kLevels = make_tag("LEVL"), kLinks = make_tag("LNK0"), kUpper = make_tag("LNKU"),
              kIds = make_tag("IDS "), kDimOrder = make_tag("DIMO"), kCodec = make_tag("CODC"),
              kCodecOf4Bits = make_tag("COD4"), kCodecValues = make_tag("CODV"), kCodes = make_tag("CODE"),
              kTuned = make_tag("TUNE"), kVectorSums = make_tag("VSUM");

/// The section PARM, byte for byte.
struct Params {
  std::uint64_t dim, size, n_upper, seed;
  double batch_growth;
  std::uint32_t metric, M, ef_construction, ef_search, keep_pruned, entry, max_level, explicit_ids,
      ordered_dims, vector_form;
};
static_assert(sizeof(Params) == 80);
/// What the section VECS holds.
enum VectorForm : std::uint32_t {
  kFloats = 0,
  kElsewhere = 1,
  kHalves = 2,
  kInt8s = 3,
  kUint8s = 4,
  kCodesOnly = 5
};

/// The section CODC or COD4, byte for byte.
struct CodecParams {
  std::uint64_t trained_size;
  std::uint32_t codec, code_dim, projected;
  float step, rerank;
  std::uint32_t no_vectors;  // once there are codes
};
static_assert(sizeof(CodecParams) == 32);
/// A row of the section TUNE, byte for byte.
struct TunedRow {
  double recall, measured;
  std::uint64_t k;
  std::uint32_t ef_search, reserved;
};
static_assert(sizeof(TunedRow) == 32);
/// More than training chooses.
constexpr float kMaxRerank = 100;

[[noreturn]] void damaged(const std::string& what) { throw FormatError("file: expected " + what); }

template <class T>
SectionToWrite rows_section(Tag tag, const BlockRows<T>& rows) {
  return {
      tag, false, rows.bytes(), [&rows](const ByteSink& sink) {
        rows.for_each_run([&](const T* data, std::size_t n) { sink(data, n * rows.stride() * sizeof(T)); });
      }};
}

/// Grows with what was really read, so that a false size runs into the end of the file, not out of memory.
template <class T>
void read_rows(ContainerReader& reader, Tag tag, std::size_t n, BlockRows<T>& rows) {
  if (n > SIZE_MAX / (rows.stride() * sizeof(T))) damaged("a size that fits in memory");
  reader.open(tag, n * rows.stride() * sizeof(T));
  const std::size_t step = std::max<std::size_t>(1, (std::size_t{1} << 20) / (rows.stride() * sizeof(T)));
  for (std::size_t i = 0; i < n; i += step) {
    const std::size_t end = std::min(n, i + step);
    rows.resize(end, n);
    for (std::size_t r = i; r < end; ++r) reader.read(rows.row(r), rows.stride() * sizeof(T));
  }
  reader.close();
}

std::uint32_t vector_form(const HnswIndex::Impl& index) {
  const Graph& g = index.graph;
  if (g.only_codes()) return kCodesOnly;
  if (!index.has_vectors()) return kElsewhere;
  if (g.in_bytes()) return g.params.vector_type == VectorType::kInt8 ? kInt8s : kUint8s;
  return g.in_halves() ? kHalves : kFloats;
}

/// fn of each array of a quantizer, in the order of the file.
template <class Q, class Fn>
void for_each_array(Q& quantizer, Fn fn) {
  fn(quantizer.center);
  fn(quantizer.middle);
  fn(quantizer.columns);
}

/// Optional, since a reader that does not know them searches the vectors instead.
void append_codec_sections(const Graph& g, const CodecParams& params, std::vector<SectionToWrite>& sections) {
  if (g.params.codec == Codec::kF32) return;
  // Another tag, so that a reader that knows 8 bits alone does not take codes of 4 for them.
  const bool of_4_bits = g.params.codec == Codec::kSq4 || (!g.quantizer.empty() && g.quantizer.bits == 4);
  sections.push_back({of_4_bits ? kCodecOf4Bits : kCodec, true, sizeof params,
                      [&params](const ByteSink& out) { out(&params, sizeof params); }});
  if (g.quantizer.empty()) return;
  sections.push_back({kCodecValues, true, g.quantizer.bytes(), [&g](const ByteSink& out) {
                        for_each_array(g.quantizer, [&](const std::vector<float>& values) {
                          out(values.data(), values.size() * sizeof(float));
                        });
                      }});
  sections.push_back(rows_section(kCodes, g.codes));
  sections.back().optional = true;
}

/// The section VECS.
SectionToWrite vectors_section(const Graph& g, bool with_vectors) {
  if (!with_vectors || g.only_codes()) return {kVectors, false, 0, [](const ByteSink&) {}};
  if (g.in_bytes()) return rows_section(kVectors, g.codes);
  if (g.in_halves()) return rows_section(kVectors, g.halves);
  if (!g.callers_rows) return rows_section(kVectors, g.vectors);
  return {kVectors, false, std::uint64_t{g.size()} * g.padded_dim() * sizeof(float),
          [&g](const ByteSink& out) {
            std::vector<float> row(g.padded_dim());
            for (std::size_t i = 0; i < g.size(); ++i) {
              std::copy_n(g.vectors.row(i), g.dim, row.data());
              check_still_finite(row.data(), g.dim, i);
              out(row.data(), row.size() * sizeof(float));
            }
          }};
}

void check_sums(ContainerReader& reader, const Graph& g, bool all) {
  if (!reader.has(kVectorSums)) damaged("checksums of the vectors that it does not have");
  VectorSums saved;
  reader.open(kVectorSums, sizeof saved);
  reader.read(&saved, sizeof saved);
  reader.close();
  const VectorSums given = sum_vectors(g, all);
  if (given.sample != saved.sample || (all && given.all != saved.all))
    throw std::invalid_argument("vectors: expected those with which the index was saved, got others");
}

/// What the field explicit_ids says.
constexpr std::uint32_t kRowNumbers = 0, kGiven = 1, kNumbered = 2;

std::uint32_t ids_kind(const IdMap& ids) {
  return !ids.stored() ? kRowNumbers : ids.numbered() ? kNumbered : kGiven;
}

/// Ids by row, and the next number if the index gives them.
SectionToWrite ids_section(const IdMap& ids) {
  const std::size_t n = ids.size() + ids.numbered();
  return {kIds, false, n * sizeof(std::int64_t), [&ids, n](const ByteSink& out) {
            for (std::size_t i = 0; i < n; ++i) {
              const std::int64_t id = i < ids.size() ? ids.id(i) : ids.next();
              out(&id, sizeof id);
            }
          }};
}

void read_ids(ContainerReader& reader, std::uint32_t kind, std::size_t size, IdMap& ids) {
  if (kind == kRowNumbers) return ids.append(ids.name(size, {}));
  if (kind != kGiven && kind != kNumbered) damaged("ids of a known kind");
  BlockRows<std::int64_t> rows(1);
  read_rows(reader, kIds, size + (kind == kNumbered), rows);
  CountedVector<std::int64_t> values;
  for (std::size_t i = 0; i < rows.size(); ++i) values.push_back(rows[i]);
  std::int64_t next = 0;
  if (kind == kNumbered) {
    next = values.back();
    values.pop_back();
  }
  try {
    ids.restore(values, kind == kNumbered, next);
  } catch (const std::invalid_argument& e) {
    throw FormatError(std::string("file: ") + e.what());
  }
}

/// The name of the distance, which has to be that of `given`: nobody else knows what it means.
UserDistance read_distance(ContainerReader& reader, const UserDistance& given) {
  const std::uint64_t length = reader.has(kName) ? reader.length(kName) : 0;
  if (length == 0 || length > kMaxDistanceName) damaged("the name of a distance");
  std::string name(length, ' ');
  reader.open(kName, length);
  reader.read(name.data(), length);
  reader.close();
  if (!given.measure || given.name != name)
    throw std::invalid_argument("distance: expected '" + name + "', which the index was built with, got " +
                                (given.measure ? "'" + given.name + "'" : "none"));
  return given;
}

void read_tuned(ContainerReader& reader, std::vector<TunedEf>& tuned) {
  if (!reader.has(kTuned)) return;
  const std::uint64_t length = reader.length(kTuned);
  if (length == 0 || length % sizeof(TunedRow) != 0 || length / sizeof(TunedRow) > kMaxTuned)
    damaged("a few results of tuning");
  reader.open(kTuned, length);
  for (std::uint64_t i = 0; i < length / sizeof(TunedRow); ++i) {
    TunedRow row;
    reader.read(&row, sizeof row);
    const bool shares = row.recall > 0 && row.recall <= 1 && row.measured >= 0 && row.measured <= 1;
    if (!shares || row.k == 0 || row.k > kMaxNodes || row.ef_search == 0 || row.ef_search > kMaxEf)
      damaged("results of tuning in range");
    tuned.push_back({row.recall, row.k, row.ef_search, row.measured});
  }
  reader.close();
}

/// The rows of a section, read into memory or left in the file.
template <class T>
void load_rows(ContainerReader& reader, Tag tag, std::size_t n, MappedFile* file, BlockRows<T>& rows) {
  if (file != nullptr)
    rows = file->take<T>(reader, tag, n, rows.stride());
  else
    read_rows(reader, tag, n, rows);
}

void load_byte_rows(ContainerReader& reader, std::size_t n, MappedFile* file, Graph& g) {
  load_rows(reader, kVectors, n, file, g.codes);
  if (file != nullptr) file->fetch_taken();
  g.code_terms.reserve(n);
  for (std::size_t i = 0; i < n; ++i) {
    if (i % 4096 == 0) check_stop();
    g.code_terms.push_back(byte_terms(g, g.codes.row(i)));
  }
}

void read_codec(ContainerReader& reader, Graph& g, MappedFile* file) {
  const bool of_4_bits = reader.has(kCodecOf4Bits);
  if (!of_4_bits && !reader.has(kCodec)) return;
  if (g.measured_once()) damaged("no codec of such vectors");
  CodecParams p;
  reader.open(of_4_bits ? kCodecOf4Bits : kCodec, sizeof p);
  reader.read(&p, sizeof p);
  reader.close();
  const bool halves = p.codec == static_cast<std::uint32_t>(Codec::kF16);
  const auto own = static_cast<std::uint32_t>(of_4_bits ? Codec::kSq4 : Codec::kSq8);
  if (!(halves && !of_4_bits) && p.codec != own && p.codec != static_cast<std::uint32_t>(Codec::kAuto))
    damaged("a known codec");
  if (p.no_vectors > 1 || (p.no_vectors == 1 && g.params.rerank == Rerank::kF16))
    damaged("a known form of the vectors");
  if (p.no_vectors == 1) g.params.rerank = Rerank::kNone;
  if (halves && (!g.in_halves() || p.code_dim != 0)) damaged("vectors in float16, and no codes");
  if (p.trained_size > g.size()) damaged("a codec learned from rows of the index");
  g.params.codec = static_cast<Codec>(p.codec);
  g.trained_size = p.trained_size;
  if (p.code_dim == 0) return;
  const bool dims = p.projected != 0 ? p.code_dim <= g.dim : p.code_dim == g.dim;
  if (!dims || p.code_dim > kernels::kMaxCodeBytes || p.trained_size == 0) damaged("codes of the vectors");
  if (!(p.step > 0 && std::isfinite(p.step) && p.rerank >= 1 && p.rerank <= kMaxRerank))
    damaged("a step and a width of codes in range");
  ScalarQuantizer& q = g.quantizer;
  q.dim = g.dim;
  q.code_dim = p.code_dim;
  q.has_tail = g.params.metric == Metric::kL2;
  if (of_4_bits) q = q.coarse();
  q.step = p.step;
  q.rerank = p.rerank;
  q.center.resize(q.dim);
  q.middle.resize(q.code_dim);
  const std::size_t n_columns = p.projected != 0 ? q.dim * q.padded_dim() : 0;
  reader.open(kCodecValues, (q.center.size() + q.middle.size() + n_columns) * sizeof(float));
  reader.read(q.center.data(), q.center.size() * sizeof(float));
  reader.read(q.middle.data(), q.middle.size() * sizeof(float));
  // Row by row, so that a false size runs into the end of the file, not out of memory.
  for (std::size_t i = 0; i < n_columns; i += q.padded_dim()) {
    q.columns.resize(i + q.padded_dim());
    reader.read(q.columns.data() + i, q.padded_dim() * sizeof(float));
  }
  reader.close();
  for_each_array(q, [](const std::vector<float>& values) {
    if (!std::ranges::all_of(values, [](float x) { return std::isfinite(x); }))
      damaged("finite values of a codec");
  });
  BlockRows<std::uint8_t> codes(q.stride());
  load_rows(reader, kCodes, g.size(), file, codes);
  g.codes = std::move(codes);
}

}  // namespace

void HnswIndex::save(const ByteSink& sink, const SaveOptions& options) const {
  const auto lock = impl_->mutex.read();
  if (impl_->file) impl_->file->verify();  // a copy of damaged rows would have a checksum that fits
  const Graph& g = impl_->graph;
  const bool with_vectors = options.vectors && impl_->has_vectors();
  if (!options.vectors &&
      (g.params.rerank != Rerank::kF32 || g.in_bytes() || g.live.count() < g.size() || !impl_->has_vectors()))
    throw std::invalid_argument(
        "vectors: expected float32 and no removed rows to save an index without them; compact() it first");
  const VectorSums sums = options.vectors ? VectorSums{} : sum_vectors(g, true);
  const HnswParams p = params();
  const Params fixed{g.dim,
                     g.size(),
                     g.upper_links.size(),
                     p.seed,
                     p.batch_growth,
                     static_cast<std::uint32_t>(p.metric),
                     p.M,
                     p.ef_construction,
                     p.ef_search,
                     p.keep_pruned,
                     g.entry,
                     static_cast<std::uint32_t>(g.max_level),
                     ids_kind(impl_->ids),
                     options.vectors && !g.dim_order.empty(),
                     with_vectors ? vector_form(*impl_) : kElsewhere};
  std::vector<SectionToWrite> sections{
      {kParams, false, sizeof fixed, [&fixed](const ByteSink& out) { out(&fixed, sizeof fixed); }}};
  if (p.metric == Metric::kUser)  // optional, since a reader that does not know it does not know the metric
    sections.push_back({kName, true, p.distance.name.size(),
                        [&p](const ByteSink& out) { out(p.distance.name.data(), p.distance.name.size()); }});
  sections.push_back(vectors_section(g, with_vectors));
  sections.push_back(rows_section(kLevels, g.level));
  sections.push_back(rows_section(kLinks, g.links0));
  sections.push_back(rows_section(kUpper, g.upper_links));
  if (fixed.ordered_dims != 0)
    sections.push_back(
        {kDimOrder, false, g.dim_order.size() * sizeof(std::uint32_t),
         [&g](const ByteSink& out) { out(g.dim_order.data(), g.dim_order.size() * sizeof(std::uint32_t)); }});
  if (impl_->ids.stored()) sections.push_back(ids_section(impl_->ids));
  const CodecParams codec{g.trained_size,
                          static_cast<std::uint32_t>(p.codec),
                          static_cast<std::uint32_t>(g.quantizer.code_dim),
                          !g.quantizer.columns.empty(),
                          g.quantizer.step,
                          g.quantizer.rerank,
                          p.rerank == Rerank::kNone};
  append_codec_sections(g, codec, sections);
  const std::vector<TunedEf> results = tuned();
  if (!results.empty())  // optional: searches that do not ask for a recall need none of it
    sections.push_back({kTuned, true, results.size() * sizeof(TunedRow), [&](const ByteSink& out) {
                          for (const TunedEf& t : results) {
                            const TunedRow row{t.recall, t.measured, t.k, t.ef_search, 0};
                            out(&row, sizeof row);
                          }
                        }});
  if (!options.vectors)
    sections.push_back(
        {kVectorSums, true, sizeof sums, [&](const ByteSink& out) { out(&sums, sizeof sums); }});
  write_container(kKind, sections, sink);
}

void HnswIndex::save(const std::string& path, const SaveOptions& options) const {
  write_file_atomically(path, [&](const ByteSink& sink) { save(sink, options); });
}

HnswIndex HnswIndex::Impl::load(const ByteSource& source, bool with_vectors, const LoadOptions& options,
                                std::unique_ptr<MappedFile> file) {
  ContainerReader reader(source, kKind);
  Params p;
  reader.open(kParams, sizeof p);
  reader.read(&p, sizeof p);
  reader.close();
  HnswParams params;
  params.metric = static_cast<Metric>(p.metric);
  params.M = p.M;
  params.ef_construction = p.ef_construction;
  params.ef_search = p.ef_search;
  params.seed = p.seed;
  params.batch_growth = p.batch_growth;
  params.keep_pruned = p.keep_pruned != 0;
  if (p.vector_form == kHalves) {
    params.codec = Codec::kF16;  // unless the section of a codec says otherwise
    params.rerank = Rerank::kF16;
  }
  if (p.vector_form == kCodesOnly) {
    params.codec = Codec::kSq8;  // the section of the codec says which
    params.rerank = Rerank::kNone;
  }
  if (p.vector_form == kInt8s) params.vector_type = VectorType::kInt8;
  if (p.vector_form == kUint8s) params.vector_type = VectorType::kUint8;
  if (params.metric == Metric::kUser)
    params.distance = read_distance(reader, options.distance);
  else if (options.distance.measure)
    throw std::invalid_argument("distance: expected none with the metric of the index, got '" +
                                options.distance.name + "'");
  try {
    check_params(p.dim, params);
  } catch (const std::invalid_argument& e) {
    throw FormatError(std::string("file: ") + e.what());
  }
  if (p.vector_form > kCodesOnly) damaged("a known form of vectors");
  const bool in_file = with_vectors && !options.vectors;
  if (options.vectors && p.vector_form != kElsewhere)
    throw std::invalid_argument("vectors: expected none for a file that has them");
  if ((p.vector_form == kElsewhere) == in_file)
    damaged(in_file ? "an index with its vectors, got one without: pass them" : "a graph without vectors");
  if (p.size > kMaxNodes || p.n_upper > kMaxNodes) damaged("at most 2^31 - 2 nodes");
  auto impl = std::make_unique<Impl>(p.dim, params);
  Graph& g = impl->graph;
  g.entry = p.entry;
  g.max_level = p.max_level;
  if (g.in_bytes())
    load_byte_rows(reader, p.size, file.get(), g);
  else if (g.in_halves())
    load_rows(reader, kVectors, p.size, file.get(), g.halves);
  else
    load_rows(reader, kVectors, in_file && p.vector_form != kCodesOnly ? p.size : 0, file.get(), g.vectors);
  if (options.vectors) {
    if (options.vectors->rows != p.size || options.vectors->cols != p.dim)
      throw std::invalid_argument("vectors: expected shape (" + std::to_string(p.size) + ", " +
                                  std::to_string(p.dim) + "), got (" + std::to_string(options.vectors->rows) +
                                  ", " + std::to_string(options.vectors->cols) + ")");
    borrow_rows(g, *options.vectors);
  }
  read_rows(reader, kLevels, p.size, g.level);
  read_rows(reader, kLinks, p.size, g.links0);
  read_rows(reader, kUpper, p.n_upper, g.upper_links);
  g.upper_begin.resize(p.size);
  std::uint64_t upper = 0;
  for (std::size_t i = 0; i < p.size; ++i) {
    g.upper_begin[i] = static_cast<std::uint32_t>(std::min<std::uint64_t>(upper, kNoNode));
    upper += g.level[i];
  }
  if (upper != p.n_upper) damaged("one upper list per node and level");
  check_graph(g);
  if (p.ordered_dims != 0) {
    BlockRows<std::uint32_t> order(1);
    read_rows(reader, kDimOrder, g.dim, order);
    std::vector<bool> seen(g.dim);
    for (std::size_t j = 0; j < g.dim; ++j) {
      if (params.metric != Metric::kL2 || order[j] >= g.dim || seen[order[j]])
        damaged("a permutation of the coordinates");
      seen[order[j]] = true;
      g.dim_order.push_back(order[j]);
    }
  }
  read_ids(reader, p.explicit_ids, p.size, impl->ids);
  read_codec(reader, g, file.get());
  if (!g.dim_order.empty() && (p.vector_form != kFloats || g.params.rerank == Rerank::kNone))
    damaged("coordinates in the caller's order");
  if ((p.vector_form == kCodesOnly) != g.only_codes()) damaged("codes where there are no vectors");
  if (g.only_codes() && !file) {  // a mapped index does not change
    g.code_terms = code_terms(g.quantizer, params.metric, g.codes);
    if (g.code_terms.size() != g.size()) damaged("codes that can be compared");
  }
  read_tuned(reader, impl->tuned);
  if (options.vectors) check_sums(reader, g, options.verify);
  reader.finish();
  if (file && options.verify) file->verify();
  if (!(file || options.vectors) || options.verify) check_stored(g);
  if (!file || options.verify) check_codes(g);
  find_live(*impl);
  if (file) file->drop_pages();
  impl->file = std::move(file);
  return HnswIndex(std::move(impl));
}

HnswIndex HnswIndex::Impl::load_map(std::shared_ptr<const FileMap> map, const LoadOptions& options) {
  auto file = std::make_unique<MappedFile>(std::move(map));
  const ByteSource source = file->source();
  return load(source, true, options, std::move(file));
}

HnswIndex HnswIndex::load(const ByteSource& source, const LoadOptions& options) {
  return Impl::load(source, true, options);
}

HnswIndex HnswIndex::view(std::span<const std::byte> bytes, const LoadOptions& options) {
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % kCacheLine != 0)
    throw std::invalid_argument("bytes: expected an address that is a multiple of 64");
  return Impl::load_map(std::make_shared<const FileMap>(bytes), options);
}

HnswIndex HnswIndex::load(const std::string& path, const LoadOptions& options) {
  if (options.mmap) return Impl::load_map(std::make_shared<const FileMap>(path), options);
  std::unique_ptr<HnswIndex> index;
  read_file(path,
            [&](const ByteSource& source) { index = std::make_unique<HnswIndex>(load(source, options)); });
  return std::move(*index);
}

}  // namespace whimbrel
