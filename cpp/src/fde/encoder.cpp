// Sets of tokens to encodings: what is done per set. Sets are taken in blocks of about kBlockTokens tokens,
// so that the panels, the projected tokens and the encodings that are being written stay in the second-level
// cache.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/checksum.hpp"
#include "base/half.hpp"
#include "base/memory.hpp"
#include "base/parallel.hpp"
#include "base/ragged.hpp"
#include "base/vectors.hpp"
#include "fde/cells.hpp"
#include "fde/random_objects.hpp"
#include "fde/token_block.hpp"
#include "whimbrel/fde.hpp"

namespace whimbrel {
namespace {

constexpr std::size_t kBlockTokens = 480;
constexpr std::size_t kBlockBytes = std::size_t{1} << 20;
constexpr std::uint32_t kMaxBits = 24;
constexpr std::uint32_t kMaxReps = 1u << 16;
constexpr std::size_t kMaxDim = std::size_t{1} << 24;

[[noreturn]] void fail(const char* name, const std::string& expected, const std::string& got) {
  throw std::invalid_argument(std::string(name) + ": expected " + expected + ", got " + got);
}

FdeParams checked(FdeParams p) {
  if (p.dim == 0 || p.dim > kMaxDim) fail("dim", "1.." + std::to_string(kMaxDim), std::to_string(p.dim));
  if (p.k_sim > kMaxBits) fail("k_sim", "0.." + std::to_string(kMaxBits), std::to_string(p.k_sim));
  if (p.r_reps == 0 || p.r_reps > kMaxReps)
    fail("r_reps", "1.." + std::to_string(kMaxReps), std::to_string(p.r_reps));
  if (p.projection == FdeProjection::kIdentity) {
    if (p.d_proj != 0 && p.d_proj != p.dim)
      fail("d_proj", std::to_string(p.dim) + " for the identity", std::to_string(p.d_proj));
    p.d_proj = p.dim;
  } else if (p.d_proj == 0) {
    fail("d_proj", "at least 1", "0");
  }
  if (p.mode == FdeMode::kGoogle) {
    if (p.projection == FdeProjection::kSign)
      fail("projection", "a count sketch or the identity, as the reference has them", "dense signs");
    if (p.seed > std::numeric_limits<std::uint32_t>::max())
      fail("seed", "below 2^32, as the reference has it", std::to_string(p.seed));
  }
  if (p.fill_mean && (!p.fill_empty || p.mode == FdeMode::kGoogle))
    fail("fill_mean", "false without fill_empty, and for the reference, which fills with a token", "true");
  const std::size_t cells = std::size_t{1} << p.k_sim;
  if (p.d_proj > FdeEncoder::kMaxLength / cells / p.r_reps)
    throw std::length_error("r_reps * 2^k_sim * d_proj: expected at most " +
                            std::to_string(FdeEncoder::kMaxLength) + ", got " + std::to_string(p.r_reps) +
                            " * " + std::to_string(cells) + " * " + std::to_string(p.d_proj));
  if (p.d_final > FdeEncoder::kMaxLength)
    fail("d_final", "at most " + std::to_string(FdeEncoder::kMaxLength), std::to_string(p.d_final));
  if (!p.center.empty()) {
    if (p.center.size() != p.dim)
      fail("center", std::to_string(p.dim) + " values", std::to_string(p.center.size()));
    check_finite("center", {p.center.data(), 1, p.dim}, 1);
  }
  return p;
}

void round_to_half(const float* row, std::size_t n, std::uint16_t* out) {
  for (std::size_t i = 0; i < n; ++i) out[i] = to_half(row[i]);
}

/// Codes -127..127, rounded to nearest even by the addition of 1.5 * 2^23, whose unit in the last place is 1.
float quantize(const float* row, std::size_t n, std::int8_t* out) {
  float largest = 0;
  for (std::size_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(row[i]));
  constexpr float kRound = 12582912.0f;
  const float inverse = largest > 0 ? 127 / largest : 0;
  // Where the largest value is tiny its inverse overflows.
  if (!(inverse <= std::numeric_limits<float>::max())) {
    std::fill_n(out, n, std::int8_t{0});
    return 0;
  }
  for (std::size_t i = 0; i < n; ++i)
    out[i] = static_cast<std::int8_t>(std::bit_cast<std::int32_t>(row[i] * inverse + kRound) -
                                      std::bit_cast<std::int32_t>(kRound));
  return largest / 127;
}

}  // namespace

class FdeEncoder::Impl {
 public:
  explicit Impl(const FdeParams& params)
      : params_(checked(params)),
        tokens_(params_),
        n_cells_(std::size_t{1} << params_.k_sim),
        length_(params_.r_reps * n_cells_ * params_.d_proj) {
    if (params_.mode == FdeMode::kGoogle)
      for (std::uint32_t bits = 0; bits < n_cells_; ++bits) number_.push_back(gray_to_number(bits));
    if (params_.d_final > 0) final_ = draw_final_sketch(params_, length_);
  }

