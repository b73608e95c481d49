// What Python cannot see of cross-encoder search: the kernels of a pass, and regression by rounds.
#include <doctest/doctest.h>
#include <Eigen/Cholesky>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "base/half.hpp"
#include "cur/regression.hpp"
#include "cur_scores.hpp"
#include "kernels/dispatch.hpp"
#include "whimbrel/cur_greedy.hpp"
#include "whimbrel/random.hpp"

using namespace whimbrel;

namespace {

double value(std::uint64_t seed, std::size_t i) {
  return static_cast<double>(random_bits(seed, RandomPurpose::kInsertionOrder, i) >> 11) * 0x1p-52 - 1.0;
}

Eigen::MatrixXd matrix(Eigen::Index rows, Eigen::Index cols, std::uint64_t seed) {
  Eigen::MatrixXd out(rows, cols);
  for (Eigen::Index i = 0; i < rows; ++i)
    for (Eigen::Index j = 0; j < cols; ++j) out(i, j) = value(seed, static_cast<std::size_t>(i * cols + j));
  return out;
}

std::vector<double> targets(std::size_t n, std::uint64_t seed) {
  std::vector<double> out(n);
  for (std::size_t i = 0; i < n; ++i) out[i] = value(seed, i);
  return out;
}

/// As GreedyPasses says, one item after another.
class PlainPasses final : public GreedyPasses {
 public:
  void start(const GreedyStart& start) override {
    dim_ = start.rows.cols;
    for (std::size_t i = 0; i < start.rows.rows; ++i)
      rows_.insert(rows_.end(), start.rows.row(i), start.rows.row(i) + dim_);
    scales_.assign(start.scales.begin(), start.scales.end());
    column_.assign(start.column.begin(), start.column.end());
    diagonal_.assign(start.diagonal.begin(), start.diagonal.end());
    blocked_.assign(start.blocked.begin(), start.blocked.end());
    tiny_ = start.tiny;
  }
  void deflate(std::span<const float> x, std::span<const float> w, double g, double xw) override {
    for (std::size_t i = 0; i < column_.size(); ++i) {
      const double u = dot(x, i), t = dot(w, i), share = u / g;
      column_[i] -= share * (2 * t - share * xw);
      diagonal_[i] -= share * u;
    }
  }
  void block(std::size_t item) override { blocked_[item] = 1; }
  std::size_t best() override {
    double largest = 0;
    for (std::size_t i = 0; i < column_.size(); ++i) largest = std::max(largest, gain(i));
    for (std::size_t i = 0; largest > 0 && i < column_.size(); ++i)
      if (gain(i) >= largest * kSameGain) return i;
    return column_.size();
  }

 private:
  float dot(std::span<const float> x, std::size_t i) const {
    const float product = -kernels::active_table().ip.canonical(x.data(), &rows_[i * dim_], dim_);
    return scales_.empty() ? product : product * scales_[i];
  }
  double gain(std::size_t i) const {
    return blocked_[i] == 0 && diagonal_[i] > tiny_ ? column_[i] / diagonal_[i] : 0;
  }

  std::size_t dim_ = 0;
  std::vector<float> rows_, scales_;
  std::vector<double> column_, diagonal_;
  std::vector<std::uint8_t> blocked_;
  double tiny_ = 0;
};

TEST_CASE("the greedy choice does not depend on who passes over the items") {
  for (const CurStorage storage : {CurStorage::kFloat32, CurStorage::kFloat16, CurStorage::kInt8}) {
    CAPTURE(static_cast<int>(storage));
    CurIndex index = testing::make_cur_index(50, 700, storage);
    index.remove(std::vector<std::int64_t>{3, 11, 200});
    PlainPasses passes;
    const std::vector<std::int64_t> chosen = index.select_anchors(60, AnchorRule::kL2Greedy, 1, 3);
    CHECK(chosen.size() == 60);
    CHECK(index.select_anchors(60, AnchorRule::kL2Greedy, 1, 1, {}, &passes) == chosen);
  }
}

}  // namespace

TEST_CASE("a pass gives each row the bits of the canonical product, wherever it stands") {
  for (const kernels::KernelTable* table : kernels::available_tables())
    for (const std::size_t d : {1, 7, 16, 31, 32, 33, 100, 500}) {
      constexpr std::size_t kRows = 11;
      const std::size_t stride = d + 3;
      std::vector<float> rows(kRows * stride), query(d);
      std::vector<kernels::Half> half(rows.size());
      std::vector<std::uint16_t> bits(rows.size());
      std::vector<std::int8_t> codes(rows.size());
      for (std::size_t i = 0; i < rows.size(); ++i) {
        rows[i] = static_cast<float>(value(1, i));
        if (i % 5 == 0) rows[i] *= 1e-6f;  // some are subnormal as halves
        bits[i] = to_half(rows[i]);
        half[i] = {bits[i]};
        codes[i] = static_cast<std::int8_t>(random_bits(3, RandomPurpose::kCurAnchors, i) % 255 - 127);
      }
      for (std::size_t i = 0; i < d; ++i) query[i] = static_cast<float>(value(2, i));
      const std::vector<float> numbers(codes.begin(), codes.end());
      std::vector<float> widened(rows.size());
      table->widen_f16(bits.data(), bits.size(), widened.data());
      for (std::size_t i = 0; i < rows.size(); ++i) {
        CHECK(std::abs(widened[i] - rows[i]) <= std::max(0x1p-11f * std::abs(rows[i]), 0x1p-25f));
        CHECK(to_half(widened[i]) == bits[i]);
      }
      for (std::size_t n = 0; n <= kRows; ++n) {
        std::vector<float> out(n + 1, -77.0f), out_half(n + 1, -77.0f), out_codes(n + 1, -77.0f);
        table->dot_rows(query.data(), d, rows.data(), stride, n, out.data());
        table->dot_rows_f16(query.data(), d, half.data(), stride, n, out_half.data());
        table->dot_rows_i8(query.data(), d, codes.data(), stride, n, out_codes.data());
        for (std::size_t i = 0; i < n; ++i) {
          CHECK(out_codes[i] == -table->ip.canonical(query.data(), numbers.data() + i * stride, d));
          CHECK(out[i] == -table->ip.canonical(query.data(), rows.data() + i * stride, d));
          CHECK(out_half[i] == -table->ip.canonical(query.data(), widened.data() + i * stride, d));
        }
        CHECK(out[n] == -77.0f);
        CHECK(out_half[n] == -77.0f);
        CHECK(out_codes[n] == -77.0f);
      }
    }
}

