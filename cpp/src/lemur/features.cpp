#include "lemur/features.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/vectors.hpp"
#include "kernels/dispatch.hpp"
#include "whimbrel/random.hpp"

namespace whimbrel {
namespace {

constexpr double kHalfPi = 1.5707963267948966;

/// Nearly normal, exactly the same everywhere: the sum of four uniform numbers, of variance 1.
float weight(std::uint64_t bits) {
  double sum = 0;
  for (int i = 0; i < 4; ++i) sum += static_cast<double>(bits >> (16 * i) & 0xffff);
  return static_cast<float>((sum + 2) * 0x1p-16 - 2) * 1.7320508f;
}

}  // namespace

RandomFeatures::RandomFeatures(std::size_t dim, std::size_t width, std::uint64_t seed)
    : table_(kernels::active_table()), dim_(dim), width_(width), weights_((width - 1) * dim) {
  for (std::size_t i = 0; i < (width - 1) * dim; ++i)
    weights_.data()[i] = weight(random_bits(seed, RandomPurpose::kLemurFeature, i));
}

void RandomFeatures::compute(const float* token, double* out) const {
  const double norm = std::sqrt(squared_norm(token, dim_));
  if (norm == 0) {
    std::fill_n(out, width_, 0.0);
    return;
  }
  std::vector<float> unit(dim_);
  normalize(token, dim_, unit.data());
  double sum = 0;
  for (std::size_t j = 1; j < width_; ++j) {
    const double z = -table_.ip.canonical(unit.data(), weights_.data() + (j - 1) * dim_, dim_);
    out[j] = z * (1 + z / std::sqrt(z * z + kHalfPi)) / 2;
    sum += out[j];
  }
  const double mean = sum / static_cast<double>(width_ - 1);
  double squared = 0;
  for (std::size_t j = 1; j < width_; ++j) {
    out[j] -= mean;
    squared += out[j] * out[j];
  }
  const double scale = squared > 0 ? norm / std::sqrt(squared) : 0;
  for (std::size_t j = 1; j < width_; ++j) out[j] *= scale;
  out[0] = norm;
}

}  // namespace whimbrel
