// The parameters of an encoder as Python gives them, for the CPU's and the device's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "arrays.hpp"
#include "names.hpp"
#include "whimbrel/fde.hpp"

namespace whimbrel::python {

inline FdeParams make_fde_params(std::size_t dim, std::uint32_t k_sim, std::uint32_t r_reps,
                                 const std::string& projection, std::size_t d_proj, std::size_t d_final,
                                 bool fill_empty, std::uint64_t seed, const std::string& mode,
                                 const Array<float>& center) {
  FdeParams params;
  params.dim = dim;
  params.k_sim = k_sim;
  params.r_reps = r_reps;
  params.projection = projection_from_name(projection);
  params.d_proj = d_proj;
  params.d_final = d_final;
  params.fill_empty = fill_empty;
  params.seed = seed;
  params.mode = fde_mode_from_name(mode);
  const auto values = as_vector(center);
  params.center.assign(values.begin(), values.end());
  return params;
}

}  // namespace whimbrel::python
