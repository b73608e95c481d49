// Adding, searching and removing. Files are in multi_vector_file.cpp.
#include "whimbrel/multi_vector_index.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/parallel.hpp"
#include "base/ragged.hpp"
#include "base/top_k.hpp"
#include "base/vectors.hpp"
#include "exact/token_rows.hpp"
#include "hnsw/impl.hpp"
#include "pipelines/multi_vector_impl.hpp"
#include "whimbrel/maxsim.hpp"

namespace whimbrel {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

/// Documents to rank for each query.
struct Candidates {
  CountedVector<std::int64_t> offsets{0};
  CountedVector<std::int64_t> ids;
};

class Search {
 public:
  Search(const MultiVectorIndex::Impl& index, MatrixView<const float> encodings, const RaggedView& queries,
         const MultiVectorSearch& params)
      : index_(index), encodings_(encodings), queries_(queries), params_(params) {
    if (params.allowed.empty()) {
      allowed_ = index.findable;
      n_allowed_ = index.n_findable;
    } else {
      own_allowed_ = index.findable;
      for (std::size_t doc = 0; doc < own_allowed_.size(); ++doc) {
        own_allowed_[doc] &= static_cast<std::uint8_t>(params.allowed[doc] != 0);
        n_allowed_ += own_allowed_[doc];
      }
      allowed_ = own_allowed_;
    }
  }

  void run(std::int64_t* ids, float* scores) const {
    const Candidates candidates = find_candidates();
    CountedVector<float> found(candidates.ids.size());
    maxsim_lists(queries_, index_.tokens, {candidates.offsets, candidates.ids},
                 {false, params_.threads, params_.progress}, found.data());
    for (std::size_t q = 0; q < queries_.size(); ++q) {
      const auto first = static_cast<std::size_t>(candidates.offsets[q]);
      const auto last = static_cast<std::size_t>(candidates.offsets[q + 1]);
      TopK best(std::min(params_.k, std::max<std::size_t>(1, last - first)));
      for (std::size_t i = first; i < last; ++i)
        best.push(-found[i], static_cast<std::uint32_t>(candidates.ids[i]));
      const ScoredList& sorted = best.finish();
      for (std::size_t i = 0; i < params_.k; ++i) {
        const bool has = i < sorted.size();
        ids[q * params_.k + i] = has ? static_cast<std::int64_t>(sorted[i].id) : -1;
        scores[q * params_.k + i] = has ? -sorted[i].score : -kInf;
      }
    }
  }

 private:
  Candidates find_candidates() const {
    const std::size_t n = allowed_.size();
    const std::size_t wanted = std::max(params_.candidates, params_.k);
    // So many of the nearest that `wanted` of them are allowed, if the allowed ones are spread evenly. Unless
    // these are fewer than all allowed ones, the graph saves nothing.
    std::size_t fetch = wanted;
    if (wanted < n_allowed_) {
      const double share = static_cast<double>(n_allowed_) / static_cast<double>(n);
      fetch = static_cast<std::size_t>(std::ceil(static_cast<double>(wanted) / share));
    }
    const bool use_graph = fetch < n_allowed_;
    CountedVector<std::int64_t> near, all;
    if (use_graph) near = search_graph(fetch);
    const auto all_allowed = [&]() -> const CountedVector<std::int64_t>& {
      if (all.empty())
        for (std::size_t doc = 0; doc < n; ++doc)
          if (allowed_[doc] != 0) all.push_back(static_cast<std::int64_t>(doc));
      return all;
    };

    Candidates found;
    for (std::size_t q = 0; q < queries_.size(); ++q) {
      const std::size_t before = found.ids.size();
      if (queries_[q].rows > 0) {
        for (std::size_t i = 0; use_graph && i < fetch && found.ids.size() < before + wanted; ++i) {
          const std::int64_t id = near[q * fetch + i];
          if (id >= 0 && allowed_[static_cast<std::size_t>(id)] != 0) found.ids.push_back(id);
        }
        if (found.ids.size() - before < std::min(params_.k, n_allowed_)) {
          found.ids.resize(before);
          found.ids.insert(found.ids.end(), all_allowed().begin(), all_allowed().end());
        }
        // Equal scores are kept by number, and neighbors in memory are read faster.
        std::sort(found.ids.begin() + static_cast<std::ptrdiff_t>(before), found.ids.end());
      }
      found.offsets.push_back(static_cast<std::int64_t>(found.ids.size()));
    }
    return found;
  }

  CountedVector<std::int64_t> search_graph(std::size_t fetch) const {
    CountedVector<std::int64_t> ids(queries_.size() * fetch);
    const SearchParams params{fetch, params_.ef_search, params_.threads, params_.progress};
    if (index_.codes) {
      index_.codes->search(index_.graph, encodings_, params, ids.data());
    } else {
      CountedVector<float> distances(ids.size());
      index_.graph.search(encodings_, params, ids.data(), distances.data());
    }
    return ids;
  }

