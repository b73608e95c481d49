// The kernels of the instruction set in use. Fetch the table once per call, not per distance.
#pragma once

#include <vector>

#include "kernels/kernel_table.hpp"
#include "whimbrel/metric.hpp"

namespace whimbrel::kernels {

/// Tables this machine can run, slowest first.
std::vector<const KernelTable*> available_tables();

/// The one in use (see whimbrel/cpu_isa.hpp).
const KernelTable& active_table();

/// Cosine works on normalized rows, where it is the inner product up to a constant.
inline const MetricKernels& metric_kernels(const KernelTable& table, Metric metric) {
  return metric == Metric::kL2 ? table.l2 : table.ip;
}

}  // namespace whimbrel::kernels
