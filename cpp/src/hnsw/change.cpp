// Removing points, replacing their vectors, taking back the room of those that are gone, and linking anew.
#include <algorithm>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/parallel.hpp"
#include "hnsw/impl.hpp"
#include "hnsw/refine.hpp"
#include "hnsw/repair.hpp"

namespace whimbrel {

std::vector<std::uint32_t> HnswIndex::Impl::rows_of(std::span<const std::int64_t> ids_of_rows) const {
  std::vector<std::uint32_t> rows;
  rows.reserve(ids_of_rows.size());
  for (const std::int64_t id : ids_of_rows) {
    const auto row = ids.find(id);
    if (!row) throw std::out_of_range("ids: expected ids in the index, got " + std::to_string(id));
    rows.push_back(*row);
  }
  return rows;
}

void HnswIndex::Impl::check_changeable() const {
  if (file != nullptr)
    throw std::invalid_argument(
        "index: expected one in memory, got one mapped from a file, which is read-only");
  if (graph.callers_rows)
    throw std::invalid_argument(
        "index: expected one that has its vectors, got one over the caller's, which is read-only");
}

void HnswIndex::Impl::repair_before(std::size_t n, std::size_t threads, const ProgressFn& progress) {
  ProgressMeter meter(
      [&](std::size_t, std::size_t) {
        if (progress) progress(0, n);
      },
      0);
  repair(graph, threads, state, meter);
}

void HnswIndex::Impl::drop_gone() {
  const auto done = [&] {
    if (graph.quantizer.empty()) scratches.clear();
    version = next_version();
  };
  try {  // beside searches, where there is room for a copy
    auto lock = state.read();
    const HnswParams params = graph.params;
    lock.unlock();
    Graph kept(graph.dim, params);
    keep_live_rows(graph, kept);
    IdMap kept_ids = ids.kept(graph.live);
    state.change([&] {
      exchange_rows(graph, kept);
      std::swap(ids, kept_ids);
      done();
    });
  } catch (const std::bad_alloc&) {
    const RowSet kept = graph.live;
    state.change([&] {
      keep_live_rows(graph, graph);
      ids.keep(kept);
      done();
    });
  }
}

void HnswIndex::remove(std::span<const std::int64_t> ids, const ChangeOptions& options) {
  const auto lock = impl_->mutex.write();
  impl_->check_changeable();
  Graph& graph = impl_->graph;
  const auto rows = impl_->rows_of(ids);
  if (rows.empty()) return;
  IdMap::Arrays id_arrays = impl_->ids.room_for(0, true);
  impl_->state.change([&] { impl_->ids.prepare(0, id_arrays); });
  impl_->state.change_each(rows.size(), kRowsInSlice, [&](std::size_t i) {
    if (!graph.live.contains(rows[i])) return;  // given twice
    impl_->ids.erase(rows[i]);
    graph.live.erase(rows[i]);
    ++graph.n_hidden;
    impl_->version = next_version();
    impl_->size = graph.live.count();
  });
  if (graph.live.count() == 0) return impl_->drop_gone();
  if (!worth_repairing(graph, 0)) return;
  ProgressMeter meter(options.progress, graph.size());
  repair(graph, resolve_threads(options.threads), impl_->state, meter);
  meter.finish();
}

void HnswIndex::update(std::span<const std::int64_t> ids, VectorsView vectors, const ChangeOptions& options) {
  AddOptions how;
  how.threads = options.threads;
  how.progress = options.progress;
  if (ids.size() != vectors.rows)
    throw std::invalid_argument("ids: expected one per vector, " + std::to_string(vectors.rows) + ", got " +
                                std::to_string(ids.size()));
  impl_->check_rows(vectors, how);
  const auto lock = impl_->mutex.write();
  impl_->check_changeable();
  const auto rows = impl_->rows_of(ids);
  auto sorted = rows;
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end())
    throw std::invalid_argument("ids: expected each once, got " + std::to_string(impl_->ids.id(*twice)) +
                                " twice");
  if (rows.empty()) return;
  impl_->insert(vectors, how, nullptr, rows);
  if (!worth_repairing(impl_->graph, 0)) return;
  ProgressMeter meter({}, 0);
  try {
    repair(impl_->graph, resolve_threads(options.threads), impl_->state, meter);
  } catch (...) {
    // Stopped, out of memory, or not measured. The vectors are replaced all the same, and the next change
    // repairs.
  }
}

void HnswIndex::compact(const ChangeOptions& options) {
  const auto lock = impl_->mutex.write();
  impl_->check_changeable();
  Graph& graph = impl_->graph;
  ProgressMeter meter(options.progress, graph.size());
  // Without removed points too: small additions leave it to this to make every point reachable.
  if (graph.live.count() > 0) repair(graph, resolve_threads(options.threads), impl_->state, meter);
  meter.finish();
  if (graph.live.count() < graph.size()) impl_->drop_gone();
}

void HnswIndex::refine(const ChangeOptions& options) {
  const auto lock = impl_->mutex.write();
  impl_->check_changeable();
  Graph& graph = impl_->graph;
  if (graph.live.count() == 0) return;
  const std::size_t threads = resolve_threads(options.threads);
  if (graph.n_hidden > 0) impl_->repair_before(graph.size(), threads, options.progress);
  ProgressMeter meter(options.progress, graph.size());
  whimbrel::refine(graph, threads, impl_->state, meter);
}

}  // namespace whimbrel
