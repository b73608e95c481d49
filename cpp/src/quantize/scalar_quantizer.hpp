// A code of 8 or 4 bits per coordinate, of the vectors or of their projection: how it is learned, and how
// rows and queries are written in it. What a search does with codes is not its business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/memory.hpp"
#include "kernels/kernel_table.hpp"
#include "quantize/code_layout.hpp"
#include "whimbrel/codec.hpp"
#include "whimbrel/matrix_view.hpp"
#include "whimbrel/metric.hpp"

namespace whimbrel {

/// A code is the nearest of 256 values, step * (code - 127.5), or of 16, step * (code - 7.5), to coordinate c
/// of P^T (x - center) - middle: one step for all coordinates, which makes the squared error of a vector as
/// small as so many levels allow, and P is the identity or has orthonormal columns. Then x . q = const + step
/// * sum code[c] (P^T q)[c]; l2 also needs the squared norm of what the code stands for, the tail of a row. A
/// value outside of the range takes the nearest code: the vector moves to the border of a box of values.
/// Queries have 8 bits beside either. Those of l2 are centered like rows, which keeps them small.
struct ScalarQuantizer {
  std::size_t dim = 0;       // of the vectors
  std::size_t code_dim = 0;  // of the codes; 0: there are none, measure the vectors
  std::uint32_t bits = 8;    // of a code, 8 or 4
  bool has_tail = false;     // l2
  float step = 0;
  float rerank = 1;  // candidates to measure exactly for each result that is wanted
  std::vector<float> center;
  std::vector<float> middle;   // of the range of each coordinate of a code
  std::vector<float> columns;  // (dim, padded code_dim), zeros behind code_dim; empty: identity

  bool empty() const noexcept { return code_dim == 0; }
  CodeLayout layout() const noexcept { return {code_dim, bits}; }
  /// Bytes of a row that take part in products.
  std::size_t code_bytes() const noexcept { return round_up(layout().bytes(), kernels::kCodeLine); }
  std::size_t stride() const noexcept {
    return round_up(layout().bytes() + (has_tail ? sizeof(float) : 0), kernels::kCodeLine);
  }
  /// With codes of 4 bits, where that makes a row shorter: rows are whole lines.
  ScalarQuantizer coarse() const {
    ScalarQuantizer out = *this;
    out.bits = 4;
    if (out.stride() >= stride()) out.bits = 8;
    return out;
  }
  kernels::CodeIdsKernel ids_kernel(const kernels::MetricKernels& kernels) const noexcept {
    return layout().nibbles() ? kernels.nibble_ids : kernels.code_ids;
  }
  std::size_t padded_dim() const noexcept { return round_up(code_dim, kColumns); }
  std::size_t bytes() const noexcept {
    return (center.size() + middle.size() + columns.size()) * sizeof(float);
  }

  /// Reused from row to row.
  struct Scratch {
    std::vector<float> centered, values;
    AlignedArray<std::int8_t> query;
    explicit Scratch(const ScalarQuantizer& quantizer);
  };
  /// `out` has stride() bytes.
  void encode(const float* row, Scratch& scratch, std::uint8_t* out) const;
  /// What a code stands for, `dim` values: the same bits on every instruction set.
  void decode(const std::uint8_t* code, float* out) const;
  /// What code 128 (8 of 4 bits) of coordinate c stands for in products, in steps: those of two vectors are
  /// step^2 * (o.o + o.e + o.f + e.f) up to a constant, with o this and e, f the codes less 128 (or 8).
  std::vector<double> origin() const;
  /// Points into the scratch.
  kernels::CodeQuery encode_query(const float* query, Scratch& scratch) const;

  static constexpr std::size_t kColumns = 16;  // a projection has a multiple of it

 private:
  /// scratch.values = P^T (vector - center) - middle, or P^T vector.
  void project(const float* vector, bool centered, Scratch& scratch) const;
};

/// Rows that a codec is learned from; more are a sample of that size.
inline constexpr std::size_t kMaxTraining = 4096;

/// A byte per coordinate without a tail, and without asking whether codes would do. `clip`: leave the
/// farthest values out of the range. Empty for squares outside of the range of floats.
ScalarQuantizer fit_quantizer(MatrixView<const float> sample, bool clip);

/// The same of the narrowest projection, in two thirds of the bytes or fewer, whose squared differences keep
/// the neighborhoods of the sample; empty if none does.
ScalarQuantizer fit_narrow_quantizer(MatrixView<const float> sample, std::size_t threads);

/// Learn from a sample of the rows. The same bits for any number of threads and instruction set. Empty where
/// codes would not do: too many dimensions, squares outside of the range of floats, and, for kAuto,
/// neighborhoods that codes blur.
ScalarQuantizer train_scalar_quantizer(MatrixView<const float> sample, Metric metric, Codec codec,
                                       std::size_t threads);

}  // namespace whimbrel
