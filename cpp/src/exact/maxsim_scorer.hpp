// MaxSim of one group of queries with documents one after another: the state of one worker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/memory.hpp"
#include "exact/documents.hpp"
#include "exact/query_columns.hpp"
#include "kernels/kernel_table.hpp"

namespace whimbrel {

/// Called per document with the best product of each query token, -inf for a document without tokens.
using BestFn = std::function<void(std::size_t position, const float* best)>;

class MaxSimScorer {
 public:
  MaxSimScorer(const kernels::KernelTable& table, const Documents& docs);

  /// Begin with these queries; results go to `emit` by position. Both must live until finish().
  void start(const QueryColumns& queries, const BestFn& emit);
  /// The next document. `position` is the caller's, for `emit`.
  void push(std::size_t position, std::size_t doc);
  void finish() { flush(kNothing); }

 private:
  static constexpr std::size_t kNothing = static_cast<std::size_t>(-1);

  /// Consecutive token rows of a document of the block.
  struct Piece {
    std::size_t slot;    // of its document
    std::size_t offset;  // in the block
    std::size_t rows;
    std::size_t first;  // among all token rows
    double norm = 0;    // none of the rows is longer
  };

  void add_piece(std::size_t slot, std::size_t first, std::size_t rows);
  std::size_t open_slot(std::size_t position);
  /// Score the block. Meanwhile the rows from `next` on, as many as the block has, come nearer.
  void compute(std::size_t next);
  void locate_rows();
  void take_best(const QueryColumns::Panel& panel, const Piece& piece);
  void emit_slots();
  void flush(std::size_t next) {
    compute(next);
    emit_slots();
  }
  const float* block_row(std::size_t i) const noexcept { return rows_ + i * stride_; }

  const kernels::KernelTable& table_;
  const Documents& docs_;
  const QueryColumns* queries_ = nullptr;
  const BestFn* emit_ = nullptr;

  std::vector<Piece> pieces_;
  std::size_t n_rows_ = 0;              // of the block
  std::vector<std::size_t> positions_;  // of the documents in slots
  std::vector<float> best_;             // slots x query tokens, canonical
  const float* rows_ = nullptr;
  std::size_t stride_ = 0;
  AlignedArray<float> scratch_;   // rows that are not where they are needed
  AlignedArray<float> products_;  // block rows x panel columns
};

}  // namespace whimbrel
