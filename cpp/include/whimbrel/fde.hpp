// FdeEncoder: fixed dimensional encodings. A set of token vectors becomes one vector, and the inner product
// of a query's and a document's vector approximates r_reps times their Chamfer score, sum_q max_p <q, p>.
//
// Dhulipala, Hadian, Jayaram, Lee, Mirrokni, "MUVERA: multi-vector retrieval via fixed dimensional
// encodings", 2024, section 2. The score itself is not here, and neither is the search.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "whimbrel/export.h"
#include "whimbrel/matrix_view.hpp"
#include "whimbrel/progress.hpp"
#include "whimbrel/ragged_view.hpp"

namespace whimbrel {

/// What happens to a token before it is added to its cell. Both projections keep inner products on average,
/// with the same variance, (|x|^2 |y|^2 + <x, y>^2 - 2 sum_i x_i^2 y_i^2) / d_proj.
enum class FdeProjection {
  kIdentity,     ///< nothing: d_proj is dim
  kSign,         ///< a dense matrix of +-1 / sqrt(d_proj): the paper's; dim * d_proj operations
  kCountSketch,  ///< each coordinate goes to one of d_proj sums with a sign: the reference's; dim operations
};

enum class FdeMode {
  kNative,  ///< random numbers of random.hpp, a stream for each purpose; cells are numbered by their bits
  kGoogle,  ///< those of the reference (google/graph-mining) as libstdc++ draws them; cells in Gray order
};

struct FdeParams {
  std::size_t dim = 0;        ///< of a token
  std::uint32_t k_sim = 5;    ///< SimHash bits: 2^k_sim cells per repetition. 0..24
  std::uint32_t r_reps = 20;  ///< independent repetitions, one after another in the result. At least 1
  FdeProjection projection = FdeProjection::kCountSketch;
  std::size_t d_proj = 16;  ///< coordinates per cell; kIdentity: dim, or 0 for that
  std::size_t d_final = 0;  ///< a count sketch of the whole brings it to this length; 0: none
  bool fill_empty = true;   ///< documents: an empty cell gets the token nearest to it. Queries: never
  /// An empty cell gets the mean of all tokens that are as near as the nearest, instead of the first of them:
  /// no part of the method, and better (bench/multi_vector.md). kNative, with fill_empty.
  bool fill_mean = false;
  std::uint64_t seed = 0;  ///< kGoogle: below 2^32
  FdeMode mode = FdeMode::kNative;
  /// Subtracted from tokens before their signs are taken, and for nothing else; dim values, or none.
  std::vector<float> center;
};

struct FdeOptions {
  std::size_t threads = 0;   ///< 0: all; does not change the result
  ProgressFn progress = {};  ///< in sets
};

/// Where encodings go, (sets, dim_out) in C order: exactly one of the three is given.
struct FdeOutput {
  float* f32 = nullptr;
  /// IEEE half precision, rounded to nearest even; beyond 65504 infinite.
  std::uint16_t* f16 = nullptr;
  /// A value is scales[row] * i8; scales[row] = largest magnitude of the row / 127, 0 for a zero row.
  std::int8_t* i8 = nullptr;
  float* scales = nullptr;
};

/// All random objects are drawn by the constructor. Encodings have the same bits for any thread count,
/// instruction set and batch, and every method may be called from several threads at once.
class WHIMBREL_API FdeEncoder {
 public:
  /// @throws std::invalid_argument for a parameter out of range
  /// @throws std::length_error if r_reps * 2^k_sim * d_proj exceeds kMaxLength
  explicit FdeEncoder(const FdeParams& params);
  ~FdeEncoder();
  FdeEncoder(FdeEncoder&&) noexcept;
  FdeEncoder& operator=(FdeEncoder&&) noexcept;

  static constexpr std::size_t kMaxLength = std::size_t{1} << 28;

  /// Per cell the mean of its tokens, and the nearest token where there is none: the one whose signs differ
  /// least from the cell's, the first of several. A set without tokens becomes zeros.
  /// @throws std::invalid_argument wrong columns, bad offsets, non-finite value
  void encode_documents(const RaggedView& documents, const FdeOptions& options, const FdeOutput& out) const;
  /// Per cell the sum of its tokens.
  void encode_queries(const RaggedView& queries, const FdeOptions& options, const FdeOutput& out) const;

  /// The cell of each token in each repetition, (r_reps, tokens.rows), as cells are numbered in the result.
  void partitions(MatrixView<const float> tokens, std::size_t threads, std::uint32_t* out) const;

  const FdeParams& params() const noexcept;  ///< d_proj is set
  std::size_t dim_out() const noexcept;
  /// A line of text that says all that an encoding depends on. Encodings may be compared if and only if it is
  /// the same.
  std::string fingerprint() const;

 private:
  class Impl;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace whimbrel