  const FdeParams& params() const noexcept { return params_; }
  std::size_t dim_out() const noexcept { return params_.d_final > 0 ? params_.d_final : length_; }

  void encode(const char* name, bool documents, const RaggedView& sets, const FdeOptions& options,
              const FdeOutput& out) const {
    check_cols(name, sets.tokens, params_.dim);
    const std::size_t threads = resolve_threads(options.threads);
    check_offsets(name, sets.offsets, sets.tokens.rows);
    const std::vector<std::size_t> blocks = split(sets);
    std::vector<Scratch> scratch(std::min(threads, blocks.size()), Scratch(params_.k_sim));
    ProgressMeter meter(options.progress, sets.size());
    std::atomic<bool> finite{true};
    parallel_for(
        blocks.size() - 1, threads,
        [&](std::size_t item, std::size_t worker) {
          if (!encode_block(documents, sets, blocks[item], blocks[item + 1], scratch[worker], out))
            finite = false;
        },
        [&](std::size_t done) { meter.update(blocks[done]); });
    if (!finite) check_finite(name, sets.tokens, threads);  // says where
    meter.finish();
  }

  void partitions(MatrixView<const float> tokens, std::size_t threads, std::uint32_t* out) const {
    check_cols("tokens", tokens, params_.dim);
    threads = resolve_threads(threads);
    check_finite("tokens", tokens, threads);
    parallel_for(
        (tokens.rows + kBlockTokens - 1) / kBlockTokens, threads, [&](std::size_t item, std::size_t) {
          const std::size_t begin = item * kBlockTokens, n = std::min(kBlockTokens, tokens.rows - begin);
          TokenBlock block;
          tokens_.load({tokens.row(begin), n, tokens.cols, tokens.stride}, 0, params_.r_reps, block);
          for (std::uint32_t r = 0; r < params_.r_reps; ++r)
            for (std::size_t t = 0; t < n; ++t) out[r * tokens.rows + begin + t] = number(block.cells(r)[t]);
        });
  }

 private:
  struct Scratch {
    explicit Scratch(std::uint32_t k_sim) : census(k_sim) {}
    // A worker's scratch starts empty.
    Scratch(const Scratch& other) : census(other.census) {}

    TokenBlock block;
    CellCensus census;
    std::vector<std::uint32_t> numbers;
    CountedVector<float> rows;
  };

  std::uint32_t number(std::uint32_t bits) const { return number_.empty() ? bits : number_[bits]; }

  /// First set of each block, and the number of sets. A function of the sets alone.
  std::vector<std::size_t> split(const RaggedView& sets) const {
    const std::size_t most = std::max<std::size_t>(1, kBlockBytes / sizeof(float) / length_);
    std::vector<std::size_t> blocks{0};
    for (std::size_t i = 0; i < sets.size(); ++i)
      if (i > blocks.back() &&
          (i - blocks.back() >= most || sets.end(i) - sets.begin(blocks.back()) > kBlockTokens))
        blocks.push_back(i);
    if (sets.size() > 0) blocks.push_back(sets.size());
    return blocks;
  }