TEST_CASE("regression by rounds equals a solution from scratch, on both sides of the square") {
  constexpr Eigen::Index kDim = 30;
  for (const double mu : {1e-3, 0.5})
    for (const Eigen::Index total : {5, 29, 30, 31, 90}) {
      const Eigen::MatrixXd rows = matrix(total, kDim, 3);
      const std::vector<double> c = targets(static_cast<std::size_t>(total), 4);
      const Eigen::Map<const Eigen::VectorXd> b(c.data(), total);
      const Eigen::MatrixXd gram = rows.transpose() * rows + mu * Eigen::MatrixXd::Identity(kDim, kDim);
      const Eigen::VectorXd expected = gram.ldlt().solve(rows.transpose() * b);
      for (const Eigen::Index step : {1, 4, 7, 90}) {
        Regression regression(kDim, 1.0);
        regression.set_mu(mu);
        for (Eigen::Index i = 0; i < total; i += step) {
          regression.add(rows.middleRows(i, std::min(step, total - i)));
          regression.solve(std::span(c).first(regression.size()));  // so that factors are extended
        }
        const Eigen::VectorXd y = regression.solve(c);
        CHECK((y - expected).norm() <= 1e-10 * expected.norm());
      }
    }
}

TEST_CASE("leave-one-out in closed form equals leaving each one out") {
  for (const Eigen::Index total : {12, 40}) {
    constexpr Eigen::Index kDim = 20;
    const double mu = 0.7;
    const Eigen::MatrixXd rows = matrix(total, kDim, 5);
    const std::vector<double> c = targets(static_cast<std::size_t>(total), 6);
    Regression all(kDim, 1.0);
    all.add(rows);
    all.set_mu(mu);
    double sum = 0;
    for (Eigen::Index left = 0; left < total; ++left) {
      Eigen::MatrixXd others(total - 1, kDim);
      std::vector<double> rest;
      for (Eigen::Index i = 0, r = 0; i < total; ++i) {
        if (i == left) continue;
        others.row(r++) = rows.row(i);
        rest.push_back(c[static_cast<std::size_t>(i)]);
      }
      Regression without(kDim, 1.0);
      without.add(others);
      without.set_mu(mu);
      const double residual =
          c[static_cast<std::size_t>(left)] - rows.row(left).dot(without.solve(rest).transpose());
      sum += residual * residual;
    }
    CHECK(all.loo_error(c) == doctest::Approx(std::sqrt(sum / static_cast<double>(total))).epsilon(1e-8));
  }
}

TEST_CASE("the chosen mu has the smallest leave-one-out error of the grid") {
  constexpr Eigen::Index kDim = 25, kTotal = 40;
  const Eigen::MatrixXd rows = matrix(kTotal, kDim, 7);
  const std::vector<double> c = targets(kTotal, 8);
  Regression regression(kDim, 10.0);
  regression.add(rows);
  const double chosen = regression.choose_mu(c);
  regression.set_mu(chosen);
  const double least = regression.loo_error(c);
  for (double mu = 1e-3; mu < 1e3; mu *= 3.1622776601683795) {
    regression.set_mu(mu);
    CHECK(regression.loo_error(c) >= least * (1 - 1e-9));
  }
}

TEST_CASE("variance is that of the posterior, in both forms") {
  constexpr Eigen::Index kDim = 12;
  const double mu = 0.3;
  for (const Eigen::Index total : {0, 5, 12, 30}) {
    const Eigen::MatrixXd rows = matrix(total, kDim, 9);
    const Eigen::VectorXd x = matrix(1, kDim, 10).row(0).transpose();
    Regression regression(kDim, 1.0);
    regression.add(rows);
    regression.set_mu(mu);
    const Eigen::MatrixXd precision = rows.transpose() * rows / mu + Eigen::MatrixXd::Identity(kDim, kDim);
    CHECK(regression.variance(x) == doctest::Approx(x.dot(precision.ldlt().solve(x))).epsilon(1e-9));
  }
}

TEST_CASE("singular systems have an answer") {
  Eigen::MatrixXd rows(4, 3);
  rows << 1, 2, 3, 1, 2, 3, 0, 0, 0, 2, 4, 6;
  const std::vector<double> c{1, 1, 0, 2};
  for (const Eigen::Index first : {2, 3, 4}) {
    Regression regression(3, 14.0);
    regression.add(rows.topRows(first));
    const Eigen::VectorXd y = regression.solve(std::span(c).first(static_cast<std::size_t>(first)));
    CHECK(y.dot(rows.row(0)) == doctest::Approx(1.0).epsilon(1e-6));
    CHECK((y - rows.row(0).transpose() / 14.0).norm() < 1e-6);
  }
}
