#include "cur/greedy.hpp"

#include <cmath>

#include "base/memory.hpp"
#include "cur/symmetric_eigen.hpp"

namespace whimbrel {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

/// Residual rows below this share of the mean are rounding (1e-5 of the root mean square entry).
constexpr double kTinyResidual = 1e-10;

class CpuPasses final : public GreedyPasses {
 public:
  CpuPasses(const ItemFeatures& features, std::size_t threads)
      : features_(features), threads_(threads), x_(features.stride()), w_(features.stride()) {}

  void start(const GreedyStart& start) override {
    column_.assign(start.column.begin(), start.column.end());
    diagonal_.assign(start.diagonal.begin(), start.diagonal.end());
    blocked_.assign(start.blocked.begin(), start.blocked.end());
    tiny_ = start.tiny;
  }

  void deflate(std::span<const float> x, std::span<const float> w, double g, double xw) override {
    std::copy(x.begin(), x.end(), x_.data());
    std::copy(w.begin(), w.end(), w_.data());
    for_each_block(features_, threads_, [&](std::size_t first, std::size_t n) {
      float u[kAnchorBlock], t[kAnchorBlock];
      features_.dots(x_.data(), first, n, u);
      features_.dots(w_.data(), first, n, t);
      for (std::size_t i = 0; i < n; ++i) {
        const double share = u[i] / g;
        column_[first + i] -= share * (2 * static_cast<double>(t[i]) - share * xw);
        diagonal_[first + i] -= share * u[i];
      }
    });
  }

  void block(std::size_t item) override { blocked_[item] = 1; }

  std::size_t best() override {
    double largest = 0;
    for (std::size_t i = 0; i < column_.size(); ++i) largest = std::max(largest, gain(i));
    if (largest == 0) return column_.size();
    std::size_t first = 0;
    while (!(gain(first) >= largest * kSameGain)) ++first;
    return first;
  }

 private:
  double gain(std::size_t i) const {
    return blocked_[i] == 0 && diagonal_[i] > tiny_ ? column_[i] / diagonal_[i] : 0;
  }

  const ItemFeatures& features_;
  std::size_t threads_;
  AlignedArray<float> x_, w_;  // padded
  std::vector<double> column_, diagonal_;
  CountedVector<std::uint8_t> blocked_;
  double tiny_ = 0;
};

/// Features as GreedyStart wants them.
CountedVector<float> rows_for_passes(const ItemFeatures& features) {
  const std::size_t dim = features.dim();
  CountedVector<float> rows(features.size() * dim);
  for (std::size_t i = 0; i < features.size(); ++i) {
    if (features.scales().empty()) {
      features.row(i, rows.data() + i * dim);
    } else {
      const std::span<const std::byte> codes = features.stored(i, 1);
      for (std::size_t j = 0; j < dim; ++j)
        rows[i * dim + j] = static_cast<float>(std::to_integer<std::int8_t>(codes[j]));
    }
  }
  return rows;
}

}  // namespace

/// Column-pivoted greedy on G = X X^T, which is never formed: the gain of item j is |G_j|^2 / G_jj, after
/// which G is deflated by column j. With W = X^T X, x the chosen row without the directions Q of earlier
/// ones, g = |x|^2 and w = (I - Q Q^T) W x, one pass over the rows gives u = X x and t = X w, and
///   |G_j|^2 -= 2 (u_j / g) t_j - (u_j / g)^2 (x . w),   G_jj -= u_j^2 / g.
/// X itself is never deflated: x and w are orthogonal to Q.
std::vector<std::int64_t> select_greedily(const CurIndex::Impl& index, std::size_t count, std::size_t threads,
                                          GreedyPasses* passes,
                                          const std::function<void(std::size_t)>& report) {
  const ItemFeatures& features = index.features;
  const std::size_t n = features.size(), dim = features.dim();
  const auto d = static_cast<Index>(dim);
  const MatrixXd w_full =
      sample_gram(n, dim, n, threads, [&](std::size_t i, float* out) { features.row(i, out); });
  std::vector<double> column(n), diagonal(n);  // |G_j|^2 and G_jj
  for_each_block(features, threads, [&](std::size_t first, std::size_t m) {
    MatrixXd rows(d, static_cast<Index>(m));
    Eigen::VectorXf row(d);
    for (std::size_t i = 0; i < m; ++i) {
      features.row(first + i, row.data());
      rows.col(static_cast<Index>(i)) = row.cast<double>();
    }
    const MatrixXd product = w_full * rows;
    for (std::size_t i = 0; i < m; ++i) {
      column[first + i] = rows.col(static_cast<Index>(i)).dot(product.col(static_cast<Index>(i)));
      diagonal[first + i] = rows.col(static_cast<Index>(i)).squaredNorm();
    }
  });
  double trace = 0;
  for (const double g : diagonal) trace += g;
  const double tiny = kTinyResidual * trace / static_cast<double>(n * dim);

  CpuPasses cpu(features, threads);
  GreedyPasses& all = passes != nullptr ? *passes : cpu;
  {
    const CountedVector<float> rows = passes != nullptr ? rows_for_passes(features) : CountedVector<float>();
    all.start({{rows.data(), n, dim}, features.scales(), column, diagonal, index.removed, tiny});
  }
  std::vector<std::int64_t> chosen;
  MatrixXd basis(d, static_cast<Index>(std::min(count, dim)));
  std::vector<float> x32(dim), w32(dim);
  Eigen::VectorXf row(d);
  while (chosen.size() < std::min(count, dim)) {
    const std::size_t best = all.best();
    if (best == n) break;
    const auto used = static_cast<Index>(chosen.size());
    const auto q = basis.leftCols(used);
    features.row(best, row.data());
    VectorXd x = row.cast<double>();
    for (int twice = 0; twice < 2; ++twice) x -= q * (q.transpose() * x);  // once is not orthogonal enough
    const double g = x.squaredNorm();
    all.block(best);
    if (!(g > tiny)) continue;  // its residual was rounding
    VectorXd w = w_full * x;
    w -= q * (q.transpose() * w);
    for (Index j = 0; j < d; ++j) {
      x32[static_cast<std::size_t>(j)] = static_cast<float>(x[j]);
      w32[static_cast<std::size_t>(j)] = static_cast<float>(w[j]);
    }
    all.deflate(x32, w32, g, x.dot(w));
    basis.col(used) = x / std::sqrt(g);
    chosen.push_back(static_cast<std::int64_t>(best));
    report(chosen.size());
  }
  return chosen;
}

}  // namespace whimbrel
