// The random objects of an encoder, drawn once. Both modes; what is drawn for one repetition or purpose does
// not depend on the others.
#pragma once

#include <cstdint>
#include <vector>

#include "whimbrel/fde.hpp"

namespace whimbrel {

/// Coordinate i is added to sum bucket[i], or subtracted where negative[i].
struct CountSketch {
  std::vector<std::uint32_t> bucket;
  std::vector<std::uint8_t> negative;
};

/// (r_reps * k_sim, dim): normal vectors of the planes, standard normal values; plane j of repetition r in
/// row r * k_sim + j.
std::vector<float> draw_hyperplanes(const FdeParams& params);
/// (d_proj, dim) of +-1.
std::vector<float> draw_signs(const FdeParams& params, std::uint32_t repetition);
/// dim coordinates to d_proj sums.
CountSketch draw_sketch(const FdeParams& params, std::uint32_t repetition);
/// `length` coordinates to d_final sums.
CountSketch draw_final_sketch(const FdeParams& params, std::size_t length);

}  // namespace whimbrel
