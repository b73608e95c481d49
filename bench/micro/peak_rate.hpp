// Arithmetic at full rate: what the kernels of one instruction set are held against. Plain C types only, as
// in kernels/kernel_table.hpp.
#pragma once

#include <cstddef>

namespace whimbrel::bench {

struct PeakRate {
  const char* isa;
  /// Run that many rounds of independent multiply-adds; `values` are a factor, an addend and room for a
  /// result. Their number of floating-point operations.
  double (*vectors)(std::size_t rounds, float* values);
  /// The same for the matrix unit, which the caller has claimed; null where there is none.
  double (*matrices)(std::size_t rounds);
};

}  // namespace whimbrel::bench
