// The names that Python uses for the core's enumerations.
#pragma once

#include <stdexcept>
#include <string>

#include "whimbrel/lid.hpp"
#include "whimbrel/metric.hpp"

namespace whimbrel::python {

/// Of the capsule in which _cuda hands a LevelLinker to _core: one build, so one layout.
inline constexpr const char* kLinkerCapsule = "whimbrel.LevelLinker";

inline Metric metric_from_name(const std::string& name) {
  if (name == "l2") return Metric::kL2;
  if (name == "ip") return Metric::kIp;
  if (name == "cosine") return Metric::kCosine;
  throw std::invalid_argument("metric: expected 'l2', 'ip' or 'cosine', got '" + name + "'");
}

inline const char* metric_name(Metric metric) {
  switch (metric) {
    case Metric::kL2:
      return "l2";
    case Metric::kIp:
      return "ip";
    case Metric::kCosine:
      return "cosine";
  }
  throw std::invalid_argument("metric: expected a Metric");
}

inline LidEstimator estimator_from_name(const std::string& name) {
  if (name == "mle") return LidEstimator::kMle;
  if (name == "levina_bickel") return LidEstimator::kLevinaBickel;
  if (name == "unbiased") return LidEstimator::kUnbiased;
  if (name == "mom") return LidEstimator::kMoments;
  throw std::invalid_argument("estimator: expected 'mle', 'levina_bickel', 'unbiased' or 'mom', got '" +
                              name + "'");
}

}  // namespace whimbrel::python
