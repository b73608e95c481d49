// What every entry point does with the vectors it is given: check them, normalize them.
#pragma once

#include <cstddef>
#include <string_view>

#include "whimbrel/matrix_view.hpp"
#include "whimbrel/metric.hpp"

namespace whimbrel {

/// @throws std::invalid_argument naming the first row with a NaN or infinity
void check_finite(std::string_view name, MatrixView<const float> matrix, std::size_t threads);
/// @throws std::invalid_argument
void check_cols(std::string_view name, MatrixView<const float> matrix, std::size_t dim);

/// One that has a formula. @throws std::invalid_argument
void check_metric(Metric metric);

/// Sum of squares in double precision: no overflow for any float, the same on every ISA.
double squared_norm(const float* row, std::size_t dim);

/// out = row / |row|, each value rounded once; a zero row stays zero.
void normalize(const float* row, std::size_t dim, float* out);

}  // namespace whimbrel
