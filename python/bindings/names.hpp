// The names that Python uses for the core's enumerations.
#pragma once

#include <stdexcept>
#include <string>

#include "whimbrel/codec.hpp"
#include "whimbrel/lid.hpp"
#include "whimbrel/metric.hpp"

namespace whimbrel::python {

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

inline Codec codec_from_name(const std::string& name) {
  if (name == "f32") return Codec::kF32;
  if (name == "sq8") return Codec::kSq8;
  if (name == "auto") return Codec::kAuto;
  throw std::invalid_argument("codec: expected 'f32', 'sq8' or 'auto', got '" + name + "'");
}

inline const char* codec_name(Codec codec) {
  switch (codec) {
    case Codec::kF32:
      return "f32";
    case Codec::kSq8:
      return "sq8";
    case Codec::kAuto:
      return "auto";
  }
  throw std::invalid_argument("codec: expected a Codec");
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
