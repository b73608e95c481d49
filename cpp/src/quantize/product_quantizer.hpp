// Product quantization: every 8 consecutive coordinates become one byte, the nearest of 256 centroids, and an
// inner product with a vector that is not quantized becomes a sum of table entries.
//
// Jégou, Douze, Schmid, "Product quantization for nearest neighbor search", 2011: asymmetric distances. With
// groups of 8 it is the "PQ-256-8" of Jayaram et al., "MUVERA" (arXiv 2405.19504), section 3.2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/parallel.hpp"

namespace whimbrel {

class ProductQuantizer {
 public:
  static constexpr std::size_t kGroup = 8, kCentroids = 256;

  /// k-means of each group over the rows, of `dim` values each, or over some thousands of them.
  ProductQuantizer(std::size_t dim, std::span<const float* const> rows, std::uint64_t seed,
                   std::size_t threads, ProgressMeter& meter);
  /// From its codebook: groups(dim) x kGroup x kCentroids values.
  ProductQuantizer(std::size_t dim, std::vector<float> codebook);

  static std::size_t groups(std::size_t dim) { return (dim + kGroup - 1) / kGroup; }
  std::size_t groups() const noexcept { return groups(dim_); }
  const std::vector<float>& codebook() const noexcept { return codebook_; }

  /// codes[i] = code of rows[i], groups() bytes each. Which of nearly equal centroids is found depends on the
  /// instruction set, and on nothing else.
  void encode(std::span<const float* const> rows, std::span<std::uint8_t* const> codes, std::size_t threads,
              ProgressMeter& meter) const;

  /// Distances (negated inner products) of one query: entries[256 j + c] is that of its group groups[j] with
  /// centroid c. Groups of zeros are left out. The same bits on every instruction set.
  struct Table {
    std::vector<std::uint32_t> groups;
    std::vector<float> entries;
  };
  void fill(const float* query, Table& table) const;

 private:
  std::size_t dim_;
  std::vector<float> codebook_;  // coordinate k of centroid c of group g: (kGroup g + k) kCentroids + c
};

}  // namespace whimbrel
