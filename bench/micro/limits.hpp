// What the machine allows on one thread, measured when it is first asked for: the limits beside every rate.
#pragma once

#include <cstddef>

#include "kernels/kernel_table.hpp"

namespace whimbrel::bench {

/// Bytes a second, read and written, of a copy between two arrays of half the size each.
double copy_rate(std::size_t bytes);

/// Floating-point operations a second of multiply-adds in the registers of an instruction set.
double vector_rate(const kernels::KernelTable& table);

/// The same of its matrix unit; 0 where there is none.
double matrix_rate(const kernels::KernelTable& table);

}  // namespace whimbrel::bench