  /// @returns false if a value was not finite
  bool encode_block(bool documents, const RaggedView& sets, std::size_t first, std::size_t last,
                    Scratch& scratch, const FdeOutput& out) const {
    const bool direct = out.f32 != nullptr && params_.d_final == 0;
    if (!direct) scratch.rows.resize((last - first) * length_);
    float* rows = direct ? out.f32 + first * length_ : scratch.rows.data();

    const std::size_t begin = sets.begin(first), n = sets.end(last - 1) - begin;
    const MatrixView<const float> tokens(sets.tokens.row(begin), n, params_.dim, sets.tokens.stride);
    const std::size_t per_repetition = n_cells_ * params_.d_proj;
    // A very long set takes its repetitions in several passes.
    const std::size_t fit = kBlockBytes / sizeof(float) / std::max<std::size_t>(1, n * params_.d_proj);
    const auto pass = static_cast<std::uint32_t>(std::clamp<std::size_t>(fit, 1, params_.r_reps));
    for (std::uint32_t begin_pass = 0; begin_pass < params_.r_reps; begin_pass += pass) {
      const std::uint32_t end_pass = std::min(begin_pass + pass, params_.r_reps);
      if (!tokens_.load(tokens, begin_pass, end_pass, scratch.block)) return false;
      for (std::size_t i = first; i < last; ++i)
        for (std::uint32_t r = begin_pass; r < end_pass; ++r)
          aggregate(documents, sets.begin(i) - begin, sets.end(i) - begin, r, scratch,
                    rows + (i - first) * length_ + r * per_repetition);
    }
    if (!direct)
      for (std::size_t i = first; i < last; ++i) finish(rows + (i - first) * length_, i, out);
    return true;
  }

  /// Tokens [begin, end) of the block to the cells of one repetition.
  void aggregate(bool documents, std::size_t begin, std::size_t end, std::uint32_t repetition,
                 Scratch& scratch, float* out) const {
    const std::size_t width = params_.d_proj;
    const TokenBlock& block = scratch.block;
    std::fill_n(out, n_cells_ * width, 0.0f);
    if (begin == end) return;
    const std::span<const std::uint32_t> cells(block.cells(repetition) + begin, end - begin);
    const std::uint32_t* numbers = cells.data();
    if (!number_.empty()) {
      scratch.numbers.resize(cells.size());
      for (std::size_t t = 0; t < cells.size(); ++t) scratch.numbers[t] = number_[cells[t]];
      numbers = scratch.numbers.data();
    }
    tokens_.kernels().add_by_cell(block.projected(repetition, begin), block.stride(), cells.size(), width,
                                  numbers, out);
    if (!documents) return;

    CellCensus& census = scratch.census;
    census.take(cells);
    for (std::uint32_t cell = 0; cell < n_cells_; ++cell) {
      if (census.count(cell) < 2) continue;
      const float share = 1 / static_cast<float>(census.count(cell));
      float* sum = out + number(cell) * width;
      for (std::size_t j = 0; j < width; ++j) sum[j] *= share;
    }
    // Without bits there is one cell, and it has tokens.
    if (!params_.fill_empty || census.empty().empty()) return;
    census.fill();
    for (const std::uint32_t cell : census.empty()) {
      float* filled = out + number(cell) * width;
      if (params_.fill_mean)
        mean_of_nearest(cells, cell, census.distance(cell), block, repetition, begin, filled);
      else
        std::copy_n(block.projected(repetition, begin + census.nearest(cell)), width, filled);
    }
  }

