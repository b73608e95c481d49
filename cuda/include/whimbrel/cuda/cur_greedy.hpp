// The passes of the l2-greedy choice of anchor items (whimbrel/cur_greedy.hpp) on a GPU: the items chosen are
// those of the CPU, bit for bit.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>

#include "whimbrel/cur_greedy.hpp"

namespace whimbrel::cuda {

/// Hand one to CurIndex::select_anchors. start() copies the features to the current device; every step is one
/// pass over them at the speed of memory, and the host waits for its answer.
///
/// @throws CudaError from all its functions
class CurGreedy final : public GreedyPasses {
 public:
  /// @param stream  all work is enqueued there; it must outlive this
  explicit CurGreedy(cudaStream_t stream);
  ~CurGreedy() override;

  void start(const GreedyStart& start) override;
  void deflate(std::span<const float> x, std::span<const float> w, double g, double xw) override;
  void block(std::size_t item) override;
  std::size_t best() override;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace whimbrel::cuda
