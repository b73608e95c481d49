// How the exact maximum is found at the speed of a matrix product: tiles give all products of a block of
// document tokens in fast arithmetic; for each query token the largest of a document is computed again in
// canonical arithmetic, which is what counts. If another product is so near that rounding could have hidden
// the true maximum, all that near are computed again.
//
// Bound (Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1; u = 2^-24): fast and
// canonical products of q and p differ by less than e = (D + d / D + 3 + d / 32 + 8) u |q| |p|, with
// D = min(d, kTileDepth), so the canonical maximum is among the products that are within 2 e of the largest
// fast one.
#include "exact/maxsim_scorer.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace whimbrel {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
/// Rows of a block: with their products they stay in the nearest caches.
constexpr std::size_t kBlockRows = 128;
/// Products of this magnitude, and their partial sums, are far from overflow.
constexpr double kSafe = 1e37;
/// A block with so many rows is not worth the copy that would join it with rows from elsewhere.
constexpr std::size_t kEnoughRows = 32;

/// e / (|q| |p|), with 1 % for terms of second order and for the arithmetic of the bound itself.
double relative_error(std::size_t dim) {
  const auto d = static_cast<double>(dim);
  const double depth = std::min(d, static_cast<double>(kernels::kTileDepth));
  return 1.01 * 0x1p-24 * (depth + d / kernels::kTileDepth + 3 + d / 32 + 8);
}

}  // namespace

MaxSimScorer::MaxSimScorer(const kernels::KernelTable& table, const Documents& docs)
    : table_(table),
      docs_(docs),
      scratch_(round_up(kBlockRows, table.tile_rows) * docs.dim()),
      products_(round_up(kBlockRows, table.tile_rows) * table.tile_cols) {}

void MaxSimScorer::start(const QueryColumns& queries, const BestFn& emit) {
  queries_ = &queries;
  emit_ = &emit;
}

void MaxSimScorer::push(std::size_t position, std::size_t doc) {
  const std::size_t first = docs_.begin(doc), length = docs_.length(doc);
  if (length > kBlockRows) {
    flush(first);
    const std::size_t slot = open_slot(position);
    for (std::size_t i = 0; i < length; i += kBlockRows) {
      add_piece(slot, first + i, std::min(kBlockRows, length - i));
      compute(first + i + kBlockRows);
    }
    emit_slots();
    return;
  }
  const bool adjacent = !pieces_.empty() && pieces_.back().first + pieces_.back().rows == first;
  if (n_rows_ + length > kBlockRows ||
      (n_rows_ >= kEnoughRows && !adjacent && docs_.in_place(first, length) != nullptr))
    flush(first);
  else if (!adjacent)
    docs_.prefetch(first, length);
  const std::size_t slot = open_slot(position);
  if (length > 0) add_piece(slot, first, length);
  if (positions_.size() == kBlockRows) flush(kNothing);
}

std::size_t MaxSimScorer::open_slot(std::size_t position) {
  positions_.push_back(position);
  best_.resize(positions_.size() * queries_->size(), -kInf);
  return positions_.size() - 1;
}

void MaxSimScorer::add_piece(std::size_t slot, std::size_t first, std::size_t rows) {
  pieces_.push_back({.slot = slot, .offset = n_rows_, .rows = rows, .first = first});
  n_rows_ += rows;
}

void MaxSimScorer::emit_slots() {
  for (std::size_t slot = 0; slot < positions_.size(); ++slot)
    (*emit_)(positions_[slot], best_.data() + slot * queries_->size());
  positions_.clear();
  best_.clear();
}

/// Find the rows of the block where they are, or bring them together. Tiles read whole groups of rows, so as
/// many must be readable.
void MaxSimScorer::locate_rows() {
  const std::size_t padded = round_up(n_rows_, table_.tile_rows);
  const Piece& first = pieces_.front();
  const Piece& last = pieces_.back();
  rows_ = nullptr;
  if (last.first == first.first + last.offset) rows_ = docs_.in_place(first.first, padded);
  stride_ = docs_.stride();
  if (rows_ != nullptr) return;
  for (const Piece& piece : pieces_)
    docs_.copy(piece.first, piece.rows, scratch_.data() + piece.offset * docs_.dim());
  rows_ = scratch_.data();
  stride_ = docs_.dim();
}

void MaxSimScorer::compute(std::size_t next) {
  if (n_rows_ == 0) return;
  locate_rows();
  const std::size_t dim = docs_.dim();
  for (Piece& piece : pieces_) {
    const double squared = table_.norm_bound(block_row(piece.offset), piece.rows, stride_, dim);
    if (std::isnan(squared)) docs_.check_values();
    piece.norm = std::sqrt(squared);
  }
  for (const QueryColumns::Panel& panel : queries_->panels()) {
    for (std::size_t k = 0; k < dim; k += kernels::kTileDepth) {
      for (std::size_t r = 0; r < n_rows_; r += table_.tile_rows) {
        panel.tile(block_row(r) + k, stride_, panel.data + k * panel.cols,
                   std::min(kernels::kTileDepth, dim - k), k > 0, products_.data() + r * panel.cols);
        if (next != kNothing && k == 0 && panel.first == 0) docs_.prefetch(next + r, table_.tile_rows);
      }
    }
    for (const Piece& piece : pieces_) take_best(panel, piece);
  }
  pieces_.clear();
  n_rows_ = 0;
}

void MaxSimScorer::take_best(const QueryColumns::Panel& panel, const Piece& piece) {
  const std::size_t dim = docs_.dim();
  const float* products = products_.data() + piece.offset * panel.cols;
  float* best = best_.data() + piece.slot * queries_->size() + panel.first;
  alignas(kCacheLine) float largest[kernels::kMaxTileCols], second[kernels::kMaxTileCols];
  alignas(kCacheLine) std::uint32_t row[kernels::kMaxTileCols];
  table_.best_rows(products, piece.rows, panel.cols, largest, second, row);
  const double relative = relative_error(dim);
  const double tiny = static_cast<double>(dim) * std::numeric_limits<float>::min();
  for (std::size_t c = 0; c < panel.used; ++c) {
    const float* query = queries_->token(panel.first + c);
    const double magnitude = queries_->norm(panel.first + c) * piece.norm;
    const double near = magnitude < kSafe ? largest[c] - 2 * (relative * magnitude + tiny)
                                          : std::numeric_limits<double>::quiet_NaN();
    const auto look_at = [&](std::size_t r) {
      const float product = -table_.ip.canonical(query, block_row(piece.offset + r), dim);
      if (product > best[c]) best[c] = product;
    };
    if (second[c] < near) {
      look_at(row[c]);
    } else {
      // So written that all rows are near where the bound is not a number.
      for (std::size_t r = 0; r < piece.rows; ++r)
        if (!(products[r * panel.cols + c] < near)) look_at(r);
    }
  }
}

}  // namespace whimbrel
