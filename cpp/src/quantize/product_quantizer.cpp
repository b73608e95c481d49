#include "quantize/product_quantizer.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/memory.hpp"
#include "kernels/dispatch.hpp"
#include "whimbrel/random.hpp"

namespace whimbrel {
namespace {

constexpr std::size_t kGroup = ProductQuantizer::kGroup, kCentroids = ProductQuantizer::kCentroids;
constexpr std::size_t kDepth = kGroup + 1;
constexpr std::size_t kMostSamples = 32 * kCentroids;
constexpr int kRounds = 10;

/// The nearest centroid of many short vectors by tiles: x is nearest to the c with the largest <x, c> - |c|^2
/// / 2, which is a product of vectors with one more coordinate.
class Nearest {
 public:
  explicit Nearest(const kernels::KernelTable& table)
      : table_(table),
        panel_(kDepth * table.tile_cols),
        products_(kCentroids * table.tile_cols),
        best_(table.tile_cols),
        second_(table.tile_cols),
        found_(table.tile_cols) {
    std::fill_n(panel_.data() + kGroup * table.tile_cols, table.tile_cols, 1.0f);
  }

  std::size_t columns() const noexcept { return table_.tile_cols; }
  /// Coordinates of vector c of the panel; those from `n` on are zero.
  void set(std::size_t c, const float* values, std::size_t n) {
    for (std::size_t k = 0; k < kGroup; ++k)
      panel_.data()[k * table_.tile_cols + c] = k < n ? values[k] : 0.0f;
  }
  /// `centroids`: rows as extend() makes them. One number per vector of the panel.
  const std::uint32_t* find(const float* centroids) {
    for (std::size_t r = 0; r < kCentroids; r += table_.tile_rows)
      table_.tile(centroids + r * kDepth, kDepth, panel_.data(), kDepth, false,
                  products_.data() + r * table_.tile_cols);
    table_.best_rows(products_.data(), kCentroids, table_.tile_cols, best_.data(), second_.data(),
                     found_.data());
    return found_.data();
  }