  /// The mean of the tokens whose bits differ from the cell's in so many. `out` is zero.
  void mean_of_nearest(std::span<const std::uint32_t> cells, std::uint32_t cell, std::uint32_t distance,
                       const TokenBlock& block, std::uint32_t repetition, std::size_t begin,
                       float* out) const {
    const std::size_t width = params_.d_proj;
    std::size_t found = 0;
    for (std::size_t t = 0; t < cells.size(); ++t) {
      if (static_cast<std::uint32_t>(std::popcount(cells[t] ^ cell)) != distance) continue;
      const float* token = block.projected(repetition, begin + t);
      for (std::size_t j = 0; j < width; ++j) out[j] += token[j];
      ++found;
    }
    const float share = 1 / static_cast<float>(found);
    for (std::size_t j = 0; j < width; ++j) out[j] *= share;
  }

  /// The final sketch, and the type of the output.
  void finish(const float* row, std::size_t i, const FdeOutput& out) const {
    const std::size_t n = dim_out();
    CountedVector<float> sums;
    if (params_.d_final > 0) {
      sums.resize(n);
      for (std::size_t j = 0; j < length_; ++j)
        sums[final_.bucket[j]] += final_.negative[j] != 0 ? -row[j] : row[j];
      row = sums.data();
    }
    if (out.f32 != nullptr) std::copy_n(row, n, out.f32 + i * n);
    if (out.f16 != nullptr) round_to_half(row, n, out.f16 + i * n);
    if (out.i8 != nullptr) out.scales[i] = quantize(row, n, out.i8 + i * n);
  }

  FdeParams params_;
  TokenEncoder tokens_;
  std::size_t n_cells_;
  std::size_t length_;                 // before the final sketch
  std::vector<std::uint32_t> number_;  // of each cell's bits; empty: the bits themselves
  CountSketch final_;
};

FdeEncoder::FdeEncoder(const FdeParams& params) : impl_(std::make_unique<const Impl>(params)) {}
FdeEncoder::~FdeEncoder() = default;
FdeEncoder::FdeEncoder(FdeEncoder&&) noexcept = default;
FdeEncoder& FdeEncoder::operator=(FdeEncoder&&) noexcept = default;

void FdeEncoder::encode_documents(const RaggedView& documents, const FdeOptions& options,
                                  const FdeOutput& out) const {
  impl_->encode("documents", true, documents, options, out);
}

void FdeEncoder::encode_queries(const RaggedView& queries, const FdeOptions& options,
                                const FdeOutput& out) const {
  impl_->encode("queries", false, queries, options, out);
}

void FdeEncoder::partitions(MatrixView<const float> tokens, std::size_t threads, std::uint32_t* out) const {
  impl_->partitions(tokens, threads, out);
}

const FdeParams& FdeEncoder::params() const noexcept { return impl_->params(); }
std::size_t FdeEncoder::dim_out() const noexcept { return impl_->dim_out(); }

std::string FdeEncoder::fingerprint() const {
  const FdeParams& p = params();
  const char* projection = p.projection == FdeProjection::kIdentity ? "identity"
                           : p.projection == FdeProjection::kSign   ? "sign"
                                                                    : "count_sketch";
  std::string center = "none";
  if (!p.center.empty()) {
    Xxh64 hash;
    hash.update(p.center.data(), p.center.size() * sizeof(float));
    center = std::to_string(hash.digest());
  }
  return std::string("fde 1; mode ") + (p.mode == FdeMode::kGoogle ? "google, libstdc++" : "native") +
         "; dim " + std::to_string(p.dim) + "; k_sim " + std::to_string(p.k_sim) + "; r_reps " +
         std::to_string(p.r_reps) + "; projection " + projection + "; d_proj " + std::to_string(p.d_proj) +
         "; d_final " + std::to_string(p.d_final) + "; fill_empty " +
         (p.fill_mean    ? "mean"
          : p.fill_empty ? "1"
                         : "0") +
         "; seed " + std::to_string(p.seed) + "; center " + center;
}

}  // namespace whimbrel
