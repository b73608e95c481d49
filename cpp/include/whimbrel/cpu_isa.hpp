// Which instruction set the distance kernels use.
#pragma once

#include <string>
#include <vector>

#include "whimbrel/export.h"

namespace whimbrel {

/// Instruction sets this build has kernels for and this machine can run, slowest first:
/// of "baseline", "avx2", "avx512", "amx" (AVX-512 with a matrix unit), "neon".
WHIMBREL_API std::vector<std::string> available_isas();

/// The one in use: the last of `available_isas()`, or the value of the environment variable WHIMBREL_ISA
/// at the first use of a kernel. Throws std::invalid_argument if that value is unknown or cannot run here.
WHIMBREL_API std::string active_isa();

}  // namespace whimbrel