  const MultiVectorIndex::Impl& index_;
  MatrixView<const float> encodings_;
  const RaggedView& queries_;
  const MultiVectorSearch& params_;
  std::span<const std::uint8_t> allowed_;  // one per document
  std::vector<std::uint8_t> own_allowed_;  // behind it if there is a filter
  std::size_t n_allowed_ = 0;
};

void check_encodings(MatrixView<const float> encodings, std::size_t dim, std::size_t n, std::size_t threads) {
  check_cols("encodings", encodings, dim);
  if (encodings.rows != n)
    throw std::invalid_argument("encodings: expected one per set, " + std::to_string(n) + ", got " +
                                std::to_string(encodings.rows));
  check_finite("encodings", encodings, resolve_threads(threads));
}

}  // namespace

MultiVectorIndex::MultiVectorIndex(const MultiVectorParams& params) : impl_(std::make_unique<Impl>(params)) {}
MultiVectorIndex::MultiVectorIndex(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
MultiVectorIndex::~MultiVectorIndex() = default;
MultiVectorIndex::MultiVectorIndex(MultiVectorIndex&&) noexcept = default;
MultiVectorIndex& MultiVectorIndex::operator=(MultiVectorIndex&&) noexcept = default;

void MultiVectorIndex::add(MatrixView<const float> encodings, const RaggedView& docs, std::size_t threads,
                           ProgressFn progress) {
  check_encodings(encodings, impl_->params.encoding_dim, docs.size(), threads);
  const auto lock = impl_->mutex.write();
  if (impl_->codes) throw std::invalid_argument("docs: expected an index whose encodings are not compressed");
  const std::size_t before = impl_->removed.size();
  impl_->removed.reserve(before + docs.size());
  impl_->findable.reserve(before + docs.size());
  impl_->tokens.add(docs, threads);
  try {
    impl_->graph.add(encodings, {.threads = threads, .progress = std::move(progress)});
  } catch (...) {
    impl_->tokens.impl().truncate(before);
    throw;
  }
  impl_->mark_new();
}

void MultiVectorIndex::compress(std::uint64_t seed, std::size_t threads, const ProgressFn& progress) {
  const auto lock = impl_->mutex.write();
  if (impl_->codes) throw std::invalid_argument("index: expected encodings that are not compressed yet");
  if (impl_->removed.empty()) throw std::invalid_argument("index: expected documents, got none");
  impl_->codes.emplace(compress_encodings(impl_->graph, seed, threads, progress));
  impl_->graph.impl().drop_vectors();
}

bool MultiVectorIndex::compressed() const {
  const auto lock = impl_->mutex.read();
  return impl_->codes.has_value();
}

void MultiVectorIndex::search(MatrixView<const float> encodings, const RaggedView& queries,
                              const MultiVectorSearch& params, std::int64_t* ids, float* scores) const {
  if (params.k == 0) throw std::invalid_argument("k: expected at least 1, got 0");
  check_cols("queries", queries.tokens, impl_->params.dim);
  check_offsets("queries", queries.offsets, queries.tokens.rows);
  check_encodings(encodings, impl_->params.encoding_dim, queries.size(), params.threads);
  const auto lock = impl_->mutex.read();
  if (!params.allowed.empty() && params.allowed.size() != impl_->removed.size())
    throw std::invalid_argument("filter: expected one value per document, " +
                                std::to_string(impl_->removed.size()) + ", got " +
                                std::to_string(params.allowed.size()));
  Search(*impl_, encodings, queries, params).run(ids, scores);
}

void MultiVectorIndex::remove(std::span<const std::int64_t> ids) {
  const auto lock = impl_->mutex.write();
  for (const std::int64_t id : ids)
    if (id < 0 || id >= static_cast<std::int64_t>(impl_->removed.size()))
      throw std::out_of_range("ids: expected documents of the index, got " + std::to_string(id));
  for (const std::int64_t id : ids) {
    const auto doc = static_cast<std::size_t>(id);
    impl_->n_removed += impl_->removed[doc] == 0;
    impl_->n_findable -= impl_->findable[doc];
    impl_->removed[doc] = 1;
    impl_->findable[doc] = 0;
  }
}

std::size_t MultiVectorIndex::size() const {
  const auto lock = impl_->mutex.read();
  return impl_->removed.size();
}

std::size_t MultiVectorIndex::n_alive() const {
  const auto lock = impl_->mutex.read();
  return impl_->removed.size() - impl_->n_removed;
}

std::vector<std::uint8_t> MultiVectorIndex::removed() const {
  const auto lock = impl_->mutex.read();
  return impl_->removed;
}

std::size_t MultiVectorIndex::n_tokens() const { return impl_->tokens.n_tokens(); }
bool MultiVectorIndex::mapped() const { return impl_->tokens.impl().map != nullptr; }
MultiVectorParams MultiVectorIndex::params() const { return impl_->params; }

std::size_t MultiVectorIndex::memory_usage() const {
  const auto lock = impl_->mutex.read();
  return impl_->graph.memory_usage() + impl_->tokens.memory_usage() + impl_->removed.size() +
         impl_->findable.size() + (impl_->codes ? impl_->codes->bytes() : 0);
}

}  // namespace whimbrel
