// The random objects of an encoder of vector sets, for code that encodes on other devices. What they mean is
// said in fde.hpp; they are the ones that FdeEncoder itself uses.
#pragma once

#include <cstdint>
#include <vector>

#include "whimbrel/fde.hpp"

namespace whimbrel {

struct FdeRandomObjects {
  std::vector<float> planes;  ///< (r_reps, k_sim, dim): a bit of a cell is set where <token, plane> > 0
  std::vector<float> signs;   ///< kSign: (r_reps, d_proj, dim) of +-1
  /// kCountSketch, (r_reps, dim): coordinate i is added to sum bucket[i], or subtracted where negative[i].
  std::vector<std::uint32_t> bucket;
  std::vector<std::uint8_t> negative;
  /// d_final > 0, (r_reps * 2^k_sim * d_proj,): the same for the final sketch.
  std::vector<std::uint32_t> final_bucket;
  std::vector<std::uint8_t> final_negative;
};

/// @param params  as FdeEncoder::params() has them: checked, d_proj set
FdeRandomObjects draw_random_objects(const FdeParams& params);

}  // namespace whimbrel