 private:
  const kernels::KernelTable& table_;
  AlignedArray<float> panel_, products_, best_, second_;
  AlignedArray<std::uint32_t> found_;
};

/// Rows (kCentroids, kDepth) from the columns of the codebook of one group.
void extend(const float* columns, float* rows) {
  for (std::size_t c = 0; c < kCentroids; ++c) {
    float squared = 0;
    for (std::size_t k = 0; k < kGroup; ++k) {
      const float x = columns[k * kCentroids + c];
      rows[c * kDepth + k] = x;
      squared += x * x;
    }
    rows[c * kDepth + kGroup] = -squared / 2;
  }
}

/// k-means of one group over `points`, (n, kGroup): the first points are the first centroids; a centroid that
/// nothing is nearest to stays.
void cluster(const std::vector<float>& points, float* columns, Nearest& nearest) {
  const std::size_t n = points.size() / kGroup;
  for (std::size_t c = 0; c < kCentroids; ++c)
    for (std::size_t k = 0; k < kGroup; ++k)
      columns[k * kCentroids + c] = points[std::min(c, n - 1) * kGroup + k];
  std::vector<float> rows(kCentroids * kDepth);
  std::vector<std::uint32_t> assigned(n, kCentroids);
  for (int round = 0; round < kRounds; ++round) {
    extend(columns, rows.data());
    std::vector<double> sums(kCentroids * kGroup);
    std::vector<std::size_t> counts(kCentroids);
    bool changed = false;
    for (std::size_t i = 0; i < n; i += nearest.columns()) {
      const std::size_t used = std::min(nearest.columns(), n - i);
      for (std::size_t c = 0; c < used; ++c) nearest.set(c, &points[(i + c) * kGroup], kGroup);
      const std::uint32_t* found = nearest.find(rows.data());
      for (std::size_t c = 0; c < used; ++c) {
        changed |= assigned[i + c] != found[c];
        assigned[i + c] = found[c];
        ++counts[found[c]];
        for (std::size_t k = 0; k < kGroup; ++k) sums[found[c] * kGroup + k] += points[(i + c) * kGroup + k];
      }
    }
    if (!changed) break;
    for (std::size_t c = 0; c < kCentroids; ++c)
      for (std::size_t k = 0; k < kGroup && counts[c] > 0; ++k)
        columns[k * kCentroids + c] =
            static_cast<float>(sums[c * kGroup + k] / static_cast<double>(counts[c]));
  }
}

/// At most kMostSamples of the rows, in random order.
std::vector<const float*> choose(std::span<const float* const> rows, std::uint64_t seed) {
  std::vector<std::pair<std::uint64_t, std::size_t>> order;
  order.reserve(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i)
    order.emplace_back(random_bits(seed, RandomPurpose::kQuantizerSample, i), i);
  std::sort(order.begin(), order.end());
  order.resize(std::min(order.size(), kMostSamples));
  std::vector<const float*> chosen;
  chosen.reserve(order.size());
  for (const auto& [bits, i] : order) chosen.push_back(rows[i]);
  return chosen;
}

}  // namespace

ProductQuantizer::ProductQuantizer(std::size_t dim, std::span<const float* const> rows, std::uint64_t seed,
                                   std::size_t threads, ProgressMeter& meter)
    : dim_(dim), codebook_(groups(dim) * kGroup * kCentroids) {
  const kernels::KernelTable& table = kernels::active_table();
  const std::vector<const float*> sample = choose(rows, seed);
  std::vector<std::unique_ptr<Nearest>> workers(resolve_threads(threads));
  parallel_for(
      groups(), threads,
      [&](std::size_t g, std::size_t worker) {
        if (!workers[worker]) workers[worker] = std::make_unique<Nearest>(table);
        const std::size_t used = std::min(kGroup, dim_ - g * kGroup);
        std::vector<float> points(sample.size() * kGroup);
        for (std::size_t i = 0; i < sample.size(); ++i)
          std::copy_n(sample[i] + g * kGroup, used, &points[i * kGroup]);
        cluster(points, &codebook_[g * kGroup * kCentroids], *workers[worker]);
      },
      [&](std::size_t) { meter.update(0); });
}

ProductQuantizer::ProductQuantizer(std::size_t dim, std::vector<float> codebook)
    : dim_(dim), codebook_(std::move(codebook)) {}

void ProductQuantizer::encode(std::span<const float* const> rows, std::span<std::uint8_t* const> codes,
                              std::size_t threads, ProgressMeter& meter) const {
  const kernels::KernelTable& table = kernels::active_table();
  std::vector<float> centroids(groups() * kCentroids * kDepth);
  for (std::size_t g = 0; g < groups(); ++g)
    extend(&codebook_[g * kGroup * kCentroids], &centroids[g * kCentroids * kDepth]);
  std::vector<std::unique_ptr<Nearest>> workers(resolve_threads(threads));
  parallel_for((rows.size() + table.tile_cols - 1) / table.tile_cols, threads,
               [&](std::size_t item, std::size_t worker) {
                 if (!workers[worker]) workers[worker] = std::make_unique<Nearest>(table);
                 Nearest& nearest = *workers[worker];
                 const std::size_t first = item * table.tile_cols;
                 const std::size_t n = std::min(table.tile_cols, rows.size() - first);
                 for (std::size_t g = 0; g < groups(); ++g) {
                   for (std::size_t c = 0; c < n; ++c)
                     nearest.set(c, rows[first + c] + g * kGroup, std::min(kGroup, dim_ - g * kGroup));
                   const std::uint32_t* found = nearest.find(&centroids[g * kCentroids * kDepth]);
                   for (std::size_t c = 0; c < n; ++c)
                     codes[first + c][g] = static_cast<std::uint8_t>(found[c]);
                 }
               },
               [&](std::size_t done) { meter.update(std::min(rows.size(), done * table.tile_cols)); });
}

void ProductQuantizer::fill(const float* query, Table& table) const {
  table.groups.clear();
  table.entries.clear();
  for (std::size_t g = 0; g < groups(); ++g) {
    const float* values = query + g * kGroup;
    const std::size_t n = std::min(kGroup, dim_ - g * kGroup);
    if (std::all_of(values, values + n, [](float x) { return x == 0; })) continue;
    table.groups.push_back(static_cast<std::uint32_t>(g));
    const std::size_t begin = table.entries.size();
    table.entries.resize(begin + kCentroids);
    float* entries = &table.entries[begin];
    for (std::size_t k = 0; k < n; ++k) {
      const float* column = &codebook_[(g * kGroup + k) * kCentroids];
      const float x = values[k];
      for (std::size_t c = 0; c < kCentroids; ++c) entries[c] -= x * column[c];
    }
  }
}

}  // namespace whimbrel
