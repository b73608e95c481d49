// HnswIndex: the public calls, their checks, and the order in which state changes.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>

#include "hnsw/byte_rows.hpp"
#include "hnsw/impl.hpp"
#include "hnsw/rows.hpp"

namespace whimbrel {
namespace {

constexpr std::size_t kMaxDim = std::size_t{1} << 20;

template <class T>
void check_range(const char* name, T got, T low, T high) {
  if (got < low || got > high)
    throw std::invalid_argument(std::string(name) + ": expected " + std::to_string(low) + " to " +
                                std::to_string(high) + ", got " + std::to_string(got));
}

void check_distance(const HnswParams& p) {
  const UserDistance& d = p.distance;
  if (p.metric != Metric::kUser) {
    if (d.measure || !d.name.empty())
      throw std::invalid_argument("distance: expected none with this metric, got '" + d.name + "'");
    return;
  }
  if (!d.measure) throw std::invalid_argument("distance: expected a function, got none");
  check_range<std::size_t>("bytes of the distance's name", d.name.size(), 1, kMaxDistanceName);
  if (p.codec != Codec::kF32)
    throw std::invalid_argument("codec: expected f32 with a distance of the user's");
}

void check_bytes(std::size_t dim, const HnswParams& p) {
  if (p.vector_type == VectorType::kFloat32) return;
  if (p.vector_type != VectorType::kInt8 && p.vector_type != VectorType::kUint8)
    throw std::invalid_argument("vector_type: expected float32, int8 or uint8");
  const std::string with = std::string(" with vectors of ") + type_name(p.vector_type);
  if (p.metric != Metric::kL2 && p.metric != Metric::kIp)
    throw std::invalid_argument("metric: expected l2 or ip" + with);
  if (p.codec != Codec::kF32) throw std::invalid_argument("codec: expected f32" + with);
  if (dim > kernels::kMaxPairBytes)
    throw std::invalid_argument("dim: expected at most " + std::to_string(kernels::kMaxPairBytes) + with +
                                ", got " + std::to_string(dim));
}

}  // namespace

std::uint64_t next_version() noexcept {
  static std::atomic<std::uint64_t> last = 0;
  return ++last;
}

void check_params(std::size_t dim, const HnswParams& p) {
  check_range<std::size_t>("dim", dim, 1, kMaxDim);
  check_range<std::uint32_t>("M", p.M, 2, kMaxM);
  check_range<std::uint32_t>("ef_construction", p.ef_construction, 1, kMaxEf);
  check_range<std::uint32_t>("ef_search", p.ef_search, 1, kMaxEf);
  if (!(p.batch_growth >= 1) || std::isinf(p.batch_growth))
    throw std::invalid_argument("batch_growth: expected a finite number, at least 1, got " +
                                std::to_string(p.batch_growth));
  if (p.metric != Metric::kL2 && p.metric != Metric::kIp && p.metric != Metric::kCosine &&
      p.metric != Metric::kUser)
    throw std::invalid_argument("metric: expected l2, ip, cosine or the user's");
  check_distance(p);
  check_bytes(dim, p);
  if (p.codec != Codec::kF32 && p.codec != Codec::kSq8 && p.codec != Codec::kSq4 && p.codec != Codec::kAuto &&
      p.codec != Codec::kF16)
    throw std::invalid_argument("codec: expected f32, f16, sq8, sq4 or auto");
  if (p.rerank != Rerank::kF32 && p.rerank != Rerank::kF16 && p.rerank != Rerank::kNone)
    throw std::invalid_argument("rerank: expected f32, f16 or none");
  const std::string got = p.rerank == Rerank::kF32 ? "f32" : p.rerank == Rerank::kF16 ? "f16" : "none";
  if (p.codec == Codec::kF32 && p.rerank != Rerank::kF32)
    throw std::invalid_argument("rerank: expected f32 with codec f32, got " + got);
  if (p.codec == Codec::kF16 && p.rerank != Rerank::kF16)
    throw std::invalid_argument("rerank: expected f16 with codec f16, got " + got);
}

HnswIndex::HnswIndex(std::size_t dim, const HnswParams& params) {
  check_params(dim, params);
  impl_ = std::make_unique<Impl>(dim, params);
}
HnswIndex::HnswIndex(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
HnswIndex::~HnswIndex() = default;
HnswIndex::HnswIndex(HnswIndex&&) noexcept = default;
HnswIndex& HnswIndex::operator=(HnswIndex&&) noexcept = default;

HnswIndex HnswIndex::build(VectorsView vectors, const HnswParams& params, const AddOptions& options) {
  HnswIndex index(vectors.cols, params);
  index.add(vectors, options);
  return index;
}

HnswIndex HnswIndex::bulk_build(MatrixView<const float> vectors, const HnswParams& params,
                                const AddOptions& options, const LevelLinker& link) {
  HnswIndex index(vectors.cols, params);
  if (params.metric == Metric::kUser)
    throw std::invalid_argument("metric: expected l2, ip or cosine to link levels, got the user's");
  if (params.vector_type != VectorType::kFloat32)
    throw std::invalid_argument("vector_type: expected float32 to link levels, got " +
                                std::string(type_name(params.vector_type)));
  index.impl_->add(vectors, options, &link);
  return index;
}

void HnswIndex::add(VectorsView vectors, const AddOptions& options) { impl_->add(vectors, options, nullptr); }

std::size_t HnswIndex::size() const noexcept { return impl_->size; }
std::size_t HnswIndex::dim() const noexcept { return impl_->graph.dim; }

HnswParams HnswIndex::params() const {
  const auto lock = impl_->read();
  return impl_->graph.params;
}

void HnswIndex::set_ef_search(std::uint32_t ef_search) {
  check_range<std::uint32_t>("ef_search", ef_search, 1, kMaxEf);
  impl_->mutex.refuse_own_writer();
  impl_->state.change([&] { impl_->graph.params.ef_search = ef_search; });
}

template <class T>
void HnswIndex::Impl::get_vectors(std::span<const std::int64_t> wanted, T* out) const {
  const VectorType type = VectorsView(out, 0, graph.dim).type;
  if (type != graph.params.vector_type)
    throw std::invalid_argument("vectors: expected room for " +
                                std::string(type_name(graph.params.vector_type)) +
                                ", which the index holds, got " + type_name(type));
  const auto lock = read();
  const auto rows = rows_of(wanted);
  std::vector<float> scratch(graph.padded_dim());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    T* const to = out + i * graph.dim;
    if constexpr (std::is_same_v<T, float>)
      std::copy_n(caller_row(graph, rows[i], scratch.data()), graph.dim, to);
    else
      get_byte_row(graph, rows[i], to);
  }
}

void HnswIndex::get_vectors(std::span<const std::int64_t> ids, float* out) const {
  impl_->get_vectors(ids, out);
}
void HnswIndex::get_vectors(std::span<const std::int64_t> ids, std::int8_t* out) const {
  impl_->get_vectors(ids, out);
}
void HnswIndex::get_vectors(std::span<const std::int64_t> ids, std::uint8_t* out) const {
  impl_->get_vectors(ids, out);
}

std::vector<std::int64_t> HnswIndex::ids() const {
  const auto lock = impl_->read();
  std::vector<std::int64_t> out;
  out.reserve(impl_->graph.live.count());
  impl_->graph.live.for_each([&](std::uint32_t row) { out.push_back(impl_->ids.id(row)); });
  return out;
}

std::vector<std::int64_t> HnswIndex::neighbors(std::int64_t id, std::size_t level) const {
  const auto lock = impl_->read();
  const Graph& graph = impl_->graph;
  const auto node = impl_->ids.find(id);
  if (!node) throw std::out_of_range("id: expected an id in the index, got " + std::to_string(id));
  std::vector<std::int64_t> out;
  if (level > graph.level[*node]) return out;
  const std::uint32_t* row = graph.links(*node, level);
  for (std::size_t i = 0; i < graph.degree(*node, level); ++i)
    if (graph.live.contains(row[i])) out.push_back(impl_->ids.id(row[i]));
  return out;
}

std::size_t HnswIndex::memory_usage() const {
  const auto lock = impl_->mutex.read();
  const Graph& g = impl_->graph;
  return g.vectors.own_bytes() + g.halves.own_bytes() + g.dim_order.size() * sizeof(std::uint32_t) +
         g.quantizer.bytes() + g.codes.own_bytes() + g.code_terms.capacity() * sizeof(kernels::CodeTerms) +
         g.links0.bytes() + g.level.bytes() + g.upper_begin.bytes() + g.upper_links.bytes() + g.live.bytes() +
         impl_->ids.bytes();
}

}  // namespace whimbrel
