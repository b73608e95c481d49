#include "fde/random_objects.hpp"

#include <cmath>
#include <utility>

#include "fde/google_stream.hpp"
#include "fde/natural_log.hpp"
#include "whimbrel/fde_random_objects.hpp"
#include "whimbrel/random.hpp"

namespace whimbrel {
namespace {

/// Standard normal number `index` of a stream, rounded to float. Marsaglia's polar method on pairs; attempt a
/// at pair p has the random bits number 256 p + a, so no number depends on how often another was rejected.
float normal(std::uint64_t seed, RandomPurpose purpose, std::uint64_t index) {
  double x, y, squared;
  std::uint64_t attempt = index / 2 << 8;
  do {
    const std::uint64_t bits = random_bits(seed, purpose, attempt++);
    x = (static_cast<double>(bits >> 32) + 0.5) * 0x1p-31 - 1;
    y = (static_cast<double>(bits & 0xffffffffu) + 0.5) * 0x1p-31 - 1;
    squared = x * x + y * y;
  } while (squared >= 1);
  return static_cast<float>((index % 2 == 0 ? x : y) * std::sqrt(-2 * natural_log(squared) / squared));
}

/// `count` sums numbered from bits first, first + 1, ...: the lowest bit is the sign. The bias of the
/// remainder is below count / 2^63.
CountSketch native_sketch(std::uint64_t seed, RandomPurpose purpose, std::uint64_t first, std::size_t length,
                          std::size_t count) {
  CountSketch sketch;
  sketch.bucket.resize(length);
  sketch.negative.resize(length);
  for (std::size_t i = 0; i < length; ++i) {
    const std::uint64_t bits = random_bits(seed, purpose, first + i);
    sketch.bucket[i] = static_cast<std::uint32_t>((bits >> 1) % count);
    sketch.negative[i] = bits & 1;
  }
  return sketch;
}

CountSketch google_sketch(std::uint32_t seed, std::size_t length, std::size_t count) {
  CountSketch sketch;
  sketch.bucket.resize(length);
  sketch.negative.resize(length);
  GoogleStream stream(seed);
  for (std::size_t i = 0; i < length; ++i) {
    sketch.bucket[i] = stream.below(static_cast<std::uint32_t>(count));
    sketch.negative[i] = stream.negative();
  }
  return sketch;
}

/// The reference adds in 32 bits.
std::uint32_t google_seed(const FdeParams& params, std::uint32_t repetition) {
  return static_cast<std::uint32_t>(params.seed) + repetition;
}

}  // namespace

std::vector<float> draw_hyperplanes(const FdeParams& params) {
  const std::size_t per_repetition = params.k_sim * params.dim;
  std::vector<float> planes(params.r_reps * per_repetition);
  if (params.mode == FdeMode::kNative) {
    for (std::size_t i = 0; i < planes.size(); ++i)
      planes[i] = normal(params.seed, RandomPurpose::kFdeHyperplane, i);
    return planes;
  }
  for (std::uint32_t r = 0; r < params.r_reps; ++r) {
    // The reference fills a matrix of dim rows column by column, and a column is a plane.
    GoogleStream stream(google_seed(params, r));
    for (std::size_t i = 0; i < per_repetition; ++i) planes[r * per_repetition + i] = stream.normal();
  }
  return planes;
}

std::vector<float> draw_signs(const FdeParams& params, std::uint32_t repetition) {
  std::vector<float> signs(params.d_proj * params.dim);
  for (std::size_t i = 0; i < signs.size(); ++i)
    signs[i] = random_bits(params.seed, RandomPurpose::kFdeSignProjection, repetition * signs.size() + i) & 1
                   ? -1.0f
                   : 1.0f;
  return signs;
}

CountSketch draw_sketch(const FdeParams& params, std::uint32_t repetition) {
  if (params.mode == FdeMode::kGoogle)
    return google_sketch(google_seed(params, repetition), params.dim, params.d_proj);
  return native_sketch(params.seed, RandomPurpose::kFdeCountSketch, repetition * params.dim, params.dim,
                       params.d_proj);
}

CountSketch draw_final_sketch(const FdeParams& params, std::size_t length) {
  // The reference draws it from the words of repetition 0.
  if (params.mode == FdeMode::kGoogle) return google_sketch(google_seed(params, 0), length, params.d_final);
  return native_sketch(params.seed, RandomPurpose::kFdeFinalSketch, 0, length, params.d_final);
}

FdeRandomObjects draw_random_objects(const FdeParams& params) {
  FdeRandomObjects objects;
  objects.planes = draw_hyperplanes(params);
  const auto append = [](auto& all, const auto& values) {
    all.insert(all.end(), values.begin(), values.end());
  };
  for (std::uint32_t r = 0; r < params.r_reps; ++r) {
    if (params.projection == FdeProjection::kSign) append(objects.signs, draw_signs(params, r));
    if (params.projection == FdeProjection::kCountSketch) {
      const CountSketch sketch = draw_sketch(params, r);
      append(objects.bucket, sketch.bucket);
      append(objects.negative, sketch.negative);
    }
  }
  if (params.d_final > 0) {
    CountSketch sketch =
        draw_final_sketch(params, (std::size_t{params.r_reps} << params.k_sim) * params.d_proj);
    objects.final_bucket = std::move(sketch.bucket);
    objects.final_negative = std::move(sketch.negative);
  }
  return objects;
}

}  // namespace whimbrel
