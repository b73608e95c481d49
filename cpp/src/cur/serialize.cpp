// The index as a container file (cpp/FORMAT.md, "Sections of a CUR index"), and back, trusting nothing.
#include <algorithm>
#include <cmath>
#include <mutex>
#include <string>

#include "base/container.hpp"
#include "base/file_io.hpp"
#include "cur/first_stage.hpp"
#include "cur/impl.hpp"

namespace whimbrel {
namespace {

constexpr Tag kKind = make_tag("CURI");
constexpr Tag kParams = make_tag("PARM"), kFeatures = make_tag("FEAT"), kMean = make_tag("MEAN"),
              kFirstMean = make_tag("FMEA"), kFirstSampleTag = make_tag("FSAM"),
              kProjection = make_tag("PROJ"), kRemoved = make_tag("REMV"), kScales = make_tag("SCAL");
/// More anchor queries than anyone can score, few enough that no product of sizes overflows.
constexpr std::uint64_t kMaxQueries = std::uint64_t{1} << 20;
constexpr std::size_t kPiece = std::size_t{1} << 16;

/// The section PARM, byte for byte.
struct Params {
  std::uint64_t n_queries, size, rank, fitted_size;
  double slope, scale, first_gain, first_ridge;
  std::uint32_t storage, center, intercept, first_stage;
};
static_assert(sizeof(Params) == 80);

[[noreturn]] void damaged(const std::string& what) { throw FormatError("file: expected " + what); }

template <class T, class Allocator>
SectionToWrite vector_section(Tag tag, const std::vector<T, Allocator>& values) {
  return {tag, false, values.size() * sizeof(T),
          [&values](const ByteSink& sink) { sink(values.data(), values.size() * sizeof(T)); }};
}

/// Grows with what was really read, so that a false size runs into the end of the file, not out of memory.
template <class T, class Allocator>
void read_vector(ContainerReader& reader, Tag tag, std::size_t n, std::vector<T, Allocator>& values) {
  reader.open(tag, n * sizeof(T));
  values.clear();
  while (values.size() < n) {
    const std::size_t old = values.size();
    values.resize(std::min(n, old + kPiece));
    reader.read(values.data() + old, (values.size() - old) * sizeof(T));
  }
  reader.close();
}

template <class Values>
void check_values(const Values& values, const char* what) {
  for (const auto x : values)
    if (!std::isfinite(x)) damaged(std::string("finite ") + what);
}

void read_features(ContainerReader& reader, std::size_t n, const std::vector<float>& scales,
                   ItemFeatures& features) {
  reader.open(kFeatures, n * features.row_bytes());
  for (std::size_t first = 0; first < n; first += features.chunk_rows()) {
    const std::size_t count = std::min(features.chunk_rows(), n - first);
    features.resize(first + count);
    if (!scales.empty()) std::copy_n(scales.data() + first, count, features.scales().data() + first);
    const std::span<std::byte> bytes = features.stored(first, count);
    reader.read(bytes.data(), bytes.size());
    for (std::size_t i = first; i < first + count; ++i)
      if (!features.valid(i)) damaged("finite features, padded with zeros");
  }
  reader.close();
}

}  // namespace

void CurIndex::save(const ByteSink& sink) const {
  const std::shared_lock lock(impl_->mutex);
  const Impl& index = *impl_;
  const Params params{index.n_queries,
                      index.size(),
                      index.params.rank,
                      index.fitted_size,
                      index.slope,
                      index.scale,
                      index.first_gain,
                      index.first_ridge,
                      static_cast<std::uint32_t>(index.params.storage),
                      index.params.center,
                      index.params.intercept,
                      index.has_first_stage()};
  const auto sample_bytes = static_cast<std::size_t>(index.first_sample.size()) * sizeof(float);
  const auto projection_bytes = static_cast<std::size_t>(index.projection.size()) * sizeof(double);
  std::vector<SectionToWrite> sections{
      {kParams, false, sizeof params, [&params](const ByteSink& out) { out(&params, sizeof params); }},
      vector_section(kMean, index.mean),
      vector_section(kRemoved, index.removed)};
  if (index.has_first_stage()) sections.push_back(vector_section(kFirstMean, index.first_mean));
  if (index.first_gain > 0)
    sections.push_back({kFirstSampleTag, false, sample_bytes,
                        [&](const ByteSink& out) { out(index.first_sample.data(), sample_bytes); }});
  if (index.params.rank > 0)
    sections.push_back({kProjection, false, projection_bytes,
                        [&](const ByteSink& out) { out(index.projection.data(), projection_bytes); }});
  const std::span<const float> scales = index.features.scales();
  if (!scales.empty())
    sections.push_back({kScales, false, scales.size_bytes(),
                        [scales](const ByteSink& out) { out(scales.data(), scales.size_bytes()); }});
  sections.push_back(
      {kFeatures, false, index.size() * index.features.row_bytes(), [&index](const ByteSink& out) {
         const ItemFeatures& f = index.features;
         for (std::size_t first = 0; first < f.size(); first += f.chunk_rows()) {
           const auto bytes = f.stored(first, std::min(f.chunk_rows(), f.size() - first));
           out(bytes.data(), bytes.size());
         }
       }});
  write_container(kKind, sections, sink);
}

void CurIndex::save(const std::string& path) const {
  write_file_atomically(path, [&](const ByteSink& sink) { save(sink); });
}

CurIndex CurIndex::load(const ByteSource& source) {
  ContainerReader reader(source, kKind);
  Params p;
  reader.open(kParams, sizeof p);
  reader.read(&p, sizeof p);
  reader.close();
  if (p.n_queries == 0 || p.n_queries > kMaxQueries) damaged("1 to 2^20 anchor queries");
  if (p.size == 0 || p.size >= std::uint64_t{1} << 31) damaged("1 to 2^31 - 1 items");
  if (p.rank > p.n_queries) damaged("a rank of at most the number of anchor queries");
  if (p.storage > 2 || p.center > 1 || p.intercept > 1 || p.first_stage > 1) damaged("known parameters");
  if (!std::isfinite(p.slope) || !std::isfinite(p.scale) || p.scale < 0) damaged("a finite slope and scale");
  if (!std::isfinite(p.first_gain) || p.first_gain < 0 || !std::isfinite(p.first_ridge) || p.first_ridge < 0)
    damaged("a finite gain and ridge of the first stage");
  if (p.fitted_size > p.size || (p.first_gain > 0 && (p.first_stage == 0 || p.fitted_size == 0)))
    damaged("a first stage of at most the items there are");
  CurParams params;
  params.storage = static_cast<CurStorage>(p.storage);
  params.center = p.center != 0;
  params.intercept = p.intercept != 0;
  params.rank = p.rank;
  auto impl = std::make_unique<Impl>(p.n_queries, p.rank > 0 ? p.rank : p.n_queries, params);
  impl->slope = p.slope;
  impl->scale = p.scale;
  impl->first_gain = p.first_gain;
  impl->first_ridge = p.first_ridge;
  impl->fitted_size = p.fitted_size;
  read_vector(reader, kMean, p.size, impl->mean);
  check_values(impl->mean, "means");
  read_vector(reader, kRemoved, p.size, impl->removed);
  if (std::any_of(impl->removed.begin(), impl->removed.end(), [](std::uint8_t r) { return r > 1; }))
    damaged("marks of 0 or 1");
  if (p.first_stage != 0) {
    read_vector(reader, kFirstMean, p.size, impl->first_mean);
    check_values(impl->first_mean, "means");
  }
  if (p.first_gain > 0) {
    const std::size_t sample = std::min<std::size_t>(p.fitted_size, kFirstSample);
    std::vector<float> values;
    read_vector(reader, kFirstSampleTag, p.n_queries * sample, values);
    check_values(values, "first-stage scores");
    impl->first_sample = Eigen::Map<const Eigen::MatrixXf>(
        values.data(), static_cast<Eigen::Index>(p.n_queries), static_cast<Eigen::Index>(sample));
  }
  if (p.rank > 0) {
    std::vector<double> values;
    read_vector(reader, kProjection, p.n_queries * p.rank, values);
    check_values(values, "directions");
    impl->projection = Eigen::Map<const Eigen::MatrixXd>(
        values.data(), static_cast<Eigen::Index>(p.n_queries), static_cast<Eigen::Index>(p.rank));
  }
  std::vector<float> scales;
  if (params.storage == CurStorage::kInt8) read_vector(reader, kScales, p.size, scales);
  read_features(reader, p.size, scales, impl->features);
  reader.finish();
  prepare_first_stage(*impl);
  return CurIndex(std::move(impl));
}

CurIndex CurIndex::load(const std::string& path) {
  std::unique_ptr<CurIndex> index;
  read_file(path, [&](const ByteSource& source) { index = std::make_unique<CurIndex>(load(source)); });
  return std::move(*index);
}

}  // namespace whimbrel
